package root

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

func newPlan(a *app) *cobra.Command {
	var o envs.PlanOptions
	var out string
	cmd := &cobra.Command{
		Use:   "plan ENV",
		Short: "Say what promoting to an environment would do, object by object",
		Long: `Holds the release that the project is now (or an earlier one, with --release)
against an environment's cluster and registry, and writes nothing: objects that
would be created, configured (with each field), deleted or left alone, who holds
fields that conflict, what cannot be changed in place, what the server could not
be asked, and the images that its registry lacks, with their bytes. Exit code 0
where nothing is to be done, 6 where something is, 8 where the plan can't be carried
out or a difference of the release has expired: it is shown all the same, and then
what is in the way.

With --out the plan is written to a file; kfdev promote --plan carries out exactly
that, or says what is no longer as it was. One that can't be carried out is not
written.`,
		Example: "  kfdev plan staging\n  kfdev plan prod --out prod.plan",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				p, err := e.PlanSite(cmd.Context(), args[0], o)
				if p.Release == "" {
					return err
				}
				return planned(a, p, out, err)
			})
		},
	}
	cmd.Flags().StringVar(&o.Release, "release", "", "an earlier release, by its digest")
	cmd.Flags().StringSliceVar(&o.Force, "take-from", nil, "take fields that conflict from this field manager, or on this KIND/NAMESPACE/NAME")
	placeFlags(cmd, &o)
	cmd.Flags().StringVar(&out, "out", "", "write the plan to a file")
	return cmd
}

// planned shows a plan, and then what would refuse it. One that can be carried
// out is written to the file out, where that is named.
func planned(a *app, p envs.SitePlan, out string, refused error) error {
	if closed := p.Closed(); closed != nil {
		refused = errors.Join(refused, closed)
	}
	switch {
	case out != "" && refused == nil:
		if err := writePlan(out, p); err != nil {
			return err
		}
	case out != "":
		refused = notWritten(out, refused)
	}
	if err := a.result(p, func(w io.Writer) error { return sitePlanText(w, p) }); err != nil {
		return err
	}
	if refused == nil && p.Changed() {
		return &fault.Error{Op: "planning the promotion", Subject: p.Environment, Kind: fault.Drift, Err: errors.New("there are changes"), Hint: "kfdev promote " + p.Environment}
	}
	return refused
}

func writePlan(path string, p envs.SitePlan) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = atomicfile.Write(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return &fault.Error{Op: "writing the plan", Subject: path, Err: err}
	}
	return nil
}

// notWritten says of a plan that can't be carried out that it is not in its file.
func notWritten(path string, err error) error {
	return &fault.Error{Op: "writing the plan", Subject: path, Err: fmt.Errorf("it can't be carried out, so it is not written: %w", err)}
}

// maxPlan bounds what is read as a plan, bytes.
const maxPlan = 64 << 20

func readPlan(path string) (*envs.SitePlan, error) {
	fail := func(err error) (*envs.SitePlan, error) {
		return nil, &fault.Error{Op: "reading the plan", Subject: path, Kind: fault.Usage, Err: err, Hint: "kfdev plan ENV --out FILE writes one"}
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if info.Size() > maxPlan {
		return fail(fmt.Errorf("it has %d bytes", info.Size()))
	}
	file, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	var p envs.SitePlan
	strict := json.NewDecoder(file)
	strict.DisallowUnknownFields()
	err = errors.Join(strict.Decode(&p), file.Close())
	if err != nil {
		return fail(err)
	}
	return &p, nil
}

func newPromote(a *app) *cobra.Command {
	var o envs.PromoteOptions
	var plan string
	cmd := &cobra.Command{
		Use:   "promote ENV",
		Short: "Take the release to an environment: images, objects, proof",
		Long: `Takes the release that the project is now (or an earlier one, with --release) to
an environment: images by digest into its registry, a pull proven from a node,
objects in stages, the smoke tests, and the record in the cluster itself.

Refused (exit code 8) unless kfdev lock --check passes, no difference has expired,
and every environment that it comes after has this very release in force, verified,
and without drift. One promotion at a time; one that was cut off or failed goes on
with the next. No field is ever taken from another owner unless --take-from says so,
or with --plan the plan's own line.`,
		Example: "  kfdev promote staging\n  kfdev promote prod --plan prod.plan",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				if plan != "" {
					var err error
					if o.Plan, err = readPlan(plan); err != nil {
						return err
					}
				}
				r, err := e.Promote(cmd.Context(), args[0], o)
				if r.Release == "" {
					return err
				}
				if showErr := a.result(r, func(w io.Writer) error { return promotedText(w, r, err) }); showErr != nil {
					return showErr
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&o.Release, "release", "", "an earlier release, by its digest")
	cmd.Flags().StringVar(&plan, "plan", "", "a plan that kfdev plan --out wrote: exactly that is done")
	cmd.Flags().StringSliceVar(&o.Force, "take-from", nil, "take fields that conflict from this field manager, or on this KIND/NAMESPACE/NAME")
	placeFlags(cmd, &o.PlanOptions)
	cmd.MarkFlagsMutuallyExclusive("plan", "release")
	cmd.MarkFlagsMutuallyExclusive("plan", "take-from") // the plan's lines say what is taken
	return cmd
}

// placeFlags are those about what the environment had before.
func placeFlags(cmd *cobra.Command, o *envs.PlanOptions) {
	cmd.Flags().StringVar(&o.FromProject, "from-project", "", "the project that the environment is of until now, and whose place this one takes")
	cmd.Flags().BoolVar(&o.PruneNamespaces, "prune-namespaces", false, "delete the namespaces of profiles that have left the project, with everything in them")
}

func promotedText(w io.Writer, r envs.Promoted, failed error) error {
	fmt.Fprintf(w, "images     %d blobs copied, %d were there\n", r.Copied.Blobs, r.Copied.Present)
	for _, name := range r.Sorted() {
		c := r.Changes[name]
		fmt.Fprintf(w, "%-10s %d created, %d configured, %d deleted, %d unchanged\n", name,
			c.Count(apply.Created), c.Count(apply.Configured), c.Count(apply.Deleted), c.Count(apply.Unchanged))
	}
	for _, t := range r.Tests {
		state := "ok"
		if !t.OK {
			state = "FAILED"
		}
		fmt.Fprintf(w, "verify     %s %s, %s\n", t.Component, state, took(t.Took))
	}
	if failed != nil {
		return nil // the error says the rest
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, fmt.Sprintf("%s %s", s.Name, took(s.Took)))
	}
	fmt.Fprintf(w, "steps      %s\n", strings.Join(steps, ", "))
	_, err := fmt.Fprintf(w, "%s: release %s is in force, in %s\n", r.Environment, release.Short(r.Release), took(r.Took))
	return err
}
