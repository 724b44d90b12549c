package folder

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// arrivals are files of those sizes that the other side has.
func arrivals(t *testing.T, sizes ...int) (from *endpointtest.Memory, changes []tree.Change) {
	t.Helper()
	from = endpointtest.NewMemory()
	for i, n := range sizes {
		data := bytes.Repeat([]byte{byte(i + 1)}, n)
		path := fmt.Sprintf("f%d", i)
		from.Write(t, path, data, false)
		changes = append(changes, tree.Change{Path: path, To: endpointtest.FileEntry(data, false)})
	}
	return from, changes
}

func TestAFileThatIsTooLargeDoesNotArrive(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	h.Write(t, "mine", make([]byte, 5000), false)
	f := openStill(t, Options{Root: h.root, ArriveBytes: 1000})
	defer f.closeFor(t)
	from, changes := arrivals(t, 10, 1001, 1000)
	mine := endpointtest.FileEntry(make([]byte, 5000), false)
	exec := mine
	exec.Exec = true
	changes = append(changes, tree.Change{Path: "mine", From: mine, To: exec})
	outcomes, err := f.Apply(t.Context(), changes, from)
	require.NoError(t, err)
	for i, o := range outcomes {
		require.Equal(t, i != 1, o.Done, "%d: %v", i, o.Err)
	}
	require.ErrorIs(t, outcomes[1].Err, endpoint.ErrRefused)
	require.ErrorContains(t, outcomes[1].Err, "raise maxFile")
	require.NoFileExists(t, h.at("f1"))
}

func TestTheDiskIsNotFilled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ of, free int64 }{
		"a part of a small one":        {200_000, 50_000},      // 10,000 are kept
		"so many bytes of a large one": {100_000_000, 140_000}, // 100,000 are kept
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hand{t.TempDir()}
			f := openStill(t, Options{Root: h.root, KeepFree: 100_000, space: func(*beneath.Root) (int64, int64, error) { return c.free, c.of, nil }})
			defer f.closeFor(t)
			from, changes := arrivals(t, 20_000, 30_000, 15_000)
			outcomes, err := f.Apply(t.Context(), changes, from)
			require.NoError(t, err)
			require.True(t, outcomes[0].Done)
			require.ErrorIs(t, outcomes[1].Err, unix.ENOSPC)
			require.ErrorContains(t, outcomes[1].Err, "make room")
			require.True(t, outcomes[2].Done, "what has room arrives")
		})
	}
}

// Others write, too.
func TestADiskThatFillsMeanwhile(t *testing.T) {
	t.Parallel()
	h := hand{t.TempDir()}
	asked := 0
	f := openStill(t, Options{Root: h.root, KeepFree: 1000, space: func(*beneath.Root) (int64, int64, error) {
		if asked++; asked == 1 {
			return 1 << 30, 1 << 40, nil
		}
		return 1000, 1 << 40, nil
	}})
	defer f.closeFor(t)
	from, changes := arrivals(t, askEvery+1, 10)
	outcomes, err := f.Apply(t.Context(), changes, from)
	require.NoError(t, err)
	require.ErrorIs(t, outcomes[0].Err, unix.ENOSPC)
	require.True(t, outcomes[1].Done)
	require.Empty(t, leftovers(t, h.root))
}

func TestSpace(t *testing.T) {
	t.Parallel()
	r, err := beneath.Open(t.TempDir())
	require.NoError(t, err)
	defer r.Close() //nolint:errcheck // only asked
	free, of, err := r.Space()
	require.NoError(t, err)
	require.Positive(t, of)
	require.LessOrEqual(t, free, of)
}
