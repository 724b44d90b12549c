package project_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/pod"
)

func TestInitMakesAProjectThatIsRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "My Project_2")
	made, err := project.Init(dir, project.InitOptions{})
	require.NoError(t, err)
	require.Equal(t, "my-project-2", made.Name)
	require.Equal(t, []string{".gitignore", "kfdev.yaml", "src/digits.ipynb", "src/train.py"}, made.Created)
	require.Empty(t, made.Kept)

	f, err := project.Load(dir)
	require.NoError(t, err)
	require.Equal(t, "my-project-2", f.Metadata.Name)
	require.Equal(t, "core", f.Stack.Preset)
	// The folder is in the starter; user and home are the hub's
	// (stack/catalog/jupyterhub: the login's secret, and KubeSpawner's volume).
	entry, ok := f.SyncNamed("notebook")
	require.True(t, ok)
	require.DirExists(t, f.LocalPath(entry))
	target, err := entry.PodTarget()
	require.NoError(t, err)
	require.Equal(t, pod.Target{Kind: pod.KindJupyterHub, Name: "dev"}, target)
	require.Equal(t, "/home/jovyan/src", entry.Remote)
	data, err := os.ReadFile(filepath.Join(dir, "kfdev.yaml"))
	require.NoError(t, err)
	require.NoError(t, bySchema(t, data))
	require.Greater(t, strings.Count(string(data), "#"), 10, "comments are kept")
}

func TestInitTakesOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made, err := project.Init(dir, project.InitOptions{Name: "fraud", Preset: "tiny", Origin: project.OriginSource, Platform: project.LinuxARM64})
	require.NoError(t, err)
	require.Equal(t, "fraud", made.Name)
	f, err := project.Load(dir)
	require.NoError(t, err)
	require.Equal(t, "tiny", f.Stack.Preset)
	require.Equal(t, project.OriginSource, f.Origin)
	require.Equal(t, []project.Platform{project.LinuxARM64}, f.Platforms)
}

func TestInitOverwritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := filepath.Join(dir, "src", "train.py")
	require.NoError(t, os.MkdirAll(filepath.Dir(own), 0o700))
	require.NoError(t, os.WriteFile(own, []byte("mine"), 0o600))
	made, err := project.Init(dir, project.InitOptions{Name: "a"})
	require.NoError(t, err)
	require.Equal(t, []string{"src/train.py"}, made.Kept)
	data, err := os.ReadFile(own)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))

	before, err := os.ReadFile(filepath.Join(dir, "kfdev.yaml"))
	require.NoError(t, err)
	_, err = project.Init(dir, project.InitOptions{Name: "b"})
	require.Equal(t, fault.Usage, fault.KindOf(err))
	after, err := os.ReadFile(filepath.Join(dir, "kfdev.yaml"))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

func TestInitRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		folder  string
		options project.InitOptions
		want    string
	}{
		"a folder's name with nothing in it": {"123", project.InitOptions{}, `"" cannot be a name`},
		"a name":                             {"x", project.InitOptions{Name: "A b"}, `"A b" cannot be a name`},
		"a preset":                           {"x", project.InitOptions{Preset: "huge"}, `"huge" is not known`},
		"an origin":                          {"x", project.InitOptions{Origin: "moon"}, `"moon" is not known`},
		"a platform":                         {"x", project.InitOptions{Platform: "plan9/mips"}, `"plan9/mips" is not known`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), tc.folder)
			_, err := project.Init(dir, tc.options)
			require.Equal(t, fault.Usage, fault.KindOf(err))
			require.ErrorContains(t, err, tc.want)
			require.NoDirExists(t, dir)
		})
	}
}

func TestTheStarterNotebookIsANotebook(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("starter", "src", "digits.ipynb"))
	require.NoError(t, err)
	var notebook struct {
		Format int `json:"nbformat"`
		Cells  []struct {
			Type    string   `json:"cell_type"`
			ID      string   `json:"id"`
			Outputs []any    `json:"outputs"`
			Source  []string `json:"source"`
		} `json:"cells"`
	}
	require.NoError(t, json.Unmarshal(data, &notebook))
	require.Equal(t, 4, notebook.Format)
	ids := map[string]bool{}
	for _, cell := range notebook.Cells {
		require.NotEmpty(t, cell.Source)
		require.Empty(t, cell.Outputs)
		require.False(t, ids[cell.ID])
		ids[cell.ID] = true
	}
}
