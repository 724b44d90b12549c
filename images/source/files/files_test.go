package files_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/files"
	"github.com/kfdev/kfdev/internal/fault"
)

func spec(list ...recipe.File) source.LayerSpec {
	return source.LayerSpec{Recipe: "app", Layer: recipe.Layer{Files: list}, Folder: fstest.MapFS{"conf": {Data: []byte("from the folder")}}}
}

func self(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kfdev")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o700))
	return name
}

func TestFiles(t *testing.T) {
	t.Parallel()
	m := files.New(self(t, "program"))
	s := spec(
		recipe.File{Path: "/etc/a", Content: "text", Mode: "600", UID: 1000, GID: 100},
		recipe.File{Path: "/etc/empty"},
		recipe.File{Path: "/etc/conf", From: "conf"},
		recipe.File{Path: "/kfdev", From: "kfdev:", Mode: "0755"},
		recipe.File{Path: "/link", Link: "etc/a"},
		recipe.File{Path: "/tmp", Dir: true, Mode: "1777"},
		recipe.File{Path: "/gone/x", Content: "x"},
		recipe.File{Path: "/gone", Remove: true},
	)
	inputs, err := m.Pin(t.Context(), s, nil)
	require.NoError(t, err)
	require.Len(t, inputs, 1)
	require.EqualValues(t, 7, inputs[0].Size)
	require.NoError(t, m.Fetch(t.Context(), s, inputs))
	tree, err := m.Tree(t.Context(), s, inputs)
	require.NoError(t, err)
	var raw bytes.Buffer
	require.NoError(t, tree.Write(t.Context(), &raw))
	got := map[string]string{}
	r := tar.NewReader(&raw)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		got[h.Name] = h.FileInfo().Mode().String() + " " + string(content) + h.Linkname
	}
	require.Equal(t, map[string]string{
		"etc/": "drwxr-xr-x ", "etc/a": "-rw------- text", "etc/empty": "-rw-r--r-- ", "etc/conf": "-rw-r--r-- from the folder",
		"kfdev": "-rwxr-xr-x program", "link": "Lrwxrwxrwx etc/a", "tmp/": "dtrwxrwxrwx ",
	}, got)
}

func TestAnotherKfdevThanTheLockedOneIsRefused(t *testing.T) {
	t.Parallel()
	s := spec(recipe.File{Path: "/kfdev", From: "kfdev:"})
	inputs, err := files.New(self(t, "one")).Pin(t.Context(), s, nil)
	require.NoError(t, err)
	err = files.New(self(t, "two")).Fetch(t.Context(), s, inputs)
	require.ErrorContains(t, err, "another kfdev")
	require.Equal(t, []string{"run kfdev lock --update app"}, fault.Hint(err))
	_, err = files.New("/nonexistent").Pin(t.Context(), s, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	none, err := files.New("/nonexistent").Pin(t.Context(), spec(recipe.File{Path: "/a", Content: "x"}), nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestTheSamePathTwiceIsRefused(t *testing.T) {
	t.Parallel()
	_, err := files.New("").Tree(t.Context(), spec(recipe.File{Path: "/a"}, recipe.File{Path: "/a"}), nil)
	require.ErrorContains(t, err, "app: /a")
	_, err = files.New("").Tree(t.Context(), spec(recipe.File{Path: "/a", From: "missing"}), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The same files are the same layer wherever they lie and whenever they were
// written.
func TestTheSameFilesMakeTheSameLayer(t *testing.T) {
	build := func(zone string, written time.Time) []byte {
		t.Helper()
		t.Setenv("TZ", zone)
		program := self(t, "program")
		require.NoError(t, os.Chtimes(program, written, written))
		folder := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(folder, "sub"), 0o700))
		conf := filepath.Join(folder, "sub", "conf")
		require.NoError(t, os.WriteFile(conf, []byte("from the folder"), 0o640))
		require.NoError(t, os.Chtimes(conf, written, written))
		s := spec(
			recipe.File{Path: "/kfdev", From: "kfdev:", Mode: "0755"},
			recipe.File{Path: "/etc/conf", From: "sub/conf"},
			recipe.File{Path: "/etc/a", Content: "text", UID: 1000},
			recipe.File{Path: "/link", Link: "etc/a"},
			recipe.File{Path: "/tmp", Dir: true, Mode: "1777"},
		)
		s.Folder = os.DirFS(folder)
		m := files.New(program)
		inputs, err := m.Pin(t.Context(), s, nil)
		require.NoError(t, err)
		require.NoError(t, m.Fetch(t.Context(), s, inputs))
		tree, err := m.Tree(t.Context(), s, inputs)
		require.NoError(t, err)
		var raw bytes.Buffer
		require.NoError(t, tree.Write(t.Context(), &raw))
		return raw.Bytes()
	}
	one := build("UTC", time.Unix(1_000_000_000, 0))
	two := build("Asia/Kathmandu", time.Now())
	require.Equal(t, one, two)
}
