package root

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
)

func newOpen(a *app) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "open COMPONENT",
		Short: "Open a local URL that leads to a component, with a way to log in",
		Long: `Opens a local URL that answers and follows the component's pod when that is
replaced, prints it with the login where one is needed, and stays until Ctrl-C.`,
		Example: "  kfdev open jupyterhub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				opened, err := e.Open(cmd.Context(), args[0], port)
				if err != nil {
					return err
				}
				if err := a.result(opened, func(w io.Writer) error { return openText(w, opened) }); err != nil {
					return errors.Join(err, opened.Close())
				}
				<-cmd.Context().Done() // that is how a person ends it
				return opened.Close()
			})
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "the local port (default: any that is free)")
	return cmd
}

func openText(w io.Writer, o *envs.Opened) error {
	fmt.Fprintln(w, o.URL)
	if o.User != "" {
		fmt.Fprintf(w, "user      %s\npassword  %s\n", o.User, o.Password)
	}
	_, err := fmt.Fprintln(w, "Ctrl-C ends it.")
	return err
}

func newLogs(a *app) *cobra.Command {
	var o envs.LogOptions
	cmd := &cobra.Command{
		Use:     "logs COMPONENT",
		Short:   "Show the logs of a component's pods",
		Example: "  kfdev logs jupyterhub --follow",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				return e.Logs(cmd.Context(), args[0], o, func(l envs.LogLine) error {
					return a.item(l, func(w io.Writer) error {
						_, err := fmt.Fprintf(w, "%s/%s  %s\n", l.Pod, l.Container, l.Text)
						return err
					})
				})
			})
		},
	}
	cmd.Flags().IntVar(&o.Tail, "tail", 100, "the last lines of each container; 0 for all")
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on until Ctrl-C")
	return cmd
}
