package root

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs/project"
)

// version is set by the linker: -X …/cmd/kfdev/root.version=v1.2.3.
var version string

// Version says which kfdev this is.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree that differs from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Project  string `json:"projectAPI"` // version of the project files it reads
}

func thisVersion() Version {
	v := Version{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Project: project.APIVersion}
	info, ok := debug.ReadBuildInfo()
	if v.Version == "" {
		v.Version = "dev"
		if ok && info.Main.Version != "" {
			v.Version = info.Main.Version
		}
	}
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which kfdev this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			return a.result(v, func(w io.Writer) error {
				commit := v.Commit
				if commit != "" {
					commit = ", commit " + commit[:min(12, len(commit))]
				}
				_, err := fmt.Fprintf(w, "kfdev %s%s, %s, %s\n", v.Version, commit, v.Go, v.Platform)
				return err
			})
		},
	}
}
