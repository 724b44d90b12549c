package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
)

func newDown(a *app) *cobra.Command {
	var o envs.DownOptions
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the project's cluster, or delete it",
		Long: `Stops the project's cluster; it keeps all that is in it, and kfdev up starts it
again. With --delete, all that is kfdev's of the project is removed: the cluster
with its volumes, its context, and what kfdev remembers of it; with the last
project also the local registry. Nothing else is touched, and images that were
built or downloaded stay in the cache.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				result, err := e.Down(cmd.Context(), o)
				if err != nil {
					return err
				}
				return a.result(result, func(w io.Writer) error { return downText(w, result) })
			})
		},
	}
	cmd.Flags().BoolVar(&o.Delete, "delete", false, "remove the cluster with its volumes, its context and its record")
	waitFlag(cmd, &o.Wait)
	return cmd
}

func downText(w io.Writer, r envs.DownResult) error {
	if r.Stopped {
		_, err := fmt.Fprintf(w, "%s is stopped and keeps all it has; kfdev up starts it again\n", r.Project)
		return err
	}
	for _, what := range r.Deleted {
		fmt.Fprintf(w, "deleted  %s\n", what)
	}
	for _, what := range r.Kept {
		fmt.Fprintf(w, "kept     %s\n", what)
	}
	if len(r.Deleted) == 0 {
		_, err := fmt.Fprintf(w, "%s: nothing of it was there\n", r.Project)
		return err
	}
	return nil
}
