package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
)

func file(name, content string, mode fs.FileMode, uid, gid int) layer.Entry {
	return layer.Entry{
		Path: name, Type: layer.File, Mode: mode, UID: uid, GID: gid, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// sample has one entry of each kind and every case of the extended header.
func sample() []layer.Entry {
	long := strings.Repeat("long/", 30) + "name"
	return []layer.Entry{
		file("bin/su", "su", 0o755|fs.ModeSetuid, 0, 0),
		file("bin/wall", "wall", 0o755|fs.ModeSetgid, 0, 5),
		{Path: "tmp", Type: layer.Dir, Mode: 0o777 | fs.ModeSticky},
		{Path: "home/jovyan", Type: layer.Dir, Mode: 0o750, UID: 1000, GID: 100},
		{Path: "bin/sh", Type: layer.Symlink, Mode: 0o777, Link: "/bin/dash"},
		{Path: "a-link", Type: layer.Hardlink, Mode: 0o755, Link: "bin/wall"},
		file(long, "x", 0o644, 0, 0),
		{Path: "to-long", Type: layer.Symlink, Mode: 0o777, Link: "/" + long},
		file("usr/share/Ærøskøbing", strings.Repeat("x", 513), 0o644, 0, 0),
		file("big-owner", "", 0o600, 1<<21, 1<<31-1),
		file("exactly/one/block", strings.Repeat("y", 512), 0o444, 0, 0),
	}
}

func tree(t *testing.T, entries []layer.Entry) *layer.Tree {
	t.Helper()
	var tr layer.Tree
	for _, e := range entries {
		require.NoError(t, tr.Add(e))
	}
	return &tr
}

func TestWriteIsReadBackAsItIs(t *testing.T) {
	t.Parallel()
	entries := sample()
	var archive bytes.Buffer
	require.NoError(t, tree(t, entries).Write(t.Context(), &archive))
	want := map[string]layer.Entry{}
	for _, e := range tree(t, entries).Entries() {
		want[e.Path] = e
	}
	r := tar.NewReader(&archive)
	seen := map[string]bool{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		name := strings.TrimSuffix(h.Name, "/")
		e, ok := want[name]
		require.True(t, ok, name)
		require.False(t, seen[name])
		seen[name] = true
		require.Equal(t, map[layer.Type]byte{layer.File: tar.TypeReg, layer.Dir: tar.TypeDir, layer.Symlink: tar.TypeSymlink, layer.Hardlink: tar.TypeLink}[e.Type], h.Typeflag, name)
		require.Equal(t, e.Link, h.Linkname)
		require.Equal(t, []int{e.UID, e.GID}, []int{h.Uid, h.Gid})
		require.Empty(t, h.Uname+h.Gname)
		require.Equal(t, time.Unix(1, 0), h.ModTime)
		require.Equal(t, e.Mode.Perm(), h.FileInfo().Mode().Perm(), name)
		require.Equal(t, e.Mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky), h.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky), name)
		if e.Type == layer.Hardlink {
			require.True(t, seen[e.Link], "what a hard link leads to comes first")
		}
		if e.Type == layer.File {
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			content, err := e.Open()
			require.NoError(t, err)
			text, err := io.ReadAll(content)
			require.NoError(t, err)
			require.Equal(t, string(text), string(got))
		}
	}
	require.Len(t, seen, len(want))
}

// The digests are part of what kfdev promises: one that changes here changes
// every lock. Raise layer.Format with it.
func TestTheBytesArePinned(t *testing.T) {
	t.Parallel()
	entries := sample()
	for range 2 {
		var out bytes.Buffer
		packed, err := tree(t, entries).Pack(t.Context(), &out, nil)
		require.NoError(t, err)
		require.Equal(t, "sha256:6c180ad19c3ba63670e410e10ddf33c0c492e37249572fb2ecd689c559608cfe", packed.DiffID.String())
		require.Equal(t, "fc9dbd826b9e1828438f6f97eee43b4f2f9b6d591030c8b6bc3ffab09218c304", fmt.Sprintf("%x", sha256.Sum256(out.Bytes())))
		unzipped, err := gzip.NewReader(&out)
		require.NoError(t, err)
		raw, err := io.ReadAll(unzipped)
		require.NoError(t, err)
		require.Len(t, raw, int(packed.Size))
		require.Equal(t, packed.Size, tree(t, entries).ArchiveSize())
		for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
			entries[i], entries[j] = entries[j], entries[i]
		}
	}
}

func TestWhatWouldUnpackToSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	short := file("short", "abc", 0o644, 0, 0)
	short.Size = 4
	long := file("long", "abc", 0o644, 0, 0)
	long.Size = 2
	broken := file("broken", "abc", 0o644, 0, 0)
	broken.Open = func() (io.ReadCloser, error) { return nil, fs.ErrPermission }
	for name, tc := range map[string]struct {
		entries []layer.Entry
		want    string
	}{
		"a file below a link":        {[]layer.Entry{{Path: "bin", Type: layer.Symlink, Link: "usr/bin"}, file("bin/x", "x", 0o644, 0, 0)}, `"bin" above it is no folder`},
		"a file below a file":        {[]layer.Entry{file("a", "x", 0o644, 0, 0), file("a/b/c", "x", 0o644, 0, 0)}, "no folder"},
		"a whiteout":                 {[]layer.Entry{file("a/.wh.b", "", 0o644, 0, 0)}, "removed file"},
		"a hard link to nothing":     {[]layer.Entry{{Path: "a", Type: layer.Hardlink, Link: "b"}}, "no file of the layer"},
		"a hard link to a hard link": {[]layer.Entry{{Path: "a", Type: layer.Hardlink, Link: "b"}, {Path: "b", Type: layer.Hardlink, Link: "a"}}, "no file of the layer"},
		"an empty symlink":           {[]layer.Entry{{Path: "a", Type: layer.Symlink}}, "symlink to nothing"},
		"a NUL":                      {[]layer.Entry{file("a\x00b", "", 0o644, 0, 0)}, "NUL"},
		"a negative owner":           {[]layer.Entry{file("a", "", 0o644, -1, 0)}, "negative"},
		"content too short":          {[]layer.Entry{short}, "ends after 3 of 4"},
		"content too long":           {[]layer.Entry{long}, "goes on after 2"},
		"content not to be opened":   {[]layer.Entry{broken}, "permission"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, tree(t, tc.entries).Write(t.Context(), io.Discard), tc.want)
		})
	}
}

func TestWriteEndsWithItsContextAndItsWriter(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tree(t, sample()).Write(ctx, io.Discard), context.Canceled)
	_, err := tree(t, sample()).Pack(t.Context(), full{}, nil)
	require.ErrorIs(t, err, io.ErrShortWrite)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAddAndReplaceAndRemove(t *testing.T) {
	t.Parallel()
	var tr layer.Tree
	for _, bad := range []string{"", ".", "/abs", "a//b", "a/", "..", "../a", "a/../b"} {
		require.Error(t, tr.Add(layer.Entry{Path: bad, Type: layer.Dir}), bad)
	}
	require.NoError(t, tr.Add(layer.Entry{Path: "d", Type: layer.Dir, Mode: 0o755}))
	require.NoError(t, tr.Add(layer.Entry{Path: "d", Type: layer.Dir, Mode: 0o700}))
	require.NoError(t, tr.AddBytes("d/f", 0o644, []byte("one")))
	require.Error(t, tr.AddBytes("d/f", 0o644, []byte("two")))
	require.NoError(t, tr.AddLink("d/l", "f"))
	tr.Replace(file("d/f", "three", 0o644, 0, 0))
	e, ok := tr.Get("d")
	require.True(t, ok)
	require.Equal(t, fs.FileMode(0o700), e.Mode)
	require.Len(t, tr.Entries(), 3)
	tr.Remove("d")
	require.Empty(t, tr.Entries())
}

func TestCloseLetsGoOnce(t *testing.T) {
	t.Parallel()
	var tr layer.Tree
	calls := 0
	tr.OnClose(func() error { calls++; return nil })
	tr.OnClose(func() error { calls++; return fs.ErrClosed })
	require.ErrorIs(t, tr.Close(), fs.ErrClosed)
	require.NoError(t, tr.Close())
	require.Equal(t, 2, calls)
}

func TestFoldersAboveAreTheImagesBelow(t *testing.T) {
	t.Parallel()
	entries := []layer.Entry{{Path: "home/jovyan/src", Type: layer.Dir, Mode: 0o755, UID: 1000}, file("home/jovyan/src/pkg/a.py", "x", 0o644, 1000, 0)}
	tr := tree(t, entries)
	tr.Beneath("home/jovyan/src")
	var paths []string
	for _, e := range tr.Entries() {
		paths = append(paths, e.Path)
	}
	require.Equal(t, []string{"home/jovyan/src", "home/jovyan/src/pkg", "home/jovyan/src/pkg/a.py"}, paths)
	require.NoError(t, tr.Write(t.Context(), io.Discard))

	require.NoError(t, tr.Add(layer.Entry{Path: "home/jovyan", Type: layer.Symlink, Link: "x"}))
	require.ErrorContains(t, tr.Write(t.Context(), io.Discard), "no folder")
	other := tree(t, append(entries, file("home/jovyan/.wh.src", "", 0o644, 0, 0)))
	other.Beneath("home/jovyan/src")
	require.ErrorContains(t, other.Write(t.Context(), io.Discard), "removed file")
}

func FuzzWrite(f *testing.F) {
	f.Add("a/b", "target", uint8(2), uint16(0o755), int64(3))
	f.Add(strings.Repeat("ä/", 80)+"x", "", uint8(0), uint16(0o4755), int64(1<<40))
	f.Fuzz(func(t *testing.T, name, link string, kind uint8, mode uint16, owner int64) {
		e := layer.Entry{Path: name, Type: layer.Type(kind % 4), Mode: fs.FileMode(mode) & fs.ModePerm, UID: int(owner), Link: link, Size: int64(len(link))}
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(link)), nil }
		var tr layer.Tree
		var out bytes.Buffer
		if tr.Add(e) != nil || tr.Write(t.Context(), &out) != nil {
			return
		}
		r := tar.NewReader(&out)
		for {
			h, err := r.Next()
			require.NoError(t, err)
			if strings.TrimSuffix(h.Name, "/") != name {
				continue
			}
			require.Equal(t, e.UID, h.Uid)
			if e.Type == layer.Symlink {
				require.Equal(t, link, h.Linkname)
			}
			return
		}
	})
}
