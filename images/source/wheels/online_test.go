//go:build online

package wheels

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/catalog"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/progress"
)

// The Hub's wheels, fetched with the machine's own pip, laid out twice from two
// stores, and laid out by pip.
func TestOnlineTheHubsEnvironmentIsPips(t *testing.T) {
	folder, err := fs.Sub(catalog.Files(), "jupyterhub")
	require.NoError(t, err)
	spec := source.LayerSpec{Recipe: "jupyterhub", Folder: folder,
		Layer: recipe.Layer{Wheels: &recipe.Wheels{Lock: "wheels.lock.yaml", Python: "3.11.2", Prefix: "/opt/venv"}}}
	var written [2]bytes.Buffer
	var tree *layer.Tree
	files := t.TempDir()
	for i := range written {
		s := newStore(t)
		m := New(s, DefaultClient(), t.TempDir(), progress.Discard)
		inputs, err := m.Pin(t.Context(), spec, nil)
		require.NoError(t, err)
		require.NoError(t, m.Fetch(t.Context(), spec, inputs))
		tree, err = m.Tree(t.Context(), spec, inputs)
		require.NoError(t, err)
		require.NoError(t, tree.Write(t.Context(), &written[i]))
		for _, input := range inputs {
			copyOut(t, s, input, files)
		}
	}
	require.True(t, bytes.Equal(written[0].Bytes(), written[1].Bytes()), "the same inputs gave two layers")
	compareWithPip(t, tree, files)
}

func copyOut(t *testing.T, s source.Inputs, input recipe.Input, folder string) {
	t.Helper()
	content, err := s.Open(t.Context(), input.Hash)
	require.NoError(t, err)
	data, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	require.NoError(t, os.WriteFile(filepath.Join(folder, input.File), data, 0o600))
}

// compareWithPip installs the wheel files with pip and holds the tree against
// what that wrote: every file, its content and whether it can be run. Left out
// is what each installer writes in its own words.
func compareWithPip(t *testing.T, tree *layer.Tree, files string) {
	t.Helper()
	prefix := t.TempDir()
	wheels, err := filepath.Glob(filepath.Join(files, "*.whl"))
	require.NoError(t, err)
	scratch := t.TempDir()
	command, err := DefaultClient().find(t.Context(), scratch)
	require.NoError(t, err)
	args := append(command[1:], "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--ignore-installed",
		"--python-version", "3.11.2", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none", "--only-binary", ":all:", "--target", filepath.Join(prefix, "site"))
	tags, err := newTagSet("3.11.2", "manylinux_2_36_x86_64")
	require.NoError(t, err)
	for _, p := range tags.platforms {
		args = append(args, "--platform", p)
	}
	_, err = run(t.Context(), scratch, command[0], append(args, wheels...)...)
	require.NoError(t, err)

	theirs := map[string]string{}
	require.NoError(t, filepath.WalkDir(filepath.Join(prefix, "site"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(prefix, "site"), name)
		require.NoError(t, err)
		theirs[rel] = name
		return nil
	}))
	compared := 0
	for _, e := range tree.Entries() {
		// pip --target puts bin and share beside the packages.
		name := strings.TrimPrefix(strings.TrimPrefix(e.Path, "opt/venv/"), "lib/python3.11/site-packages/")
		if e.Type != layer.File || name == "pyvenv.cfg" {
			continue
		}
		there, ok := theirs[name]
		require.True(t, ok, "pip has no %s", name)
		delete(theirs, name)
		info, err := os.Stat(there)
		require.NoError(t, err)
		require.Equal(t, info.Mode()&0o111 != 0, e.Mode&0o111 != 0, name)
		if strings.HasPrefix(name, "bin/") || strings.HasSuffix(name, ".dist-info/RECORD") || strings.HasSuffix(name, ".dist-info/INSTALLER") {
			continue
		}
		want, err := os.ReadFile(there)
		require.NoError(t, err)
		require.Equal(t, string(want), content(t, tree, strings.TrimPrefix(e.Path, "opt/venv/")), name)
		compared++
	}
	for name := range theirs {
		require.True(t, strings.HasSuffix(name, ".dist-info/REQUESTED") || strings.HasSuffix(name, ".dist-info/direct_url.json"), "only pip has %s", name)
	}
	require.Greater(t, compared, 1000)
}
