package root

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
)

// withEngine runs what a command does on the project that it is about.
func (a *app) withEngine(cmd *cobra.Command, do func(*envs.Engine) error) (err error) {
	dir, err := a.projectDir()
	if err != nil {
		return err
	}
	d, err := a.dirs()
	if err != nil {
		return err
	}
	engine, err := envs.New(envs.Options{
		Dir: dir, Dirs: d, Getenv: a.getenv, Command: cmd.CommandPath(), Sink: a.sink(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return do(engine)
}

// waitFlag adds the flag of commands that only one process may run at a time.
func waitFlag(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait where another kfdev changes this project, in place of stopping")
}

// table writes rows in columns.
func table(w io.Writer, head string, rows [][]string) error {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if head != "" {
		fmt.Fprintln(tab, strings.Join(strings.Fields(head), "\t"))
	}
	for _, row := range rows {
		fmt.Fprintln(tab, strings.Join(row, "\t"))
	}
	return tab.Flush()
}

// took writes a duration as people read it.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
