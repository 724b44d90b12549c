package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs"
)

func newRender(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "render ENV",
		Short: "Print what an environment gets, and prove what differs",
		Long: `Prints the manifests of one environment, as promote would apply them there:
every image by digest and from the environment's registry, with the values that
the differences in kfdev.yaml give it. Nothing but the project is read: no
cluster, no registry, no clock. Certificates and Secrets are made in the cluster
and are no part of it.

Every pair of environments is compared before anything is printed. Where they
differ in anything that is not declared, each place is named with both values and
the entry that would allow it, and the exit code is 6.`,
		Example: "  kfdev render staging\n  diff <(kfdev render staging) <(kfdev render prod)\n  kfdev render prod -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				r, err := e.Render(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.result(r, func(w io.Writer) error { return renderText(w, r) })
			})
		},
	}
}

// renderText writes the objects as kubectl reads them.
func renderText(w io.Writer, r envs.Rendered) error {
	for _, c := range r.Components {
		for _, o := range c.Objects {
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "---\n# %s %s\n%s", c.Name, c.Version, data); err != nil {
				return err
			}
		}
	}
	return nil
}
