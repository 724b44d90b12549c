package folder

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

var errCrash = errors.New("the process is dead")

func entryOf(text string) tree.Entry { return endpointtest.FileEntry([]byte(text), false) }

// scene is a folder with a batch of changes of all kinds.
func scene(tb testing.TB) (h hand, from *endpointtest.Memory, changes []tree.Change) {
	tb.Helper()
	h = hand{tb.TempDir()}
	h.Write(tb, "replaced", []byte("old"), false)
	h.Write(tb, "deleted", []byte("old"), false)
	h.Write(tb, "gone/in", []byte("old"), false)
	h.Write(tb, "to folder", []byte("old"), false)
	h.Mkdir(tb, "to file")
	h.Link(tb, "deleted", "link")
	h.Write(tb, "not ours", []byte("theirs"), false)
	from = endpointtest.NewMemory()
	for _, path := range []string{"replaced", "to folder/in", "to file", "new/in"} {
		from.Write(tb, path, []byte("new "+path), false)
	}
	dir := tree.Entry{Kind: tree.Dir}
	return h, from, []tree.Change{
		{Path: "gone/in", From: entryOf("old")},
		{Path: "gone", From: dir},
		{Path: "deleted", From: entryOf("old")},
		{Path: "link", From: tree.Entry{Kind: tree.Symlink, Target: "deleted"}, To: tree.Entry{Kind: tree.Symlink, Target: "replaced"}},
		{Path: "new", To: dir},
		{Path: "new/in", To: entryOf("new new/in")},
		{Path: "replaced", From: entryOf("old"), To: entryOf("new replaced")},
		{Path: "to file", From: dir, To: entryOf("new to file")},
		{Path: "to folder", From: entryOf("old"), To: dir},
		{Path: "to folder/in", To: entryOf("new to folder/in")},
	}
}

// openStill opens a folder without a watcher and scans it.
func openStill(tb testing.TB, o Options) *Folder {
	tb.Helper()
	o.watch = newSaid().open
	f, err := Open(tb.Context(), o)
	require.NoError(tb, err)
	_, err = f.Scan(tb.Context())
	require.NoError(tb, err)
	return f
}

// A process that dies before any one of its operations leaves each path as it
// was or as it is to be, and what it took away can be had back.
func TestDeathAtEveryOperation(t *testing.T) {
	t.Parallel()
	for at := int64(1); ; at++ {
		h, from, changes := scene(t)
		before := h.Look(t)
		openStill(t, Options{Root: h.root}).closeFor(t)
		var count atomic.Int64
		var armed atomic.Bool
		f := openStill(t, Options{Root: h.root, before: func(string, string) error {
			if armed.Load() && count.Add(1) >= at {
				return errCrash
			}
			return nil
		}})
		armed.Store(true)
		_, _ = f.Apply(t.Context(), changes, from) // what it says is heard by nobody
		_ = f.Close()
		died := count.Load() >= at

		after := h.Look(t)
		for _, c := range changes {
			now := after.Get(c.Path)
			aside := c.Path == "to file" || c.Path == "to folder" // nothing is there for a moment
			require.True(t, now == c.From || now == c.To || aside && now == tree.Entry{}, "%d: %q is %v", at, c.Path, now)
		}
		require.Equal(t, entryOf("theirs"), after.Get("not ours"))

		f = openStill(t, Options{Root: h.root})
		_, err := os.Lstat(filepath.Join(h.root, stagingPath))
		require.ErrorIs(t, err, os.ErrNotExist)
		// What came is removed by hand, so that all that was taken away can come back.
		h.Remove(t, "new")
		if after.Get("to folder").Kind == tree.Dir {
			h.Remove(t, "to folder/in")
		}
		_, done, err := f.Undo(t.Context())
		require.NoError(t, err)
		look := h.Look(t)
		require.True(t, tree.Equal(before, look), "death before operation %d: %v were put back", at, done)
		f.closeFor(t)
		if !died {
			require.Greater(t, at, int64(20))
			return
		}
	}
}

func (f *Folder) closeFor(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, f.Close())
}

