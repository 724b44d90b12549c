package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/logs"
)

func newLogs(a *app) *cobra.Command {
	var o logs.Options
	cmd := &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Show the logs of a component's pods",
		Long: `Shows the logs of every container, init containers and sidecars too, of the pods
that a component's workloads have, and of those that it makes itself, as
JupyterHub its users' servers. Each line begins with its pod and container. What
has not started is named, and a log that can't be read keeps no other from
being shown; the exit code is then 3.

With --follow it goes on with what is written, with containers that restart
and with pods that come later, until Ctrl-C (exit code 130).`,
		Example: "  kfdev logs jupyterhub --follow\n  kfdev logs training-operator --since 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Tail < 0 || o.Since < 0 {
				return usage(fmt.Errorf("--tail and --since take no less than 0"), "")
			}
			return a.withEngine(cmd, func(e *envs.Engine) error {
				return e.Logs(cmd.Context(), args[0], o, func(l logs.Line) error {
					return a.item(l, func(w io.Writer) error {
						_, err := fmt.Fprintf(w, "%s/%s  %s\n", l.Pod, l.Container, l.Text)
						return err
					})
				})
			})
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Tail, "tail", 100, "the last lines of each container; 0 for all")
	flags.DurationVar(&o.Since, "since", 0, "only lines that are not older than this, as 90s or 2h (default: all)")
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on until Ctrl-C")
	flags.BoolVarP(&o.Previous, "previous", "p", false, "of each container's life before this one")
	cmd.MarkFlagsMutuallyExclusive("follow", "previous")
	return cmd
}
