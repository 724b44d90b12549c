package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// each runs a property over random worlds for a while.
func each(t *testing.T, property func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	until := time.Now().Add(400 * time.Millisecond)
	for i := uint64(0); i < 200 || time.Now().Before(until); i++ {
		property(t, rand.New(rand.NewPCG(seed, i)))
		if t.Failed() {
			t.Fatalf("seed %d, %d", seed, i)
		}
	}
}

func bare(conflicts []Conflict) []Conflict {
	conflicts = slices.Clone(conflicts)
	for i := range conflicts {
		conflicts[i].Why = ""
	}
	return conflicts
}

func TestConvergesAndStaysSo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		w.options.Prefer = []Preference{NoPreference, NoPreference, PreferLocal, PreferRemote}[rnd.IntN(4)]
		before := w.clone()
		res := w.reconcile(nil)
		require.True(t, tree.Equal(before.base, w.base) && tree.Equal(before.local, w.local) && tree.Equal(before.remote, w.remote), "the trees were changed")
		require.NoError(t, w.settle(res), "%v\n%+v", before, res)
		again := w.reconcile(nil)
		require.Empty(t, again.ToLocal, before)
		require.Empty(t, again.ToRemote, before)
		require.Empty(t, again.Agreed, before)
		if w.options.Mode == OneWay && w.options.Prefer == PreferRemote || w.options.Mode == Pull && w.options.Prefer == PreferLocal {
			// What could not be brought back to the sender is the receiver's own from then on.
			require.Subset(t, bare(res.Conflicts), bare(again.Conflicts), before)
		} else {
			require.Equal(t, bare(res.Conflicts), bare(again.Conflicts), before)
		}
		for _, c := range again.Conflicts {
			require.NotEmpty(t, c.Why)
			require.True(t, c.Collides != "" || w.options.Prefer == NoPreference, before)
		}
		requireAlike(t, w, again.Conflicts, before)
	})
}

// requireAlike checks what a mode promises of two sides that have settled.
func requireAlike(t *testing.T, w *world, conflicts []Conflict, before *world) {
	t.Helper()
	for _, p := range reported(w.local, w.remote) {
		if slices.ContainsFunc(conflicts, func(c Conflict) bool {
			return c.Path == p || tree.Under(p, c.Path) || tree.Under(c.Path, p)
		}) {
			continue
		}
		l, r := w.local.Get(p), w.remote.Get(p)
		switch w.options.Mode {
		case OneWay:
			require.True(t, l.Kind == tree.Absent && r.Kind != tree.Absent, "%q: %v", p, before)
		case Pull:
			require.True(t, r.Kind == tree.Absent && l.Kind != tree.Absent, "%q: %v", p, before)
		default:
			require.Equal(t, l, r, "%q: %v", p, before)
		}
	}
}

// What a side has made since the ancestor is still there after, at its place.
func TestLosesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		before := w.clone()
		require.NoError(t, w.settle(w.reconcile(nil)))
		check := func(was, now *tree.Tree) {
			_ = was.Walk(func(p string, e tree.Entry) error {
				b, n := before.base.Get(p), now.Get(p)
				if e == b || sameContent(e, b) || sameContent(e, n) {
					return nil
				}
				require.Equal(t, e, n, "%q: %v", p, before)
				return nil
			})
		}
		switch w.options.Mode {
		case OneWay:
			require.True(t, tree.Equal(before.local, w.local), before)
			check(before.remote, w.remote)
		case Pull:
			require.True(t, tree.Equal(before.remote, w.remote), before)
			check(before.local, w.local)
		case OneWayReplica:
			require.True(t, tree.Equal(before.local, w.local), before)
		default:
			check(before.local, w.local)
			check(before.remote, w.remote)
			requireSeen(t, before, w)
		}
	})
}

// requireSeen checks that what is gone from one side was deleted or replaced on
// the other, which had it as the ancestor did.
func requireSeen(t *testing.T, before, now *world) {
	t.Helper()
	_ = before.base.Walk(func(p string, e tree.Entry) error {
		if before.local.Get(p) == e && before.remote.Get(p) == e {
			require.Equal(t, e, now.local.Get(p), "%q: %v", p, before)
			require.Equal(t, e, now.remote.Get(p), "%q: %v", p, before)
		}
		return nil
	})
}

func TestSidesAreExchangeable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		mirrored := map[Mode]Mode{TwoWaySafe: TwoWaySafe, OneWay: Pull, Pull: OneWay}[w.options.Mode]
		if mirrored == "" {
			return
		}
		res := w.reconcile(nil)
		m := &world{w.base, w.remote, w.local, Options{Mode: mirrored, Local: w.options.Remote, Remote: w.options.Local}}
		mir := m.reconcile(nil)
		require.Equal(t, res.ToLocal, mir.ToRemote, w)
		require.Equal(t, res.ToRemote, mir.ToLocal, w)
		require.Equal(t, res.Agreed, mir.Agreed, w)
		swapped := bare(mir.Conflicts)
		for i, c := range swapped {
			swapped[i].Local, swapped[i].Remote = c.Remote, c.Local
		}
		require.Equal(t, bare(res.Conflicts), swapped, w)
	})
}

func TestPathsFindWhatEverythingFinds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		res := w.reconcile(nil)
		require.NoError(t, w.settle(res))
		known := w.reconcile(nil).Conflicts
		for range 6 {
			before := w.clone()
			paths := mutate(rnd, w.local, w.options.Local, rnd.IntN(4))
			paths = append(paths, mutate(rnd, w.remote, w.options.Remote, rnd.IntN(4))...)
			rnd.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
			if paths == nil {
				paths = []string{}
			}
			all, some := w.reconcile(nil), w.reconcile(paths)
			require.Equal(t, all.ToLocal, some.ToLocal, "%q\n%v\n%v", paths, before, w)
			require.Equal(t, all.ToRemote, some.ToRemote, "%q\n%v\n%v", paths, before, w)
			require.Equal(t, all.Agreed, some.Agreed, "%q\n%v\n%v", paths, before, w)
			known = some.Carry(known)
			require.Len(t, known, len(all.Conflicts), "%q\n%v\n%v", paths, before, w)
			if len(known) > 0 {
				require.Equal(t, anyName(all.Conflicts), anyName(known), "%q\n%v\n%v", paths, before, w)
			}
			require.NoError(t, w.settle(some))
			known = w.reconcile(nil).Conflicts
		}
	})
}

// anyName leaves it open which of several names a conflict of names tells of.
func anyName(conflicts []Conflict) []Conflict {
	conflicts = slices.Clone(conflicts)
	for i, c := range conflicts {
		if c.Collides != "" {
			conflicts[i].Collides, conflicts[i].Why = "*", ""
		}
	}
	return conflicts
}

// A replaced pod gets all of local, and local loses nothing.
func TestRebasedLocalWins(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		w.options = Options{}
		w.remote = &tree.Tree{}
		mutate(rnd, w.remote, Side{}, rnd.IntN(20))
		w.base = Rebase(w.base, w.local, w.remote)
		before := w.clone()
		res := w.reconcile(nil)
		require.NoError(t, w.settle(res))
		_ = before.local.Walk(func(p string, e tree.Entry) error {
			require.Equal(t, e, w.local.Get(p), "%q: %v", p, before)
			return nil
		})
		for _, c := range res.Conflicts {
			// Only where the image has files of its own in a folder that local has no folder for.
			require.Equal(t, tree.Dir, c.Remote.Kind, before)
		}
		requireAlike(t, w, res.Conflicts, before)
	})
}
