package root

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/images/source"
)

func newImages(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "List, build, verify and prune the images of the lock",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImagesLs(a), newImagesBuild(a), newImagesVerify(a), newImagesPrune(a))
	return cmd
}

func newImagesLs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the images of the lock, and whether the store has them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				all, err := e.ListImages(cmd.Context())
				if err != nil {
					return err
				}
				return a.result(all, func(w io.Writer) error {
					var rows [][]string
					for _, i := range all {
						stored := "no"
						if i.Stored {
							stored = "yes"
						}
						rows = append(rows, []string{i.Image, fmt.Sprintf("%.1fMB", float64(i.Size)/1e6), i.Origin, stored, i.StandsFor})
					}
					return table(w, "IMAGE SIZE ORIGIN STORED STANDS-FOR", rows)
				})
			})
		},
	}
}

func newImagesBuild(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build the source images of the lock that the store lacks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				built, err := e.BuildImages(cmd.Context())
				if err != nil {
					return err
				}
				return a.result(map[string]int{"built": built}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d images built\n", built)
					return err
				})
			})
		},
	}
}

func newImagesVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [RECIPE...]",
		Short: "Build the source images of the lock again, from nothing, and compare digests",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				verified, err := e.VerifyImages(cmd.Context(), args)
				if err != nil && len(verified) == 0 {
					return err
				}
				verified = append([]source.Verified{}, verified...) // a list, also where there is none
				if showErr := a.result(verified, func(w io.Writer) error { return verifiedText(w, verified) }); showErr != nil {
					return showErr
				}
				return err
			})
		},
	}
}

func verifiedText(w io.Writer, all []source.Verified) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "the lock has no image that is built from source")
		return err
	}
	var rows [][]string
	for _, v := range all {
		row := []string{"same", v.Name, v.Got.String()}
		if !v.Same() {
			row = []string{"OTHER", v.Name, v.Got.String() + ", wanted " + v.Want.String()}
		}
		rows = append(rows, row)
	}
	return table(w, "", rows)
}

func newImagesPrune(a *app) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove from the store what no project of this user has in its lock",
		Long: `Removes from the store what no project of this user has in its lock. The local
registry's own image stays as long as the registry is there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				pruned, err := e.PruneImages(cmd.Context(), dryRun)
				if err != nil {
					return err
				}
				return a.result(pruned, func(w io.Writer) error {
					verb := "removed"
					if dryRun {
						verb = "would remove"
					}
					_, err := fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("%s %d blobs, %.1f MB", verb, pruned.Blobs, float64(pruned.Bytes)/1e6)))
					return err
				})
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say so")
	return cmd
}
