package folder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

// identityOf opens a folder, and closes it again.
func identityOf(t *testing.T, o Options, then func(f *Folder)) endpoint.Info {
	t.Helper()
	f := openStill(t, o)
	info := f.Info()
	if then != nil {
		then(f)
	}
	f.closeFor(t)
	return info
}

func TestIdentityStays(t *testing.T) {
	t.Parallel()
	o := Options{Root: t.TempDir()}
	sync := func(f *Folder) { require.NoError(t, f.Sync(t.Context())) }
	first := identityOf(t, o, nil)
	require.True(t, first.Fresh)
	require.Len(t, first.Identity, 32)
	require.False(t, first.FoldsCase)
	// The first connection broke before anybody wrote down that this folder is known.
	again := identityOf(t, o, sync)
	require.Equal(t, first.Identity, again.Identity)
	require.True(t, again.Fresh)
	again = identityOf(t, o, nil)
	require.Equal(t, first.Identity, again.Identity)
	require.False(t, again.Fresh)
	moved := Options{Root: o.Root + "-moved"}
	require.NoError(t, os.Rename(o.Root, moved.Root))
	require.Equal(t, again.Identity, identityOf(t, moved, nil).Identity)
	require.NoError(t, os.RemoveAll(filepath.Join(moved.Root, endpoint.StateDir)))
	other := identityOf(t, moved, nil)
	require.NotEqual(t, first.Identity, other.Identity)
	require.True(t, other.Fresh)
	require.Empty(t, other.CopyOf)
}

// appliedTo has a folder with a batch in its trash.
func appliedTo(t *testing.T, h hand) {
	t.Helper()
	f := openStill(t, Options{Root: h.root})
	from := endpointtest.NewMemory()
	from.Write(t, "f", []byte("new"), false)
	outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", From: entryOf("old"), To: entryOf("new")}}, from)
	require.NoError(t, err)
	require.NoError(t, outcomes[0].Err)
	require.NoError(t, f.Sync(t.Context()))
	f.closeFor(t)
}

// What copies a folder, as `COPY . .` does it into an image, makes another one
// of it, which has nothing to undo.
func TestACopyIsAnotherFolder(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "f", []byte("old"), false)
	appliedTo(t, h)
	original := identityOf(t, Options{Root: h.root}, nil)
	root := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(root, os.DirFS(h.root)))
	var ofCopy endpoint.Info
	for range 2 { // and it is known what it was, until somebody has seen it
		info := identityOf(t, Options{Root: root}, func(f *Folder) {
			batch, updates, err := f.Undo(t.Context())
			require.NoError(t, err)
			require.Empty(t, batch)
			require.Empty(t, updates)
		})
		require.NotEqual(t, original.Identity, info.Identity)
		require.True(t, info.Fresh)
		require.Equal(t, original.Identity, info.CopyOf)
		if ofCopy.Identity != "" {
			require.Equal(t, ofCopy.Identity, info.Identity)
		}
		ofCopy = info
	}
	identityOf(t, Options{Root: root}, func(f *Folder) { require.NoError(t, f.Sync(t.Context())) })
	settled := identityOf(t, Options{Root: root}, nil)
	require.Equal(t, ofCopy.Identity, settled.Identity)
	require.Empty(t, settled.CopyOf)
	require.False(t, settled.Fresh)
	require.Equal(t, original, identityOf(t, Options{Root: h.root}, nil))

	// It may have been no copy, but a file system that numbers its files anew: what
	// can't be undone any more is there all the same, for as long as it would be.
	aside, err := filepath.Glob(filepath.Join(root, asidePath, "*", "0"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
	old, err := os.ReadFile(aside[0])
	require.NoError(t, err)
	require.Equal(t, "old", string(old))
	identityOf(t, Options{Root: root, TrashAge: time.Nanosecond}, nil)
	require.NoDirExists(t, filepath.Join(root, asidePath))
}

// An overlay file system moves no folder of an image.
func TestACopysTrashThatCantBeMoved(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "f", []byte("old"), false)
	appliedTo(t, h)
	root := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(root, os.DirFS(h.root)))
	info := identityOf(t, Options{Root: root, before: func(op, path string) error {
		if op == "rename" && path == trashPath {
			return unix.EXDEV
		}
		return nil
	}}, nil)
	require.True(t, info.Fresh)
	left, err := os.ReadDir(filepath.Join(root, trashPath))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Identities of earlier versions do not say where they were made.
func TestAnIdentityOfAnEarlierVersionIsNotSure(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	const old = "00112233445566778899aabbccddeeff"
	h.Write(t, identityPath, []byte(old), false)
	info := identityOf(t, Options{Root: h.root}, nil)
	require.NotEqual(t, old, info.Identity)
	require.Equal(t, old, info.CopyOf)
	require.True(t, info.Fresh)
	for _, damaged := range []string{"", "{", `{"id":"x"}`, `{"id":"` + old + `","copyOf":"\u001b"}`} {
		h.Write(t, identityPath, []byte(damaged), false)
		info := identityOf(t, Options{Root: h.root}, nil)
		require.Len(t, info.Identity, 32)
		require.Empty(t, info.CopyOf)
	}
}

