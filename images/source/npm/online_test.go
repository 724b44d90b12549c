//go:build online

package npm

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

// The proxy's packages, fetched with the machine's own npm, laid out twice from
// two stores, and laid out by npm.
func TestOnlineTheProxysFolderIsNpms(t *testing.T) {
	folder, err := fs.Sub(catalog.Files(), "configurable-http-proxy")
	require.NoError(t, err)
	spec := source.LayerSpec{Recipe: "configurable-http-proxy", Folder: folder,
		Layer: recipe.Layer{NPM: &recipe.NPM{Lock: "package-lock.json", Prefix: "/opt/app"}}}
	var written [2]bytes.Buffer
	var tree *layer.Tree
	for i := range written {
		m := New(newStore(t), DefaultClient(), t.TempDir(), progress.Discard)
		inputs, err := m.Pin(t.Context(), spec, nil)
		require.NoError(t, err)
		require.NoError(t, m.Fetch(t.Context(), spec, inputs))
		tree, err = m.Tree(t.Context(), spec, inputs)
		require.NoError(t, err)
		require.NoError(t, tree.Write(t.Context(), &written[i]))
	}
	require.True(t, bytes.Equal(written[0].Bytes(), written[1].Bytes()), "the same inputs gave two layers")

	theirs := t.TempDir()
	require.NoError(t, os.CopyFS(theirs, folder))
	require.NoError(t, run(t.Context(), theirs, "npm", "ci", "--ignore-scripts", "--omit=dev"))
	compared := 0
	for _, e := range tree.Entries() {
		name := filepath.Join(theirs, strings.TrimPrefix(e.Path, "opt/app/"))
		info, err := os.Lstat(name)
		if e.Type == layer.Dir {
			continue
		}
		require.NoError(t, err)
		compared++
		if e.Type == layer.Symlink {
			target, err := os.Readlink(name)
			require.NoError(t, err)
			require.Equal(t, target, e.Link)
			continue
		}
		require.Equal(t, info.Mode()&0o111 != 0, e.Mode&0o111 != 0, e.Path)
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		r, err := e.Open()
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, string(want), string(got), e.Path)
	}
	count := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(theirs, "node_modules"), func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != ".package-lock.json" {
			count++
		}
		return err
	}))
	require.Equal(t, count, compared)
}
