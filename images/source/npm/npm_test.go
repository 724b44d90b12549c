package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// tgz packs files under a top folder.
func tgz(tb testing.TB, top string, files map[string]string) []byte {
	tb.Helper()
	var headers []tar.Header
	for _, name := range slices.Sorted(maps.Keys(files)) {
		headers = append(headers, tar.Header{Name: top + name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
	}
	return tgzOf(tb, headers, files, top)
}

func tgzOf(tb testing.TB, headers []tar.Header, files map[string]string, top string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		require.NoError(tb, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, files[h.Name[len(top):]])
			require.NoError(tb, err)
		}
	}
	require.NoError(tb, w.Close())
	require.NoError(tb, z.Close())
	return b.Bytes()
}

func integrity(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// entry is one package of a lock made for a test.
type entry struct {
	place   string
	version string
	bin     any
	data    []byte
}

// lockOf writes a package-lock.json.
func lockOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	packages := map[string]any{"": map[string]any{"name": "root"}}
	for _, e := range entries {
		p := map[string]any{"version": e.version, "integrity": integrity(e.data)}
		if e.bin != nil {
			p["bin"] = e.bin
		}
		packages[e.place] = p
	}
	data, err := json.Marshal(map[string]any{"lockfileVersion": 3, "packages": packages})
	require.NoError(t, err)
	return data
}

func specOf(lock []byte) source.LayerSpec {
	return source.LayerSpec{
		Recipe: "example",
		Layer:  recipe.Layer{NPM: &recipe.NPM{Lock: "package-lock.json", Prefix: "/opt/app"}},
		Folder: fstest.MapFS{"package-lock.json": {Data: lock}},
	}
}

func newStore(t *testing.T, contents ...[]byte) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	require.NoError(t, err)
	for _, each := range contents {
		require.NoError(t, s.Put(t.Context(), integrity(each), bytes.NewReader(each)))
	}
	return s
}

// three are a package with a program, one in a scope, and one that lies deeper
// under the same name and version as another.
func three(t *testing.T) []entry {
	t.Helper()
	app := tgz(t, "package/", map[string]string{"package.json": "{}", "bin/app.js": "#!/usr/bin/env node\n", "index.js": "app"})
	scoped := tgz(t, "other-top/", map[string]string{"package.json": "{}", "cli.js": "#!/usr/bin/env node\n", "deep/er/x": ""})
	return []entry{
		{"node_modules/app", "1.0.0", map[string]string{"app": "./bin/app.js"}, app},
		{"node_modules/@s/tool", "2.0.0-rc.1", "cli.js", scoped},
		{"node_modules/app/node_modules/@s/tool", "2.0.0-rc.1", map[string]string{"tool": "cli.js"}, scoped},
	}
}

func contentsOf(entries []entry) [][]byte {
	var out [][]byte
	for _, e := range entries {
		out = append(out, e.data)
	}
	return out
}

func makeTree(t *testing.T, s source.Inputs, spec source.LayerSpec) (*layer.Tree, error) {
	t.Helper()
	m := New(s, Client{}, t.TempDir(), progress.Discard)
	inputs, err := m.Pin(t.Context(), spec, nil)
	require.NoError(t, err)
	return m.Tree(t.Context(), spec, inputs)
}

func TestTreeIsWhatNpmLaysOut(t *testing.T) {
	t.Parallel()
	entries := three(t)
	tree, err := makeTree(t, newStore(t, contentsOf(entries)...), specOf(lockOf(t, entries...)))
	require.NoError(t, err)
	var got []string
	for _, e := range tree.Entries() {
		switch e.Type {
		case layer.Dir:
		case layer.Symlink:
			got = append(got, e.Path+" -> "+e.Link)
		case layer.File, layer.Hardlink:
			got = append(got, fmt.Sprintf("%s %o", e.Path, e.Mode))
		case layer.Removed:
			got = append(got, e.Path+" removed")
		}
	}
	require.Equal(t, []string{
		"opt/app/node_modules/.bin/app -> ../app/bin/app.js",
		"opt/app/node_modules/.bin/tool -> ../@s/tool/cli.js",
		"opt/app/node_modules/@s/tool/cli.js 755",
		"opt/app/node_modules/@s/tool/deep/er/x 644",
		"opt/app/node_modules/@s/tool/package.json 644",
		"opt/app/node_modules/app/bin/app.js 755",
		"opt/app/node_modules/app/index.js 644",
		"opt/app/node_modules/app/node_modules/.bin/tool -> ../@s/tool/cli.js",
		"opt/app/node_modules/app/node_modules/@s/tool/cli.js 755",
		"opt/app/node_modules/app/node_modules/@s/tool/deep/er/x 644",
		"opt/app/node_modules/app/node_modules/@s/tool/package.json 644",
		"opt/app/node_modules/app/package.json 644",
	}, got)
	var first, second bytes.Buffer
	require.NoError(t, tree.Write(t.Context(), &first))
	again, err := makeTree(t, newStore(t, contentsOf(entries)...), specOf(lockOf(t, entries...)))
	require.NoError(t, err)
	require.NoError(t, again.Write(t.Context(), &second))
	require.Equal(t, first.Bytes(), second.Bytes())
}

