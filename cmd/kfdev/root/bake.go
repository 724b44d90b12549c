package root

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
)

// newSyncBake is a command of kfdev sync's.
func newSyncBake(a *app) *cobra.Command {
	var o envs.BakeOptions
	cmd := &cobra.Command{
		Use:   "bake NAME [--lock]",
		Short: "Make an image of what a pod runs and the files that are synced into it",
		Long: `Puts the files of a sync entry's folder, as one layer, on the image that the
entry's pod runs, for every platform of the lock, and brings it into the local
registry. Standard output has its name, repository@digest. The same files on the
same image give the same digest, on every machine.

What is ignored, and links that lead out of the folder, are not in it. Files
belong to the image's user where it says one in numbers, else to root, and may
be read by everybody. What the image itself has in the folder and the sync has
deleted is not in the new image; what is ignored of it stays. A volume that a pod
mounts there hides all of it.

Where a session of the folder with this pod runs on this machine, it says what
the pod has. Unless it is in sync and nothing waits for a person, nothing is
baked: exit 6. --local bakes the folder as it is here, whatever the pod has; so
does bake where no such session runs, and says so.

Secrets in the files (keys, tokens, .env) stop it, each with its place: exit 8.

With --lock the image is entered into kfdev.lock: it may run, kfdev up and
promotions carry it along, and it stays until kfdev.yaml has no such entry any
more. Its own bytes are on this machine alone until they are promoted.`,
		Example: "  kfdev sync bake notebook\n  kfdev sync bake notebook --lock --allow-secret tests/fixture.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			return a.withEngine(cmd, func(e *envs.Engine) error {
				baked, err := e.Bake(cmd.Context(), o)
				if err != nil {
					return err
				}
				return a.result(baked, func(w io.Writer) error {
					_, err := fmt.Fprintln(w, baked.Image)
					return err
				})
			})
		},
	}
	cmd.Flags().BoolVar(&o.Local, "local", false, "bake the folder as it is here, whatever a session says that the pod has")
	cmd.Flags().BoolVar(&o.Lock, "lock", false, "enter the image into kfdev.lock")
	cmd.Flags().StringArrayVar(&o.AllowSecrets, "allow-secret", nil, "a file or folder, relative to the entry's folder, that may hold secrets; may be given several times")
	waitFlag(cmd, &o.Wait)
	return cmd
}
