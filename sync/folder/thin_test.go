package folder

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

// saved brings a folder's files to texts, in one batch.
func (h hand) saved(tb testing.TB, f *Folder, texts map[string]string) {
	tb.Helper()
	from := endpointtest.NewMemory()
	var changes []tree.Change
	for path, text := range texts {
		from.Write(tb, path, []byte(text), false)
		changes = append(changes, tree.Change{Path: path, From: f.entry(path), To: entryOf(text)})
	}
	outcomes, err := f.Apply(tb.Context(), changes, from)
	require.NoError(tb, err)
	for _, o := range outcomes {
		require.NoError(tb, o.Err)
	}
}

// lost takes a file away as the other side's deletion does.
func (h hand) lost(tb testing.TB, f *Folder, path string) {
	tb.Helper()
	outcomes, err := f.Apply(tb.Context(), []tree.Change{{Path: path, From: f.entry(path)}}, nil)
	require.NoError(tb, err)
	require.NoError(tb, outcomes[0].Err)
}

func batches(tb testing.TB, h hand) int {
	tb.Helper()
	entries, err := os.ReadDir(h.at(trashPath))
	require.NoError(tb, err)
	return len(entries)
}

func undoOne(tb testing.TB, f *Folder) {
	tb.Helper()
	_, done, err := f.Undo(tb.Context())
	require.NoError(tb, err)
	require.NotEmpty(tb, done)
}

// A file that is saved all day does not end what the trash has of others: of its
// versions the newest stay, and the first.
func TestSavesDoNotEndWhatWasDeleted(t *testing.T) {
	t.Parallel()
	for _, reopened := range []bool{false, true} {
		h := hand{t.TempDir()}
		h.Write(t, "precious", []byte("precious"), false)
		h.Write(t, "nb", []byte("0"), false)
		f := openStill(t, Options{Root: h.root})
		h.lost(t, f, "precious")
		for i := 1; i <= 100; i++ {
			h.saved(t, f, map[string]string{"nb": fmt.Sprint(i)})
		}
		kept := batches(t, h) - 2 // the deletion and the first version
		require.True(t, kept >= keptSaves && kept < keptSaves+joinedAtOnce, kept)
		if reopened {
			f.closeFor(t)
			f = openStill(t, Options{Root: h.root})
		}
		for i := range kept {
			undoOne(t, f)
			require.Equal(t, fmt.Sprint(99-i), string(h.Read(t, "nb")))
		}
		undoOne(t, f)
		require.Equal(t, "0", string(h.Read(t, "nb")))
		undoOne(t, f)
		require.Equal(t, "precious", string(h.Read(t, "precious")))
		require.Zero(t, batches(t, h))
		f.closeFor(t)
	}
}

// The first version of each minute stays.
func TestSavesOfOtherMinutesStay(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "nb", []byte("0"), false)
	f := openStill(t, Options{Root: h.root})
	defer f.closeFor(t)
	for i := 1; i <= 100; i++ {
		h.saved(t, f, map[string]string{"nb": fmt.Sprint(i)})
		all := f.state.saves["nb"]
		all[len(all)-1].made = time.Unix(int64(i)*10, 0) // a save every ten seconds
	}
	kept := len(f.state.saves["nb"])
	require.Less(t, kept, keptSaves+joinedAtOnce)
	for range kept {
		undoOne(t, f)
	}
	last := 100 - kept
	require.Equal(t, fmt.Sprint(last), string(h.Read(t, "nb")))
	for minute := (last - 1) / 6; minute >= 0; minute-- {
		undoOne(t, f)
		require.Equal(t, fmt.Sprint(minute*6), string(h.Read(t, "nb")))
	}
	require.Zero(t, batches(t, h))
}

// Whatever files were saved together, undo goes back from version to version, to
// the first.
func TestUndoAfterManySaves(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's
		h := hand{t.TempDir()}
		paths := []string{"a", "b", "c"}
		now := map[string]int{}
		for _, p := range paths {
			h.Write(t, p, []byte("0"), false)
		}
		f := openStill(t, Options{Root: h.root})
		for range 100 {
			texts := map[string]string{}
			for _, p := range paths {
				if random.IntN(3) > 0 {
					now[p]++
					texts[p] = fmt.Sprint(now[p])
				}
			}
			if len(texts) > 0 {
				h.saved(t, f, texts)
			}
			if random.IntN(40) == 0 {
				undoOne(t, f)
				for _, p := range paths {
					_, err := fmt.Sscan(string(h.Read(t, p)), new(int))
					require.NoError(t, err)
				}
			}
		}
		require.Less(t, batches(t, h), 100)
		f.closeFor(t)
		f = openStill(t, Options{Root: h.root})
		last := 1 << 30
		for batches(t, h) > 0 {
			undoOne(t, f)
			sum := 0
			for _, p := range paths {
				var n int
				_, err := fmt.Sscan(string(h.Read(t, p)), &n)
				require.NoError(t, err)
				sum += n
			}
			require.Less(t, sum, last)
			last = sum
		}
		for _, p := range paths {
			require.Equal(t, "0", string(h.Read(t, p)), "seed %d: %s", seed, p)
		}
		f.closeFor(t)
	}
}

// Where there is too much of it, old versions go before what was deleted, and the
// oldest of each first. A file takes a whole block of a disk.
func TestOldVersionsGoBeforeDeletions(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "precious", []byte("precious"), false)
	const each, most = 3 * blockSize, 40
	f := openStill(t, Options{Root: h.root, TrashBytes: most * each})
	h.lost(t, f, "precious")
	for i := range 100 {
		path := fmt.Sprint("f", i)
		h.saved(t, f, map[string]string{path: "0"})
		h.saved(t, f, map[string]string{path: "1"})
	}
	require.Equal(t, most, batches(t, h))
	require.True(t, h.anywhere(t, "precious"))
	f.closeFor(t)
	f = openStill(t, Options{Root: h.root, TrashBytes: 5 * each}) // what is there counts after a restart, too
	h.saved(t, f, map[string]string{"f0": "2"})
	require.Equal(t, 5, batches(t, h), "the last few versions are no less than what was deleted long ago")
	require.False(t, h.anywhere(t, "precious"))
	f.closeFor(t)
}

func TestWhatIsTooOldGoes(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "a", []byte("a"), false)
	f := openStill(t, Options{Root: h.root})
	h.lost(t, f, "a")
	f.state.trash[0].made = time.Now().Add(-8 * 24 * time.Hour)
	h.saved(t, f, map[string]string{"b": "0"})
	h.saved(t, f, map[string]string{"b": "1"})
	require.Equal(t, 1, batches(t, h))
	require.Equal(t, f.state.trash[0].bytes, f.state.held)
	f.closeFor(t)
}
