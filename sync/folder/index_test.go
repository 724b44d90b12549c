package folder

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// age makes files old enough for their stamps to be sure; nobody can set the
// time of change of an inode, so that it has to be waited for.
func age(tb testing.TB) {
	tb.Helper()
	<-time.After(2 * tick)
}

func TestTheIndexSparesReading(t *testing.T) {
	t.Parallel()
	for name, cache := range map[string]string{"in the root": "", "elsewhere": filepath.Join(t.TempDir(), "caches", "index")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hand{t.TempDir()}
			h.Write(t, "kept", []byte("kept"), true)
			h.Write(t, "changed", []byte("1234"), false)
			age(t)
			o := Options{Root: h.root, Cache: cache}
			f := openStill(t, o)
			f.closeFor(t)
			f, err := Open(t.Context(), o)
			require.NoError(t, err)
			records := f.loadIndex(f.state)
			require.Len(t, records, 2)
			for path, r := range records {
				require.True(t, r.stamp.sure, path)
			}
			f.closeFor(t)
			// The same size and the same time: only the inode's time tells.
			info, err := os.Stat(h.at("changed"))
			require.NoError(t, err)
			h.Write(t, "changed", []byte("5678"), false)
			require.NoError(t, os.Chtimes(h.at("changed"), info.ModTime(), info.ModTime()))
			f = openStill(t, o)
			require.Equal(t, entryOf("5678"), f.entry("changed"))
			require.Equal(t, endpointtest.FileEntry([]byte("kept"), true), f.entry("kept"))
			f.closeFor(t)
		})
	}
}

// What was changed a moment before it was looked at is read again, whatever its
// stamp says.
func TestRacilyClean(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 123_456_789)
	at := func(d time.Duration) beneath.Stat {
		return beneath.Stat{Kind: beneath.File, Size: 1, Inode: 2, MTime: now.Add(d).UnixNano(), CTime: now.Add(d).UnixNano()}
	}
	require.False(t, stampOf(at(0), now).sure)
	require.False(t, stampOf(at(-tick), now).sure)
	require.True(t, stampOf(at(-tick-1), now).sure)
	require.False(t, stampOf(at(time.Second), now).sure, "a clock that is ahead")
	whole := time.Duration(123_456_789)
	require.False(t, stampOf(at(-whole-time.Second), now).sure, "whole seconds")
	require.True(t, stampOf(at(-whole-3*time.Second), now).sure)
}

func TestALargeFileIsNotSentAgain(t *testing.T) {
	t.Parallel()
	here, there := hand{t.TempDir()}, hand{t.TempDir()}
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i * i >> 7 * i >> 11)
	}
	old := bytes.Clone(data)
	data[4<<20]++
	here.Write(t, "f", data, false)
	there.Write(t, "f", old, false)
	there.Write(t, "moved", old[:2<<20], false)
	from, to := openStill(t, Options{Root: here.root}), openStill(t, Options{Root: there.root})
	defer from.closeFor(t)
	defer to.closeFor(t)
	c := &counting{Fetcher: from}
	moved := endpointtest.FileEntry(old[:2<<20], false)
	outcomes, err := to.Apply(t.Context(), []tree.Change{
		{Path: "moved", From: moved},
		{Path: "f", From: endpointtest.FileEntry(old, false), To: endpointtest.FileEntry(data, false)},
		{Path: "here now", To: moved},
	}, c)
	require.NoError(t, err)
	for _, o := range outcomes {
		require.NoError(t, o.Err)
	}
	require.Less(t, c.bytes, 3*chunk.MaxSize)
	require.True(t, bytes.Equal(data, there.Read(t, "f")))
	require.True(t, bytes.Equal(old[:2<<20], there.Read(t, "here now")))
}

// A volume that is mounted inside the root is another file system, to which
// nothing can be renamed.
func TestAnotherFileSystemInside(t *testing.T) {
	t.Parallel()
	h, from, changes := scene(t)
	mounted := h.at("volume")
	require.NoError(t, os.Mkdir(mounted, 0o755))
	if err := unix.Mount("none", mounted, "tmpfs", 0, "size=16m"); err != nil {
		t.Skip("nothing can be mounted here: ", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mounted, unix.MNT_DETACH)) })
	require.NoError(t, os.CopyFS(filepath.Join(mounted, "s"), os.DirFS(scenePart(t, h))))
	inner := endpointtest.NewMemory()
	for i, c := range changes {
		if c.To.Kind == tree.File {
			require.NoError(t, from.Fetch(t.Context(), []endpoint.Want{{Path: c.Path, Entry: c.To}}, func(_ int, p endpoint.Piece) error {
				if len(p.Data) > 0 {
					inner.Write(t, "volume/s/"+c.Path, bytes.Clone(p.Data), false)
				}
				return p.Err
			}))
		}
		changes[i].Path = "volume/s/" + c.Path
	}
	f := openStill(t, Options{Root: h.root})
	defer f.closeFor(t)
	before := h.Look(t)
	outcomes, err := f.Apply(t.Context(), changes, inner)
	require.NoError(t, err)
	look := h.Look(t)
	for i, o := range outcomes {
		require.NoError(t, o.Err, changes[i].Path)
		require.Equal(t, changes[i].To, look.Get(changes[i].Path))
	}
	require.Empty(t, leftovers(t, h.root))
	for _, path := range []string{"new", "to folder/in"} {
		h.Remove(t, "volume/s/"+path)
	}
	_, _, err = f.Undo(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	require.True(t, tree.Equal(before, h.Look(t)))
}

// scenePart is a copy of the scene without what is mounted in it.
func scenePart(tb testing.TB, h hand) string {
	tb.Helper()
	part := tb.TempDir()
	entries, err := os.ReadDir(h.root)
	require.NoError(tb, err)
	for _, e := range entries {
		switch {
		case e.Name() == "volume":
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(h.at(e.Name()))
			require.NoError(tb, err)
			require.NoError(tb, os.Symlink(target, filepath.Join(part, e.Name())))
		case e.IsDir():
			require.NoError(tb, os.CopyFS(filepath.Join(part, e.Name()), os.DirFS(h.at(e.Name()))))
		default:
			require.NoError(tb, os.WriteFile(filepath.Join(part, e.Name()), h.Read(tb, e.Name()), 0o644))
		}
	}
	return part
}
