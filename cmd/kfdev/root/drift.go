package root

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/fault"
)

func newDrift(a *app) *cobra.Command {
	var o envs.DriftOptions
	cmd := &cobra.Command{
		Use:   "drift ENV",
		Short: "Compare an environment with the release in force there",
		Long: `Compares what is live with the release in force: fields that changed or went,
objects that are gone, what others added (a container too, which a server-side dry
run calls unchanged), images that run and that no lock names, fields whose owner
changed. Exit code 6 where there is drift. What could not be read is drift too.

With --fix it is mended: fields of the release are put back, foreign ones are
taken out, and nothing else. Foreign objects are deleted only where --delete names
them.`,
		Example: "  kfdev drift prod\n  kfdev drift staging --fix",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				d, err := e.Drift(cmd.Context(), args[0], o)
				if d.Release == "" {
					return err
				}
				if showErr := a.result(d, func(w io.Writer) error { return driftText(w, d) }); showErr != nil {
					return showErr
				}
				if err == nil && d.Drifted() {
					return &fault.Error{Op: "looking for drift", Subject: d.Environment, Kind: fault.Drift, Err: fmt.Errorf("%d findings", len(d.Findings)), Hint: fixHint(d, o)}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&o.Full, "full", false, "read every object, whatever is known of it")
	cmd.Flags().BoolVar(&o.Fix, "fix", false, "mend what was found")
	cmd.Flags().StringSliceVar(&o.Delete, "delete", nil, "with --fix: foreign objects to delete, as KIND/NAMESPACE/NAME")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if len(o.Delete) > 0 && !o.Fix {
			return &fault.Error{Op: "reading the options", Kind: fault.Usage, Err: errors.New("--delete goes with --fix")}
		}
		return nil
	}
	return cmd
}

func fixHint(d envs.Drifted, o envs.DriftOptions) string {
	if o.Fix {
		return "what is left has to be decided on by a person: name foreign objects with --delete"
	}
	return "kfdev drift " + d.Environment + " --fix mends it"
}

func driftText(w io.Writer, d envs.Drifted) error {
	fmt.Fprintf(w, "%s: release %s, %d objects, %d read whole, %s\n", d.Environment, release.Short(d.Release), d.Objects, d.Read, took(d.Took))
	for _, s := range d.Done {
		fmt.Fprintf(w, "  %-8s %s\n", s.Action, s.Object)
	}
	for _, f := range d.Findings {
		fmt.Fprintf(w, "  %s\n", f)
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(w, "  no drift")
	}
	for _, o := range d.Kept {
		fmt.Fprintf(w, "  kept: %s, which the release has no more, for the data on it; it is no drift, and goes with: kubectl delete pvc -n %s %s\n", o, o.Namespace, o.Name)
	}
	return nil
}
