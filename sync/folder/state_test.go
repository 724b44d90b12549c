package folder

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

func TestOneSessionHasAFolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	f := openStill(t, Options{Root: root, Session: "first"})
	_, err := Open(t.Context(), Options{Root: root, Session: "second"})
	require.ErrorIs(t, err, endpoint.ErrRefused)
	require.ErrorContains(t, err, `the session "first" (process`)
	require.NotEmpty(t, fault.Hint(err))
	f.closeFor(t)
	f = openStill(t, Options{Root: root, Session: "second"})
	f.closeFor(t)
}

func TestAFolderThatCantBeWrittenTo(t *testing.T) {
	t.Parallel()
	for _, err := range []error{unix.EROFS, unix.EACCES} {
		_, got := Open(t.Context(), Options{Root: t.TempDir(), before: func(string, string) error { return err }})
		require.ErrorIs(t, got, endpoint.ErrRefused)
		require.ErrorIs(t, got, err)
		require.NotEmpty(t, fault.Hint(got))
	}
	// A link in the place of the state would lead everything elsewhere.
	root, elsewhere := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(root, endpoint.StateDir)))
	_, err := Open(t.Context(), Options{Root: root})
	require.ErrorIs(t, err, endpoint.ErrRefused)
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Empty(t, entries)
	file := filepath.Join(root, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = Open(t.Context(), Options{Root: file})
	require.ErrorIs(t, err, endpoint.ErrRootGone)
}

func TestUndoSurvivesARestart(t *testing.T) {
	t.Parallel()
	h, from, changes := scene(t)
	before := h.Look(t)
	f := openStill(t, Options{Root: h.root})
	outcomes, err := f.Apply(t.Context(), changes, from)
	require.NoError(t, err)
	f.closeFor(t)
	f = openStill(t, Options{Root: h.root})
	h.Remove(t, "new")
	h.Remove(t, "to folder/in")
	batch, _, err := f.Undo(t.Context())
	require.NoError(t, err)
	require.Equal(t, outcomes[0].Batch, batch)
	require.True(t, tree.Equal(before, h.Look(t)))
	f.closeFor(t)
}

func TestTheTrashIsLimited(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "f", []byte("0"), false)
	f := openStill(t, Options{Root: h.root, TrashBatches: 3})
	from := endpointtest.NewMemory()
	for i := range 10 {
		from.Write(t, "f", []byte{byte('1' + i)}, false)
		outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", From: entryOf(string(rune('0' + i))), To: entryOf(string(rune('1' + i)))}}, from)
		require.NoError(t, err)
		require.NoError(t, outcomes[0].Err)
	}
	entries, err := os.ReadDir(h.at(trashPath))
	require.NoError(t, err)
	require.Len(t, entries, 3)
	f.closeFor(t)
}

func TestModesAndTimes(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "f", []byte("old"), false)
	require.NoError(t, os.Chmod(h.at("f"), 0o640|os.ModeSetuid))
	future := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(h.at("f"), future, future))
	f := openStill(t, Options{Root: h.root})
	defer f.closeFor(t)
	zeros := make([]byte, 4<<20)
	from := endpointtest.NewMemory()
	from.Write(t, "f", []byte("new"), true)
	from.Write(t, "sparse", zeros, false)
	exec := endpointtest.FileEntry([]byte("new"), true)
	outcomes, err := f.Apply(t.Context(), []tree.Change{
		{Path: "f", From: entryOf("old"), To: exec}, {Path: "sparse", To: endpointtest.FileEntry(zeros, false)},
	}, from)
	require.NoError(t, err)
	require.NoError(t, outcomes[0].Err)
	require.NoError(t, outcomes[1].Err)
	info, err := os.Stat(h.at("f"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o750), info.Mode())
	require.True(t, info.ModTime().After(future))
	require.True(t, bytes.Equal(zeros, h.Read(t, "sparse")))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(h.at("sparse"), &st))
	require.Less(t, st.Blocks*512, int64(1<<20))
	require.WithinDuration(t, time.Now(), time.Unix(st.Mtim.Unix()), 30*time.Second)

	outcomes, err = f.Apply(t.Context(), []tree.Change{{Path: "f", From: exec, To: entryOf("new")}}, from)
	require.NoError(t, err)
	require.NoError(t, outcomes[0].Err)
	info, err = os.Stat(h.at("f"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())
}

func TestWhatIsNoPartOfTheTree(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	require.NoError(t, unix.Mkfifo(h.at("fifo"), 0o644))
	h.Link(t, "/etc/passwd", "absolute")
	h.Link(t, "../out", "up")
	h.Link(t, "a/../../out", "round about")
	h.Write(t, "in/"+endpoint.StateDir+"/x", []byte("another root's"), false)
	h.Write(t, "large", make([]byte, 100), false)
	f, err := Open(t.Context(), Options{Root: h.root, watch: newSaid().open})
	require.NoError(t, err)
	f.o.Caps.FileBytes = 99
	defer f.closeFor(t)
	scanned, err := f.Scan(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, scanned.Len())
	require.Equal(t, tree.Entry{Kind: tree.File, Size: 100}, scanned.Get("large"), "there, and like no other")
	require.Len(t, f.Info().Notes, 3)
	for _, path := range []string{"fifo", "absolute", "up"} {
		outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: path, To: tree.Entry{Kind: tree.Dir}}}, nil)
		require.NoError(t, err)
		require.ErrorIs(t, outcomes[0].Err, endpoint.ErrRefused, path)
	}
	require.NoError(t, f.Fetch(t.Context(), []endpoint.Want{{Path: "large", Entry: scanned.Get("large")}}, func(_ int, p endpoint.Piece) error {
		require.ErrorIs(t, p.Err, endpoint.ErrRefused)
		return nil
	}))
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".kfdev-sync", ".KFDEV-SYNC", ".kfdev-\u200csync", ".kfdev-sync-1", ".\uff4bfdev-sync", ".kfdev-\u017fync"} {
		require.True(t, reserved(name), "%q", name)
	}
	for _, name := range []string{".kfdev", ".kfdev-sync2", "kfdev-sync", ".kfdevignore", "\xff.kfdev-sync"} {
		require.False(t, reserved(name), "%q", name)
	}
}

func TestLinksInside(t *testing.T) {
	t.Parallel()
	for target, is := range map[string]bool{
		"x": true, "./x": true, "../x": true, "../..": true, "../../..": false, "/x": false, "": false, "x/../y": false, "..//../x/": true,
	} {
		require.Equal(t, is, inside("a/b/l", target), target)
	}
}

func TestSpelling(t *testing.T) {
	t.Parallel()
	const composed, decomposed = "\u00e9", "e\u0301"
	f := &Folder{}
	require.Equal(t, decomposed, f.spelling(false, nil, decomposed))
	require.Equal(t, composed, f.spelling(true, nil, decomposed))
	require.Equal(t, decomposed, f.spelling(true, map[string]bool{decomposed: true}, decomposed))
	require.Equal(t, composed, f.spelling(true, map[string]bool{composed: true}, decomposed))
	require.Equal(t, "a", f.spelling(true, nil, "a"))
}
