package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kfdev": func() { os.Exit(run()) }})
}

// TestScripts runs the scripts of testdata/script against the program. A user
// of its own, with empty folders, runs each.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			for name, folder := range map[string]string{
				"HOME": "home", "XDG_CACHE_HOME": "cache", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config",
			} {
				e.Setenv(name, filepath.Join(e.WorkDir, ".user", folder))
			}
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, ".user", "kubeconfig"))
			e.Setenv("DOCKER_HOST", "unix://"+filepath.Join(e.WorkDir, ".user", "no-docker.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}
