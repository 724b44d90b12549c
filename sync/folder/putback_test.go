package folder

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

// save writes as editors do: a file beside, renamed over the path.
func (h hand) save(tb testing.TB, path, text string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(h.at(path+"~"), []byte(text), 0o644))
	require.NoError(tb, os.Rename(h.at(path+"~"), h.at(path)))
}

// quick is a folder with a file v1 in which something is done before each of the
// renames of f that one change makes, in turn.
func quick(t *testing.T, to tree.Entry, steps ...func(h hand) error) (h hand, f *Folder, o endpoint.Outcome) {
	t.Helper()
	h = hand{t.TempDir()}
	h.Write(t, "f", []byte("v1"), false)
	from := endpointtest.NewMemory()
	from.Write(t, "f", []byte("theirs"), false)
	armed := false
	f = openStill(t, Options{Root: h.root, before: func(op, path string) error {
		moves := op == "exchange" || strings.HasPrefix(op, "rename") && (path == "f" || strings.HasPrefix(filepath.Base(path), "0"))
		if !armed || !moves || len(steps) == 0 {
			return nil
		}
		step := steps[0]
		steps = steps[1:]
		return step(h)
	}})
	t.Cleanup(func() { f.closeFor(t) })
	armed = true
	outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", From: entryOf("v1"), To: to}}, from)
	require.NoError(t, err)
	armed = false
	require.Empty(t, steps)
	require.ErrorIs(t, outcomes[0].Err, endpoint.ErrChanged)
	return h, f, outcomes[0]
}

// anywhere is true where a file under the root holds a text, the trash included.
func (h hand) anywhere(tb testing.TB, text string) bool {
	tb.Helper()
	found := false
	require.NoError(tb, filepath.WalkDir(h.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			require.NoError(tb, err)
			found = found || string(data) == text
		}
		return err
	}))
	return found
}

// Whoever saves while a change arrives, and saves again while that is put back,
// has the newest version at the path, and the trash has the other ones.
func TestSavesWhileAChangeArrives(t *testing.T) {
	t.Parallel()
	for _, to := range []tree.Entry{entryOf("theirs"), {}} {
		for n := 1; n <= 3; n++ {
			var steps []func(hand) error
			for i := range n {
				steps = append(steps, func(h hand) error {
					h.save(t, "f", "v"+string(rune('2'+i)))
					return nil
				})
			}
			if to.Kind == tree.Absent && n == 3 {
				continue // one rename and one back
			}
			h, f, _ := quick(t, to, steps...)
			newest := "v" + string(rune('1'+n))
			require.Equal(t, newest, string(h.Read(t, "f")))
			if n > 1 {
				require.True(t, h.anywhere(t, "v"+string(rune('0'+n))), "the version before it is kept")
				require.Contains(t, strings.Join(f.Info().Notes, ";"), "trash")
			}
			// The newest is nowhere else: undo leaves it.
			_, done, err := f.Undo(t.Context())
			require.NoError(t, err)
			require.Empty(t, done)
			require.Equal(t, newest, string(h.Read(t, "f")))
		}
	}
}

// What can't be put back stays in the trash, and undo brings it back.
func TestWhatCantBePutBack(t *testing.T) {
	t.Parallel()
	save := func(h hand) error { h.save(t, "f", "v2"); return nil }
	fails := func(hand) error { return unix.ENOSPC }
	for name, c := range map[string]struct {
		to   tree.Entry
		then func(hand) error
	}{
		"an exchange":                {entryOf("theirs"), fails},
		"a deletion":                 {tree.Entry{}, fails},
		"a path that is gone by now": {entryOf("theirs"), func(h hand) error { return os.Remove(h.at("f")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, f, _ := quick(t, c.to, save, c.then)
			require.True(t, h.anywhere(t, "v2"))
			batch, done, err := f.Undo(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, batch)
			require.Len(t, done, 1)
			require.Equal(t, entryOf("v2"), done[0].Entry)
			require.Equal(t, "v2", string(h.Read(t, "f")))
		})
	}
}

// A file that was to become a folder and can't be put back is not lost.
func TestAFileBesideItsFolderThatFails(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "f", []byte("v1"), false)
	broken := false
	f := openStill(t, Options{Root: h.root, before: func(op, path string) error {
		if broken && path == "f" {
			return unix.EIO
		}
		return nil
	}})
	defer f.closeFor(t)
	broken = true
	outcomes, err := f.Apply(t.Context(), []tree.Change{{Path: "f", From: entryOf("v1"), To: tree.Entry{Kind: tree.Dir}}}, nil)
	require.NoError(t, err)
	require.ErrorIs(t, outcomes[0].Err, unix.EIO)
	broken = false
	_, done, err := f.Undo(t.Context())
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, "v1", string(h.Read(t, "f")))
}
