package root

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/images/localregistry"
)

// newRegistry is what the local registry's container runs; people have no use
// for it.
func newRegistry(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "registry",
		Short:  "The local registry that clusters pull from",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRegistryServe(a))
	return cmd
}

func newRegistryServe(a *app) *cobra.Command {
	config := localregistry.Config{Log: a.streams.Err}
	cmd := &cobra.Command{
		Use:    "serve",
		Short:  "Serve a registry until interrupted",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Ready = func(addr net.Addr) { fmt.Fprintf(a.streams.Err, "serving %s on %s\n", config.Root, addr) }
			return localregistry.Serve(cmd.Context(), config)
		},
	}
	cmd.Flags().StringVar(&config.Addr, "addr", ":5000", "host:port to listen on")
	cmd.Flags().StringVar(&config.Root, "root", "/var/lib/registry", "folder of the content")
	return cmd
}
