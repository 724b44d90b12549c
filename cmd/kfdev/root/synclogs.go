package root

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session/control"
)

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

// logLine is a line of a session's log.
type logLine struct {
	Line string `json:"line"`
}

func newSyncLogs(a *app) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show the log of a session in the background",
		Long: `Shows the log of a session that runs, or ran last, in the background. With
--follow it goes on until the session ends, or until Ctrl-C (exit code 130).`,
		Example: "  kfdev sync logs nb --follow",
		Args:    one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				name := strings.Join(args, "")
				if name == "" {
					r, err := e.SyncSession("")
					if err != nil {
						return err
					}
					name = r.Name
				}
				dir, err := e.SyncFolder(name)
				if err != nil {
					return err
				}
				return a.showLog(cmd.Context(), name, dir, follow)
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the session ends")
	return cmd
}

func (a *app) showLog(ctx context.Context, name, dir string, follow bool) error {
	log, err := os.Open(filepath.Join(dir, envs.SyncLog)) //nolint:gosec // of the session's own folder
	if errors.Is(err, os.ErrNotExist) {
		return &fault.Error{
			Op: "looking for the session's log", Subject: name, Kind: fault.NotFound,
			Hint: "kfdev sync " + name + " --detach writes one; a session in the foreground says all in its terminal", Err: errors.New("there is none"),
		}
	}
	if err != nil {
		return &fault.Error{Op: "reading the session's log", Subject: name, Err: err}
	}
	defer log.Close() //nolint:errcheck // it was only read
	in := bufio.NewReader(log)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	partial := ""
	for {
		// Looked at before the log is, so that its last words are not missed.
		_, runs, err := control.Look(dir)
		if err != nil {
			return err
		}
		if begunAnew(log) {
			in.Reset(log)
			partial = ""
		}
		if partial, err = a.copyLines(in, partial); err != nil {
			return err
		}
		if !follow || !runs {
			return a.lastLine(partial)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// boundLog keeps the log of a session that runs for months at a size, and as much
// of what was before. The session writes through its standard output, which
// appends: what there is is copied away, and the file begins anew.
func boundLog(name string, most int64) error {
	info, err := os.Stat(name)
	if err != nil || info.Size() <= most {
		return err
	}
	data, err := os.ReadFile(name) //nolint:gosec // of the session's own folder
	if err == nil {
		err = os.WriteFile(name+".old", data, 0o600)
	}
	if err == nil {
		err = os.Truncate(name, 0)
	}
	return err
}

// begunAnew goes to the beginning of a log that has less than was read of it.
func begunAnew(log *os.File) bool {
	info, err := log.Stat()
	at, serr := log.Seek(0, io.SeekCurrent)
	if err != nil || serr != nil || info.Size() >= at {
		return false
	}
	_, err = log.Seek(0, io.SeekStart)
	return err == nil
}

// copyLines shows the whole lines that there are, and returns what is begun.
func (a *app) copyLines(in *bufio.Reader, partial string) (string, error) {
	for {
		text, err := in.ReadString('\n')
		partial += text
		if errors.Is(err, io.EOF) {
			return partial, nil
		}
		if err != nil {
			return partial, err
		}
		if err := a.lastLine(partial); err != nil {
			return "", err
		}
		partial = ""
	}
}

func (a *app) lastLine(text string) error {
	if text == "" {
		return nil
	}
	line := logLine{strings.TrimSuffix(text, "\n")}
	return a.item(line, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, line.Line)
		return err
	})
}
