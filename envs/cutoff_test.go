package envs

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
)

// An up that is killed before, in or after any write that it makes is taken up
// again by the next one, which keeps what was good and comes to the same end.
func TestAnUpThatIsKilledAtAnyPointIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for name, scenario := range map[string]struct {
		atLeast    int // points
		components []string
		prepare    func(t *testing.T, b *bench)
	}{
		"nothing is there": {30, []string{"extra", "storage"}, func(*testing.T, *bench) {}},
		"a component goes, the cluster is stopped": {6, []string{"storage"}, func(t *testing.T, b *bench) {
			t.Helper()
			_, err := b.up(t)
			require.NoError(t, err)
			require.NoError(t, b.clusters.Stop(t.Context(), "demo"))
			b.project(t, onlyStorage)
			_, err = b.lock(t, LockOptions{})
			require.NoError(t, err)
		}},
		"the registry lost its volume": {8, []string{"extra", "storage"}, func(t *testing.T, b *bench) {
			t.Helper()
			_, err := b.up(t)
			require.NoError(t, err)
			b.emptyRegistry()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := newBench(t, bothComponents)
			_, err := first.lock(t, LockOptions{})
			require.NoError(t, err)
			for at := 1; ; at++ {
				b := *first // the same project and caches, in another world
				b.outside, b.dirs.State = newOutside(), t.TempDir()
				b.project(t, bothComponents)
				scenario.prepare(t, &b)
				b.revive(at)
				_, err := b.up(t)
				if err == nil {
					require.Greater(t, at, scenario.atLeast)
					return
				}
				require.ErrorIs(t, err, errCut)
				b.takenUpAgain(t, b.points[at-1], scenario.components)
			}
		})
	}
}

// takenUpAgain runs up after one that died at the point.
func (b *bench) takenUpAgain(t *testing.T, point string, components []string) {
	t.Helper()
	before, err := b.clusters.Get(t.Context(), "demo")
	if err != nil {
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	}
	made := b.clusters.Made()
	b.revive(0)
	result, err := b.up(t)
	require.NoError(t, err, point)
	b.isUp(t, components...)
	after, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	if before.Phase == cluster.Running || before.Phase == cluster.Stopped {
		require.Equal(t, before.Nodes[0].ID, after.Nodes[0].ID, point)
		require.Equal(t, made, b.clusters.Made(), point)
	}
	written := b.content.Written()
	require.ElementsMatch(t, slices.Compact(slices.Sorted(slices.Values(written))), written, "%s: something was copied twice", point)
	require.NotEmpty(t, result.Steps)
	b.unchanged(t)
}

func (b *bench) emptyRegistry() { b.content = newOutside().content }

// A build that is cut off at any layer leaves nothing that the next one could
// not go on from, and what was made is not made again.
func TestALockThatIsCutOffIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	whole := newBench(t, bothComponents)
	want, err := whole.lock(t, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, whole.archive.made)
	for cut := range 2 {
		b := newBench(t, bothComponents)
		unmade := b.unmade(t)
		calls := 0
		b.archive.broken = func() error {
			if calls++; calls != cut+1 {
				return nil
			}
			require.Eventually(t, func() bool { return unmade() == 2-cut }, waitLimit, waitTick, "what was begun before is kept")
			return errBroken
		}
		_, err := b.lock(t, LockOptions{})
		require.ErrorIs(t, err, errBroken)
		require.NoFileExists(t, b.dir+"/"+lock.FileName)
		made := b.archive.made + unmade()
		got, err := b.lock(t, LockOptions{})
		require.NoError(t, err)
		require.Equal(t, want.Digest, got.Digest)
		require.Equal(t, made, b.archive.made, "what was made is not made again")
	}
}

// unmade tells how many of Debian's layers the store lacks when it is called.
func (b *bench) unmade(t *testing.T) func() int {
	t.Helper()
	e := b.engine(t)
	pinned, err := e.builder.Pin(t.Context(), []string{"storage", "extra"}, source.Pinned{})
	require.NoError(t, err)
	return func() (n int) {
		will, err := e.builder.Plan(t.Context(), pinned)
		require.NoError(t, err)
		for _, layer := range will.Layers {
			if layer.Kind == recipe.KindDebian {
				n++
			}
		}
		return n
	}
}