// Who deletes what is the sync's own (`git clean -fdx`) has the same folder still.
func TestAFolderIsRemembered(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	o := Options{Root: filepath.Join(base, "root"), Memory: filepath.Join(base, "memory")}
	require.NoError(t, os.Mkdir(o.Root, 0o755))
	first := identityOf(t, o, nil)
	require.True(t, first.Fresh)
	require.NoError(t, os.RemoveAll(filepath.Join(o.Root, endpoint.StateDir)))
	again := identityOf(t, o, nil)
	require.Equal(t, first.Identity, again.Identity)
	require.False(t, again.Fresh)
	require.Equal(t, again, identityOf(t, o, nil))
	// Another folder in its place is another one.
	require.NoError(t, os.Rename(o.Root, o.Root+"-aside"))
	require.NoError(t, os.Mkdir(o.Root, 0o755))
	other := identityOf(t, o, nil)
	require.NotEqual(t, first.Identity, other.Identity)
	require.True(t, other.Fresh)
}

// StateDir is deleted while the folder is in use.
func TestWhatIsTheSyncsOwnComesBack(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(root string) error{
		"all of it": func(root string) error { return os.RemoveAll(filepath.Join(root, stateDir)) },
		"but what was made meanwhile": func(root string) error {
			return errors.Join(os.Remove(filepath.Join(root, lockPath)), os.Remove(filepath.Join(root, identityPath)))
		},
		"the identity":             func(root string) error { return os.Remove(filepath.Join(root, identityPath)) },
		"the lock":                 func(root string) error { return os.Remove(filepath.Join(root, lockPath)) },
		"where changes are staged": func(root string) error { return os.RemoveAll(filepath.Join(root, stagingPath)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hand{t.TempDir()}
			h.Write(t, "f", []byte("0"), false)
			f := openStill(t, Options{Root: h.root, Session: "first"})
			identity := f.Info().Identity
			from := endpointtest.NewMemory()
			to := func(text string) {
				from.Write(t, "f", []byte(text), false)
				from.Write(t, "new "+text, []byte(text), false)
				outcomes, err := f.Apply(t.Context(), []tree.Change{
					{Path: "f", From: f.entry("f"), To: entryOf(text)}, {Path: "new " + text, To: entryOf(text)},
				}, from)
				require.NoError(t, err)
				require.NoError(t, outcomes[0].Err)
				require.NoError(t, outcomes[1].Err)
				require.Equal(t, text, string(h.Read(t, "f")))
			}
			to("1")
			require.NoError(t, remove(h.root))
			to("2")
			_, err := Open(t.Context(), Options{Root: h.root, Session: "second"})
			require.ErrorContains(t, err, `the session "first"`)
			batch, _, err := f.Undo(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, batch)
			require.Equal(t, "1", string(h.Read(t, "f")))

			require.NoError(t, remove(h.root))
			require.NoError(t, f.Sync(t.Context()))
			f.closeFor(t)
			require.Equal(t, identity, identityOf(t, Options{Root: h.root}, nil).Identity)
			require.FileExists(t, h.at(ignorePath))
		})
	}
}

// The first thing that is asked after it was deleted may be an undo.
func TestNothingIsToBeUndoneWhereTheTrashWasDeleted(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	f := openStill(t, Options{Root: h.root, Session: "first"})
	from := endpointtest.NewMemory()
	for _, text := range []string{"1", "2"} {
		from.Write(t, "f", []byte(text), false)
		outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", From: f.entry("f"), To: entryOf(text)}}, from)
		require.NoError(t, err)
		require.NoError(t, outcomes[0].Err)
	}
	require.NoError(t, os.RemoveAll(h.at(stateDir)))
	batch, updates, err := f.Undo(t.Context())
	require.NoError(t, err)
	require.Empty(t, batch)
	require.Empty(t, updates)
	require.Empty(t, f.Info().Batches)
	require.Equal(t, "2", string(h.Read(t, "f")))
	f.closeFor(t)
}

// Another session took the folder while its lock was gone.
func TestAFolderThatWasTakenIsNotTakenBack(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	f := openStill(t, Options{Root: h.root, Session: "first"})
	require.NoError(t, os.RemoveAll(h.at(stateDir)))
	other := openStill(t, Options{Root: h.root, Session: "second"})
	from := endpointtest.NewMemory()
	from.Write(t, "f", []byte("x"), false)
	outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", To: entryOf("x")}}, from)
	require.NoError(t, err)
	require.ErrorIs(t, outcomes[0].Err, endpoint.ErrRefused)
	identity := other.Info().Identity
	other.closeFor(t)
	f.closeFor(t)
	require.Equal(t, identity, identityOf(t, Options{Root: h.root}, nil).Identity)
}
