package wheels

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/progress"
)

// file is one file of a wheel made for a test.
type file struct {
	name string
	mode fs.FileMode // 0644 where 0
	text string
}

// built is a wheel made for a test.
type built struct {
	Wheel
	data []byte
}

// build makes a pure wheel with its metadata and RECORD.
func build(t *testing.T, name, version string, files ...file) built {
	t.Helper()
	stem := strings.ReplaceAll(name, "-", "_") + "-" + version
	info := stem + ".dist-info/"
	files = append(slices.Clone(files),
		file{name: info + "METADATA", text: "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n\nName: not a field\n"},
		file{name: info + "WHEEL", text: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"})
	var record strings.Builder
	for _, f := range files {
		sum := sha256.Sum256([]byte(f.text))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.text))
	}
	fmt.Fprintf(&record, "%sRECORD,,\n", info)
	files = append(files, file{name: info + "RECORD", text: record.String()})
	data := zipOf(t, files...)
	sum := sha256.Sum256(data)
	return built{data: data, Wheel: Wheel{
		Name: NormalizeName(name), Version: version, File: stem + "-py3-none-any.whl", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
	}}
}

func zipOf(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if len(f.text) < 8 {
			header.Method = zip.Store
		}
		header.SetMode(0o644)
		if f.mode != 0 {
			header.SetMode(f.mode)
		}
		content, err := w.CreateHeader(header)
		require.NoError(tb, err)
		_, err = io.WriteString(content, f.text)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// newStore returns a store that holds the wheels.
func newStore(t *testing.T, wheels ...built) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	require.NoError(t, err)
	for _, w := range wheels {
		require.NoError(t, s.Put(t.Context(), w.input().Hash, bytes.NewReader(w.data)))
	}
	return s
}

func lockOf(wheels ...built) Lock {
	lock := Lock{Python: "3.11.2", Platform: "manylinux_2_36_x86_64"}
	for _, w := range wheels {
		lock.Wheels = append(lock.Wheels, w.Wheel)
	}
	return lock
}

// specOf returns a layer at /opt/venv of the wheels.
func specOf(wheels ...built) source.LayerSpec {
	return source.LayerSpec{
		Recipe: "example",
		Layer:  recipe.Layer{Wheels: &recipe.Wheels{Lock: "wheels.lock.yaml", Python: "3.11.2", Prefix: "/opt/venv"}},
		Folder: fstest.MapFS{"wheels.lock.yaml": {Data: lockOf(wheels...).Marshal()}},
	}
}

// makeTree pins and unpacks.
func makeTree(t *testing.T, s source.Inputs, spec source.LayerSpec) (*layer.Tree, error) {
	t.Helper()
	m := New(s, Client{}, t.TempDir(), progress.Discard)
	inputs, err := m.Pin(t.Context(), spec, nil)
	require.NoError(t, err)
	return m.Tree(t.Context(), spec, inputs)
}

// content reads a file of a tree below the environment.
func content(t *testing.T, tree *layer.Tree, name string) string {
	t.Helper()
	entry, ok := tree.Get("opt/venv/" + name)
	require.True(t, ok, name)
	r, err := entry.Open()
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, data, int(entry.Size), name)
	return string(data)
}

// listing returns what a tree has below the environment, without folders.
func listing(tree *layer.Tree) []string {
	var out []string
	for _, e := range tree.Entries() {
		name := strings.TrimPrefix(e.Path, "opt/venv/")
		switch e.Type {
		case layer.Dir:
		case layer.Symlink:
			out = append(out, name+" -> "+e.Link)
		case layer.File, layer.Hardlink:
			out = append(out, fmt.Sprintf("%s %o", name, e.Mode))
		case layer.Removed:
			out = append(out, name+" removed")
		}
	}
	return out
}

// site is where the environment's packages lie.
func site(name string) string { return path.Join("lib/python3.11/site-packages", name) }

func hexOf(sum []byte) string { return hex.EncodeToString(sum) }
