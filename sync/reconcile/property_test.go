package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// words are names that collide under case and Unicode folding, and some that
// don't.
var words = []string{"a", "A", "b", "c", "d", "\u00e9", "e\u0301", "\u00c9", "x-y"}

// world is a pair of folders with their ancestor.
type world struct {
	base, local, remote *tree.Tree
	options             Options
}

func entry(rnd *rand.Rand) tree.Entry {
	switch rnd.IntN(8) {
	case 0, 1, 2:
		return tree.Entry{Kind: tree.Dir}
	case 3:
		return tree.Entry{Kind: tree.Symlink, Target: words[rnd.IntN(2)]}
	}
	d := byte(rnd.IntN(5))
	return tree.Entry{Kind: tree.File, Size: int64(d), Digest: tree.Digest{d}, Exec: rnd.IntN(3) == 0}
}

// mutate edits a side as its file system would let it, and returns the paths
// that an endpoint would report.
func mutate(rnd *rand.Rand, t *tree.Tree, side Side, edits int) []string {
	before := t.Clone()
	if t.Root().Kind != tree.Dir {
		_ = t.Put("", tree.Entry{Kind: tree.Dir})
	}
	for range edits {
		var dirs, all []string
		_ = t.Walk(func(p string, e tree.Entry) error {
			if e.Kind == tree.Dir {
				dirs = append(dirs, p)
			}
			if p != "" {
				all = append(all, p)
			}
			return nil
		})
		switch op := rnd.IntN(10); {
		case op < 5 || len(all) == 0:
			dir := dirs[rnd.IntN(len(dirs))]
			put(t, tree.Join(dir, words[rnd.IntN(len(words))]), entry(rnd), side)
		case op < 6: // exec only
			p := all[rnd.IntN(len(all))]
			if e := t.Get(p); e.Kind == tree.File {
				e.Exec = !e.Exec
				_ = t.Put(p, e)
			}
		case op < 7: // a rename
			from := all[rnd.IntN(len(all))]
			to := tree.Join(dirs[rnd.IntN(len(dirs))], words[rnd.IntN(len(words))])
			if tree.Under(to, from) || tree.Under(from, to) || from == to {
				continue
			}
			moved := t.Clone()
			t.Delete(from)
			_ = moved.WalkBelow(from, func(p string, e tree.Entry) error {
				put(t, to+strings.TrimPrefix(p, from), e, side)
				return nil
			})
		default:
			t.Delete(all[rnd.IntN(len(all))])
		}
	}
	return reported(before, t)
}

// put is tree.Put where the parent is there and no other name collides.
func put(t *tree.Tree, path string, e tree.Entry, side Side) {
	if collision(t, path, side) == "" {
		_ = t.Put(path, e)
	}
}

func collision(t *tree.Tree, path string, side Side) string {
	for _, other := range t.Node(tree.Parent(path)).Names() {
		if other != tree.Base(path) && side.folds() && side.key(other) == side.key(tree.Base(path)) {
			return other
		}
	}
	return ""
}

// reported are the differences as an endpoint reports them: of what is gone,
// only the top.
func reported(before, now *tree.Tree) []string {
	var paths []string
	var compare func(path string, a, b *tree.Node)
	compare = func(path string, a, b *tree.Node) {
		if a.Content() != b.Content() {
			paths = append(paths, path)
		}
		if b == nil {
			return
		}
		for _, name := range union(a.Names(), b.Names()) {
			compare(tree.Join(path, name), a.Child(name), b.Child(name))
		}
	}
	compare("", node(before), node(now))
	return paths
}

// write does to a side what an endpoint does, and fails where one would.
func write(t *tree.Tree, changes []tree.Change, side Side) error {
	for _, c := range changes {
		n := t.Node(c.Path)
		switch {
		case n.Content() != c.From:
			return fmt.Errorf("%q is %v, and %v was expected", c.Path, n.Content(), c.From)
		case c.To.Kind != tree.Dir && len(n.Names()) > 0:
			return fmt.Errorf("%q is not empty", c.Path)
		case n == nil && c.Path != "" && collision(t, c.Path, side) != "":
			return fmt.Errorf("%q would overwrite %q", c.Path, collision(t, c.Path, side))
		case c.From == c.To:
			return fmt.Errorf("%q is no change", c.Path)
		}
		if err := t.Put(c.Path, c.To); err != nil {
			return err
		}
	}
	return nil
}

// settle applies a result everywhere.
func (w *world) settle(res Result) error {
	if err := write(w.base, res.Agreed, Side{}); err != nil {
		return fmt.Errorf("agreed: %w", err)
	}
	if err := write(w.local, res.ToLocal, w.options.Local); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if err := write(w.remote, res.ToRemote, w.options.Remote); err != nil {
		return fmt.Errorf("remote: %w", err)
	}
	if err := Apply(w.base, res.ToLocal); err != nil {
		return err
	}
	return Apply(w.base, res.ToRemote)
}

func (w *world) reconcile(paths []string) Result {
	return Reconcile(w.base, w.local, w.remote, paths, w.options)
}

func (w *world) clone() *world {
	return &world{w.base.Clone(), w.local.Clone(), w.remote.Clone(), w.options}
}

func random(rnd *rand.Rand) *world {
	w := &world{base: &tree.Tree{}}
	w.options.Mode = Modes()[rnd.IntN(4)]
	flip := func() bool { return rnd.IntN(3) == 0 }
	w.options.Local = Side{FoldsCase: flip(), FoldsUnicode: flip()}
	w.options.Remote = Side{FoldsCase: flip(), FoldsUnicode: flip()}
	both := Side{
		FoldsCase:    w.options.Local.FoldsCase || w.options.Remote.FoldsCase,
		FoldsUnicode: w.options.Local.FoldsUnicode || w.options.Remote.FoldsUnicode,
	}
	mutate(rnd, w.base, both, rnd.IntN(25))
	w.local, w.remote = w.base.Clone(), w.base.Clone()
	mutate(rnd, w.local, w.options.Local, rnd.IntN(12))
	mutate(rnd, w.remote, w.options.Remote, rnd.IntN(12))
	if rnd.IntN(6) == 0 {
		w.base = &tree.Tree{}
	}
	return w
}

func (w *world) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%+v\n", w.options)
	for _, t := range []*tree.Tree{w.base, w.local, w.remote} {
		_ = t.Walk(func(p string, e tree.Entry) error {
			fmt.Fprintf(&s, "  %q %v %v %x %s\n", p, e.Kind, e.Exec, e.Digest[0], e.Target)
			return nil
		})
		s.WriteString("--\n")
	}
	return s.String()
}

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
			require.Equal(t, len(all.Conflicts), len(known), "%q\n%v\n%v", paths, before, w)
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
