package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
)

// archive is a layer of names: with a slash at the end a folder, with an arrow a
// link, with a star a device, all else a file.
func archive(tb testing.TB, names ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range names {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Uid: 7, Gid: 8}
		at, link, isLink := strings.Cut(name, " -> ")
		switch {
		case isLink:
			h.Name, h.Linkname, h.Typeflag = at, link, tar.TypeSymlink
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o750
		case strings.HasSuffix(name, "*"):
			h.Name, h.Typeflag = strings.TrimSuffix(name, "*"), tar.TypeChar
		}
		require.NoError(tb, w.WriteHeader(h))
	}
	require.NoError(tb, w.Close())
	return out.Bytes()
}

func gzipped(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(raw)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return out.Bytes()
}

func zstandard(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, w.Close()) }()
	return w.EncodeAll(raw, nil)
}

// below is what a view has, with a slash behind folders.
func below(v *layer.View) []string {
	var all []string
	for _, s := range v.Below() {
		name := s.Path
		switch {
		case s.Special:
			name += "*"
		case s.Type == layer.Dir:
			name += "/"
		case s.Type == layer.Symlink:
			name += " -> " + s.Link
		}
		all = append(all, name)
	}
	return all
}

func TestLayersOnTopOfEachOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		layers [][]string
		want   []string
	}{
		"one":                     {[][]string{{"w/", "w/s/", "./w/s/a", "/w/s/l -> a", "w/s/dev*", "w/other", "w/sibling/x", "etc/passwd"}}, []string{"w/s/a", "w/s/dev*", "w/s/l -> a"}},
		"a folder nobody names":   {[][]string{{"w/s/d/e/f"}}, []string{"w/s/d/", "w/s/d/e/", "w/s/d/e/f"}},
		"more":                    {[][]string{{"w/s/a"}, {"w/s/b"}}, []string{"w/s/a", "w/s/b"}},
		"one taken away":          {[][]string{{"w/s/a", "w/s/d/", "w/s/d/x", "w/s/dd"}, {"w/s/.wh.a", "w/s/.wh.d"}}, []string{"w/s/dd"}},
		"taken away and put back": {[][]string{{"w/s/d/x"}, {"w/s/d/", "w/s/d/y", "w/s/.wh.d"}}, []string{"w/s/d/", "w/s/d/y"}},
		"all of it":               {[][]string{{"w/s/a", "w/s/d/x"}, {"w/s/b", "w/s/.wh..wh..opq"}}, []string{"w/s/b"}},
		"what is above":           {[][]string{{"w/s/a"}, {".wh.w"}, {"w/s/b"}}, []string{"w/s/b"}},
		"all that is":             {[][]string{{"w/s/a"}, {".wh..wh..opq", "w/s/b"}}, []string{"w/s/b"}},
		"a file for a folder":     {[][]string{{"w/s/d/", "w/s/d/x"}, {"w/s/d"}}, []string{"w/s/d"}},
		"a folder for a file":     {[][]string{{"w/s/d"}, {"w/s/d/", "w/s/d/x"}}, []string{"w/s/d/", "w/s/d/x"}},
		"a folder again":          {[][]string{{"w/s/d/", "w/s/d/x"}, {"w/s/d/"}}, []string{"w/s/d/", "w/s/d/x"}},
		"another's whiteouts":     {[][]string{{"w/s/a"}, {"w/.wh.s2", "v/.wh..wh..opq", "w/s/.wh..wh.plnk"}}, []string{"w/s/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pack := range []func(testing.TB, []byte) []byte{func(_ testing.TB, raw []byte) []byte { return raw }, gzipped, zstandard} {
				v := layer.NewView("w/s")
				for _, names := range tc.layers {
					rest := bytes.NewReader(pack(t, archive(t, names...)))
					require.NoError(t, v.Put(rest))
					require.Zero(t, rest.Len(), "it is read to its end, where a digest is checked")
				}
				require.Equal(t, tc.want, below(v))
				require.Empty(t, v.Blocked())
			}
		})
	}
	v := layer.NewView("w/s")
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/s/d/"))))
	require.Equal(t, []int{0o750, 7, 8}, []int{int(v.Below()[0].Mode.Perm()), v.Below()[0].UID, v.Below()[0].GID})
}

func TestWhatIsInTheWayToAFolder(t *testing.T) {
	t.Parallel()
	v := layer.NewView("w/s")
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/s/a", "w -> v"))))
	require.Equal(t, "w", v.Blocked())
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/"))))
	require.Empty(t, v.Blocked())
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/s -> ../v"))))
	require.Equal(t, "w/s", v.Blocked())
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/.wh.s"))))
	require.Empty(t, v.Blocked())
}

func TestWhatIsNoLayer(t *testing.T) {
	t.Parallel()
	good := gzipped(t, archive(t, "w/s/a"))
	for name, raw := range map[string][]byte{"text": []byte("no layer at all"), "cut": good[:len(good)/2], "a magic alone": good[:2], "zstd": {0x28, 0xb5, 0x2f, 0xfd, 1}} {
		require.Error(t, layer.NewView("w").Put(bytes.NewReader(raw)), name)
	}
}

// A removed name is written as those who unpack layers understand it.
func TestARemovedNameIsAWhiteout(t *testing.T) {
	t.Parallel()
	removed := layer.Entry{Path: "w/s/d", Type: layer.Removed}
	written := tree(t, []layer.Entry{{Path: "w/s", Type: layer.Dir, Mode: 0o755}, removed, file("w/s/a", "x", 0o644, 0, 0)})
	var out bytes.Buffer
	require.NoError(t, written.Write(t.Context(), &out))
	require.EqualValues(t, out.Len(), written.ArchiveSize())
	v := layer.NewView("w/s")
	require.NoError(t, v.Put(bytes.NewReader(archive(t, "w/s/d/", "w/s/d/x", "w/s/b"))))
	require.NoError(t, v.Put(&out))
	require.Equal(t, []string{"w/s/a", "w/s/b"}, below(v))
	// What is removed has nothing below it, and is nothing else beside.
	require.ErrorContains(t, tree(t, []layer.Entry{removed, file("w/s/d/x", "x", 0o644, 0, 0)}).Write(t.Context(), io.Discard), "is no folder")
	var twice layer.Tree
	require.NoError(t, twice.Add(removed))
	require.ErrorContains(t, twice.Add(file("w/s/d", "x", 0o644, 0, 0)), "comes twice")
}

func FuzzView(f *testing.F) {
	f.Add(archive(f, "w/", "w/s/a", "w/.wh.s", "w/s/.wh..wh..opq", "w/l -> s"))
	f.Add(gzipped(f, archive(f, "w/s/d/", ".wh.w")))
	f.Add(zstandard(f, archive(f, "w -> x")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := layer.NewView("w/s")
		if v.Put(bytes.NewReader(raw)) != nil {
			return
		}
		for _, s := range v.Below() {
			require.True(t, strings.HasPrefix(s.Path, "w/s/"), s.Path)
		}
	})
}
