package root

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/lock"
)

func newLock(a *app) *cobra.Command {
	var o envs.LockOptions
	var update bool
	cmd := &cobra.Command{
		Use:   "lock [--check] [--update [NAME...]]",
		Short: "Write kfdev.lock: every image by digest, with every place that names it",
		Long: `Resolves every image that the stack names (in image fields, arguments, variables
and ConfigMaps) to a digest, or builds it from source where no registry answers,
and writes kfdev.lock. What is locked stays as it is; --update moves it.

A NAME is a component, a recipe, a repository or a published image. With
--update alone, all moves, and where images come from is decided anew.`,
		Example: "  kfdev lock\n  kfdev lock --check\n  kfdev lock --update jupyterhub",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !update {
				return usage(fmt.Errorf("%q goes with --update", args), "")
			}
			o.Update, o.UpdateAll = args, update && len(args) == 0
			return a.withEngine(cmd, func(e *envs.Engine) error {
				result, err := e.Lock(cmd.Context(), o)
				if err != nil && len(result.Changes) == 0 {
					return err
				}
				if showErr := a.result(result, func(w io.Writer) error { return lockText(w, result) }); showErr != nil {
					return showErr
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&o.Check, "check", false, "write nothing; exit 6 where the lock would change, and say in what")
	cmd.Flags().BoolVar(&update, "update", false, "move what the lock otherwise keeps")
	waitFlag(cmd, &o.Wait)
	cmd.MarkFlagsMutuallyExclusive("check", "update")
	cmd.MarkFlagsMutuallyExclusive("check", "wait") // a look waits for nobody
	return cmd
}

// changesShown bounds how many changes text shows; -o json has all.
const changesShown = 30

func lockText(w io.Writer, r envs.LockResult) error {
	changes := r.Changes
	if r.First {
		changes = nil // all of it is new, and a stack has thousands of facts
		fmt.Fprintf(w, "%d facts (-o json has them) of %s\n", len(r.Changes), subjects(r.Changes))
	}
	for i, c := range changes {
		if i == changesShown {
			fmt.Fprintf(w, "… and %d more (-o json has all)\n", len(changes)-i)
			break
		}
		fmt.Fprintln(w, c)
	}
	verb := "is up to date"
	if r.Written {
		verb = "written"
	} else if len(r.Changes) > 0 {
		verb = "would change"
	}
	_, err := fmt.Fprintf(w, "kfdev.lock %s: %d images, origin %s (%s)\n%s\n", verb, r.Images, r.Origin, r.Why, r.Digest)
	return err
}

// subjects counts what facts are of, by kind: "4 components, 12 images, 20 recipes".
func subjects(changes []lock.Change) string {
	seen := map[string]bool{}
	count := map[string]int{}
	for _, c := range changes {
		kind, _, _ := strings.Cut(c.Subject, " ")
		if !seen[c.Subject] {
			seen[c.Subject] = true
			count[kind]++
		}
	}
	var parts []string
	for _, kind := range []string{"component", "image", "recipe"} {
		if n := count[kind]; n == 1 {
			parts = append(parts, "1 "+kind)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %ss", n, kind))
		}
	}
	return strings.Join(append(parts, "the node image"), ", ")
}
