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
replaced, prints it with the login where one is needed (a user with a password, or
a bearer token that holds for 12 hours), and stays until Ctrl-C.`,
		Example: "  kfdev open jupyterhub\n  kfdev open argo-workflows --port 2746",
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
	if o.Token != "" {
		fmt.Fprintf(w, "token     Bearer %s\n          (goes into the header Authorization, or where the page asks for it; until %s)\n",
			o.Token, o.Expires.Local().Format("2006-01-02 15:04"))
	}
	if o.Note != "" {
		fmt.Fprintln(w, o.Note)
	}
	_, err := fmt.Fprintln(w, "Ctrl-C ends it.")
	return err
}
