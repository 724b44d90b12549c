package reconcile

import (
	"fmt"
	"math/rand/v2"
	"strings"

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
