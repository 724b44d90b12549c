package root

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs/project"
)

func newInit(a *app) *cobra.Command {
	var options project.InitOptions
	var origin, platform string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a project: a commented kfdev.yaml and code that trains",
		Long: `Makes the folder DIR, or this one, a project: a commented kfdev.yaml, a program
and a notebook that train a TensorFlow model on real data, and a .gitignore.
Nothing that is there is overwritten.`,
		Example: "  kfdev init fraud\n  kfdev init --preset tiny",
		Args:    one("folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := a.project
			if len(args) > 0 {
				dir = args[0]
			}
			options.Origin, options.Platform = project.Origin(origin), project.Platform(platform)
			made, err := project.Init(dir, options)
			if err != nil {
				return err
			}
			return a.result(made, func(w io.Writer) error { return madeText(w, dir, made) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Name, "name", "", "the project's name (default: the folder's)")
	flags.StringVar(&options.Preset, "preset", "core", "the components to begin with: "+strings.Join(project.Presets(), " or "))
	flags.StringVar(&origin, "origin", "auto", "where images come from: auto, registry or source")
	flags.StringVar(&platform, "platform", "", "the platform to lock images for (default: linux/ and this machine's architecture)")
	cmd.PreRun = func(*cobra.Command, []string) {
		if platform == "" {
			platform = "linux/" + runtime.GOARCH
		}
	}
	return cmd
}

func madeText(w io.Writer, dir string, made project.Made) error {
	var out strings.Builder
	fmt.Fprintf(&out, "Made the project %s in %s\n", made.Name, made.Dir)
	for _, name := range made.Created {
		fmt.Fprintf(&out, "  created  %s\n", name)
	}
	for _, name := range made.Kept {
		fmt.Fprintf(&out, "  kept     %s\n", name)
	}
	next := "kfdev up"
	if clean := filepath.Clean(dir); clean != "." {
		next += " --project " + clean
	}
	fmt.Fprintf(&out, "Next: %s\n", next)
	_, err := io.WriteString(w, out.String())
	return err
}
