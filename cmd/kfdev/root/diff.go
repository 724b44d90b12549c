package root

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/fault"
)

func newDiff(a *app) *cobra.Command {
	var suggest, budget bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two environments: what is in force there, and what they are",
		Long: `Compares two environments: the releases in force, components, images and every
field of the manifests, and what the environments themselves are (versions, feature
gates, kinds, webhooks and policies, classes, namespaces' contracts, nodes, GPUs).
What is declared and what is not are told apart, the worst first, each with both
values and why it matters. What could not be read is unknown, and equals nothing.
Exit code 6 where anything differs that is not declared, or by an entry that has
expired. What was changed live since is kfdev drift's.

With --suggest, entries that would allow what nothing does are written into
kfdev.yaml, their reason and owner to be filled in.`,
		Example: "  kfdev diff staging prod\n  kfdev diff staging prod --budget\n  kfdev diff dev staging --suggest",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				if args[0] == args[1] {
					return &fault.Error{Op: "comparing environments", Subject: args[0], Kind: fault.Usage, Err: errors.New("it is one and the same")}
				}
				p, err := e.Diff(cmd.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				if suggest && len(p.Suggested) > 0 {
					if err := e.WriteSuggested(p.Suggested); err != nil {
						return err
					}
				}
				show := parityText
				if budget {
					show = budgetText
				}
				if err := a.result(p, func(w io.Writer) error { return show(w, p) }); err != nil {
					return err
				}
				if n := p.Undeclared(); n > 0 {
					hint := "make the environments equal, or declare it: kfdev diff " + args[0] + " " + args[1] + " --suggest"
					if suggest {
						hint = "fill in the reason and the owner of what was written into kfdev.yaml"
					}
					return &fault.Error{Op: "comparing environments", Subject: args[0] + " and " + args[1], Kind: fault.Drift, Err: fmt.Errorf("%d places differ that nothing allows", n), Hint: hint}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&suggest, "suggest", false, "write entries that would allow what is undeclared into kfdev.yaml")
	cmd.Flags().BoolVar(&budget, "budget", false, "show the counts alone")
	return cmd
}

func parityText(w io.Writer, p envs.Parity) error {
	for _, s := range []envs.ParitySide{p.A, p.B} {
		fmt.Fprintf(w, "%-10s release %s, since %s\n", s.Environment, release.Short(s.Release), s.Since.Format("2006-01-02 15:04"))
	}
	if !p.Same {
		fmt.Fprintln(w, "the releases are not the same")
	}
	for _, c := range p.Components {
		fmt.Fprintf(w, "UNDECLARED component %s: %s has %s, %s has %s\n           what was proven in one is not what runs in the other\n",
			c.Name, p.A.Environment, orNothing(c.A), p.B.Environment, orNothing(c.B))
	}
	for _, i := range p.Images {
		fmt.Fprintf(w, "UNDECLARED image %s: %s has %s, %s has %s\n           another program runs\n",
			i.Repository, p.A.Environment, release.Short(orNothing(i.A)), p.B.Environment, release.Short(orNothing(i.B)))
	}
	for _, f := range p.Configuration {
		if !f.Allowed {
			fmt.Fprintf(w, "UNDECLARED %s\n           %s\n", f, f.Matters)
		}
	}
	for _, f := range p.Environment {
		if !f.Allowed {
			mark := "UNDECLARED"
			if f.Unknown {
				mark = "UNKNOWN"
			}
			fmt.Fprintf(w, "%-10s %s\n           %s\n", mark, ofEnvironments(p, f), f.Matters)
		}
	}
	for _, f := range p.Configuration {
		if f.Allowed {
			fmt.Fprintf(w, "declared   %s (%s)\n", f, f.Entry)
		}
	}
	for _, f := range p.Environment {
		if f.Allowed {
			fmt.Fprintf(w, "declared   %s (%s)\n", ofEnvironments(p, f), f.Entry)
		}
	}
	return budgetText(w, p)
}

// ofEnvironments says which of the two has what.
func ofEnvironments(p envs.Parity, f fingerprint.Finding) string {
	return fmt.Sprintf("fingerprint/%s: %s has %s, %s has %s: %s", f.Path(), p.A.Environment, f.A, p.B.Environment, f.B, f.Why)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func budgetText(w io.Writer, p envs.Parity) error {
	b := p.Budget
	_, err := fmt.Fprintf(w, "%d identical, %d images from another registry, %d declared, %d expired, %d unknown, %d undeclared\n",
		b.Identical, b.BuiltIn, b.Declared, b.Expired, b.Unknown, b.Undeclared+len(p.Images)+len(p.Components))
	return err
}