func TestPinNamesEveryContentOnce(t *testing.T) {
	t.Parallel()
	entries := three(t)
	m := New(newStore(t), Client{}, t.TempDir(), progress.Discard)
	inputs, err := m.Pin(t.Context(), specOf(lockOf(t, entries...)), nil)
	require.NoError(t, err)
	require.Equal(t, []recipe.Input{
		{Kind: "npm", Name: "@s/tool", Version: "2.0.0-rc.1", Hash: integrity(entries[1].data)},
		{Kind: "npm", Name: "app", Version: "1.0.0", Hash: integrity(entries[0].data)},
	}, inputs)
}

func TestTreeRefuses(t *testing.T) {
	t.Parallel()
	files := map[string]string{"x": "x"}
	header := func(name string, kind byte) []tar.Header {
		return []tar.Header{{Name: name, Mode: 0o644, Typeflag: kind, Linkname: "y"}}
	}
	for name, data := range map[string][]byte{
		"a way up":         tgz(t, "package/../../", files),
		"a way up inside":  tgz(t, "package/a/../", files),
		"the root":         tgz(t, "/package/", files),
		"no top folder":    tgz(t, "", files),
		"a parent for top": tgz(t, "../", files),
		"a backslash":      tgz(t, `package/a\`, files),
		"a symlink":        tgzOf(t, header("package/x", tar.TypeSymlink), nil, ""),
		"a hard link":      tgzOf(t, header("package/x", tar.TypeLink), nil, ""),
		"a device":         tgzOf(t, header("package/x", tar.TypeChar), nil, ""),
		"a name twice": tgzOf(t, []tar.Header{{Name: "package/x", Mode: 0o644, Size: 1, Typeflag: tar.TypeReg},
			{Name: "package/x", Mode: 0o644, Size: 1, Typeflag: tar.TypeReg}}, files, "package/"),
		"not a gzip":     []byte("x"),
		"a missing file": tgz(t, "package/", map[string]string{"y": ""}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lock := lockOf(t, entry{"node_modules/a", "1.0.0", map[string]string{"x": "x"}, data})
			_, err := makeTree(t, newStore(t, data), specOf(lock))
			require.ErrorContains(t, err, "a@1.0.0")
		})
	}
}

func TestTreeIsBounded(t *testing.T) {
	t.Parallel()
	data := tgz(t, "package/", map[string]string{"a": "12345", "b": "12345"})
	_, err := readTarball(bytes.NewReader(data), 9)
	require.ErrorContains(t, err, "more than is taken")
	files, err := readTarball(bytes.NewReader(data), 1<<20)
	require.NoError(t, err)
	require.Len(t, files, 2)
	data[len(data)-8] ^= 1 // the checksum
	_, err = readTarball(bytes.NewReader(data), 1<<20)
	require.ErrorIs(t, err, gzip.ErrChecksum)
}

func TestTreeWantsWhatTheLockHas(t *testing.T) {
	t.Parallel()
	entries := three(t)
	spec := specOf(lockOf(t, entries...))
	m := New(newStore(t, contentsOf(entries)...), Client{}, t.TempDir(), progress.Discard)
	inputs, err := m.Pin(t.Context(), spec, nil)
	require.NoError(t, err)
	_, err = m.Tree(t.Context(), spec, inputs[1:])
	require.Equal(t, 6, fault.ExitCode(err))
	spec.Layer.NPM.Prefix = "opt"
	_, err = m.Tree(t.Context(), spec, inputs)
	require.Equal(t, 2, fault.ExitCode(err))
}

func TestTheCatalogsLock(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../catalog/configurable-http-proxy/package-lock.json")
	require.NoError(t, err)
	require.NotContains(t, string(data), `"resolved"`, "a lock names no host")
	lock, err := ParseLock(data)
	require.NoError(t, err)
	require.Contains(t, lock.Packages, Package{
		Path: "node_modules/configurable-http-proxy", Name: "configurable-http-proxy", Version: "5.3.0",
		Integrity: "sha512-5au4O12dEFFHWNm9Y7Exm06TYc1CnMOvvptPTU83Vw7Nz9j0jUqQQwKDR1xT52gqX+X6D8UuO754dQdUkeBYuQ==",
		Bin:       map[string]string{"configurable-http-proxy": "bin/configurable-http-proxy"},
	})
}
