package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/stack/running"
)

func newVerify(a *app) *cobra.Command {
	var publish []string
	cmd := &cobra.Command{
		Use:   "verify [COMPONENT... | ENV]",
		Short: "Run the smoke tests, and compare every image that runs with the lock",
		Long: `Runs each component's smoke test in a namespace of its own, and removes that
again: a distributed TensorFlow training, a notebook opened through the hub, a
workflow. Then every image that runs in the cluster (containers, init
containers, sidecars, ephemeral containers) is held against the lock; one that is not
in it is named, and the exit code is 6.

With the name of an environment, the tests of the release that is in force there
run there, and the environment and its registry remember how they ended. Images of
earlier releases may run there for as long as something names them.

With --publish ENV the outcome is attached to the release in that environment's
registry, for pipelines that promote there and cannot reach this machine.`,
		Example: "  kfdev verify\n  kfdev verify training-operator\n  kfdev verify staging\n  kfdev verify --publish staging",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				var v envs.Verification
				var err error
				if len(args) == 1 && e.HasEnvironment(args[0]) {
					v, err = e.VerifySite(cmd.Context(), args[0])
				} else {
					v, err = e.Verify(cmd.Context(), args)
				}
				if v.Lock == "" {
					return err
				}
				if showErr := a.result(v, func(w io.Writer) error { return verifyText(w, v) }); showErr != nil {
					return showErr
				}
				for _, environment := range publish {
					if err != nil {
						return err
					}
					err = e.PublishVerification(cmd.Context(), environment)
				}
				return err
			})
		},
	}
	cmd.Flags().StringSliceVar(&publish, "publish", nil, "attach the outcome to the release in these environments' registries")
	return cmd
}

func verifyText(w io.Writer, v envs.Verification) error {
	var rows [][]string
	for _, t := range v.Tests {
		state := "ok"
		if !t.OK {
			state = "FAILED"
		}
		rows = append(rows, []string{t.Component, t.Name, state, took(t.Took)})
		for _, s := range t.Steps {
			rows = append(rows, []string{"", "  " + s.Name, s.Error, took(s.Took)})
		}
		for _, f := range t.Facts {
			rows = append(rows, []string{"", "  " + f.Name, f.Value, ""})
		}
	}
	if err := table(w, "COMPONENT TEST RESULT TOOK", rows); err != nil {
		return err
	}
	return runningText(w, v.Running)
}

// runningText tells what runs beside the lock; a verification that ended
// before it looked has nothing to tell.
func runningText(w io.Writer, r *running.Report) error {
	if r == nil {
		_, err := fmt.Fprintln(w, "\nwhat runs was not compared with the lock")
		return err
	}
	waiting := ""
	if r.Waiting > 0 {
		waiting = fmt.Sprintf(", %d of them not started yet", r.Waiting)
	}
	fmt.Fprintf(w, "\n%d containers in %d pods%s; %d are not in the lock\n", r.Containers, r.Pods, waiting, len(r.Foreigners))
	for _, f := range r.Foreigners {
		fmt.Fprintf(w, "  %s\n", f)
	}
	return nil
}
