package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/plan"
)

func newUp(a *app) *cobra.Command {
	var o envs.UpOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the stack up on this machine",
		Long: `Brings the project's stack up on a kind cluster of its own: the local registry,
the images of the lock, the cluster, and every component until it is ready.
What is there already stays as it is, so that a second up changes nothing, and
one that was cut off goes on where it was. A component that is no longer in
kfdev.yaml is removed. Where kfdev.lock is not this project's, it is locked first.`,
		Example: "  kfdev up\n  kfdev up --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				if dryRun {
					items, err := e.PlanUp(cmd.Context(), o)
					if len(items) == 0 {
						return err
					}
					if showErr := a.result(items, func(w io.Writer) error { return planText(w, items) }); showErr != nil {
						return showErr
					}
					return err
				}
				result, err := e.Up(cmd.Context(), o)
				if err != nil && len(result.Steps) == 0 {
					return err
				}
				if showErr := a.result(result, func(w io.Writer) error { return upText(w, result, err) }); showErr != nil {
					return showErr
				}
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "print the plan and change nothing")
	flags.BoolVar(&o.Locked, "locked", false, "refuse a lock that is not this project's, in place of locking first")
	flags.BoolVar(&o.UseContext, "use-context", false, "make the cluster's context the current one")
	waitFlag(cmd, &o.Wait)
	cmd.MarkFlagsMutuallyExclusive("dry-run", "wait") // a look waits for nobody
	return cmd
}

func planText(w io.Writer, items []plan.Item) error {
	var rows [][]string
	for _, i := range items {
		mark := "-"
		if i.Work.Needed {
			mark = "do"
		}
		rows = append(rows, []string{mark, i.Title, i.Work.Summary})
	}
	return table(w, "", rows)
}

func upText(w io.Writer, r envs.UpResult, failed error) error {
	var rows [][]string
	for _, s := range r.Steps {
		rows = append(rows, []string{string(s.State), s.Title, s.Text, took(s.Took)})
	}
	if err := table(w, "", rows); err != nil {
		return err
	}
	if failed != nil {
		return nil // the error says the rest
	}
	said := "nothing changed"
	if r.Changed {
		said = "is up"
	}
	_, err := fmt.Fprintf(w, "%s: %s, in %s. kubectl --context %s, registry %s\n", r.Project, said, took(r.Took), r.Context, r.Registry)
	return err
}