// An operation that fails is the outcome of its path alone, and leaves nothing
// half done and nothing behind.
func TestOneOperationFails(t *testing.T) {
	t.Parallel()
	for at := int64(1); ; at++ {
		h, from, changes := scene(t)
		var count atomic.Int64
		var armed atomic.Bool
		f := openStill(t, Options{Root: h.root, before: func(string, string) error {
			if armed.Load() && count.Add(1) == at {
				return unix.ENOSPC
			}
			return nil
		}})
		armed.Store(true)
		outcomes, err := f.Apply(t.Context(), changes, from)
		require.NoError(t, err)
		armed.Store(false)
		look, failed := h.Look(t), false
		for i, c := range changes {
			switch o := outcomes[i]; {
			case o.Done:
				require.Equal(t, c.To, look.Get(c.Path), c.Path)
			default:
				failed = true
				require.True(t, errors.Is(o.Err, unix.ENOSPC) || errors.Is(o.Err, endpoint.ErrChanged), o.Err)
				require.Equal(t, c.From, look.Get(c.Path), "operation %d: %s", at, c.Path)
			}
		}
		// What is known is what is there.
		f.mu.Lock()
		for i, c := range changes {
			if outcomes[i].Done {
				require.Equal(t, c.To, f.known.Get(c.Path))
			}
		}
		f.mu.Unlock()
		// Another try does the rest.
		var rest []tree.Change
		for i, c := range changes {
			if !outcomes[i].Done {
				rest = append(rest, c)
			}
		}
		outcomes, err = f.Apply(t.Context(), rest, from)
		require.NoError(t, err)
		for i, o := range outcomes {
			require.NoError(t, o.Err, rest[i].Path)
		}
		require.Empty(t, leftovers(t, h.root))
		f.closeFor(t)
		if count.Load() < at {
			require.False(t, failed)
			return
		}
	}
}

// leftovers is what is in the staging folder.
func leftovers(tb testing.TB, root string) []string {
	tb.Helper()
	entries, err := os.ReadDir(filepath.Join(root, stagingPath))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(tb, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What somebody put where something new is to be stays, and is said.
func TestNewWhereSomethingIs(t *testing.T) {
	t.Parallel()
	h, from := hand{t.TempDir()}, endpointtest.NewMemory()
	f := openStill(t, Options{Root: h.root})
	defer f.closeFor(t)
	h.Write(t, "file", []byte("theirs"), false)
	h.Link(t, "file", "link")
	h.Mkdir(t, "dir")
	before := h.Look(t)
	for _, to := range []tree.Entry{entryOf("ours"), {Kind: tree.Dir}, {Kind: tree.Symlink, Target: "dir"}} {
		var changes []tree.Change
		for _, path := range []string{"dir", "file", "link"} {
			changes = append(changes, tree.Change{Path: path, To: to})
			if to.Kind == tree.File {
				from.Write(t, path, []byte("ours"), false)
			}
		}
		outcomes, err := f.Apply(t.Context(), changes, from)
		require.NoError(t, err)
		for i, o := range outcomes {
			require.False(t, o.Done)
			path := changes[i].Path
			require.ErrorIs(t, o.Err, endpoint.ErrChanged, path)
			require.Equal(t, before.Get(path), o.Now, path)
		}
		require.True(t, tree.Equal(before, h.Look(t)))
		require.Empty(t, leftovers(t, h.root))
	}
}

// Somebody who exchanges a folder for a link out of the root, again and again,
// does not get anything written, removed or read there.
func TestFoldersThatBecomeLinks(t *testing.T) {
	t.Parallel()
	h, outside := hand{t.TempDir()}, hand{t.TempDir()}
	outside.Write(t, "file", []byte("secret"), false)
	before := outside.Look(t)
	h.Mkdir(t, "dir")
	require.NoError(t, os.Symlink(outside.root, h.at("evil")))
	f := openStill(t, Options{Root: h.root})
	defer f.closeFor(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, h.at("dir"), unix.AT_FDCWD, h.at("evil"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	from := endpointtest.NewMemory()
	from.Write(t, "dir/file", []byte("ours"), false)
	from.Write(t, "dir/other", []byte("ours"), false)
	now := tree.Entry{}
	for range 300 {
		to := entryOf("ours")
		if now == to {
			to = tree.Entry{}
		}
		outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "dir/file", From: now, To: to}, {Path: "dir/other", From: now, To: to}}, from)
		require.NoError(t, err)
		now = outcomes[0].Now
		require.NoError(t, f.Fetch(t.Context(), []endpoint.Want{{Path: "dir/file", Entry: entryOf("secret")}}, func(_ int, p endpoint.Piece) error {
			require.NotContains(t, string(p.Data), "secret")
			return nil
		}))
		_, _, err = f.Undo(t.Context())
		require.NoError(t, err)
	}
	close(stop)
	<-stopped
	require.True(t, tree.Equal(before, outside.Look(t)))
}
