package root

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs, its versions and digests, and why what is not ready is not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				status, err := e.Status(cmd.Context())
				if err != nil {
					return err
				}
				if err := a.result(status, func(w io.Writer) error { return statusText(w, status) }); err != nil {
					return err
				}
				if !status.Ready() {
					return &fault.Error{Kind: fault.Partial, Err: errors.New("not everything is ready"), Hint: "run `kfdev up`"}
				}
				return nil
			})
		},
	}
}

func statusText(w io.Writer, s envs.Status) error {
	phase := string(s.Cluster)
	if phase == "" {
		phase = "not there"
	}
	rows := [][]string{
		{"project", s.Project}, {"lock", s.Lock}, {"origin", s.Origin},
		{"cluster", fmt.Sprintf("%s, %s, Kubernetes %s", s.Context, phase, s.Kubernetes)},
	}
	if s.Stale != "" {
		rows = append(rows, []string{"", s.Stale + "; `kfdev up` locks first"})
	}
	if s.Registry != "" {
		rows = append(rows, []string{"registry", s.Registry})
	}
	if s.Memory > 0 {
		rows = append(rows, []string{"memory", fmt.Sprintf("%d MiB in use by the nodes", s.Memory>>20)})
	}
	if err := table(w, "", rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows = nil
	for _, c := range s.Components {
		rows = append(rows, []string{c.Name, c.Version, string(c.State), c.Why})
		for _, i := range c.Images {
			rows = append(rows, []string{"", "", "", i.Image})
		}
	}
	return table(w, "COMPONENT VERSION STATE IMAGES", rows)
}
