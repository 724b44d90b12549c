package reconcile

import (
	"slices"
	"strings"

	"github.com/kfdev/kfdev/sync/tree"
)

// few names are compared with their folder's one by one, without a table.
const few = 8

// run is one call of Reconcile.
type run struct {
	Result
	options Options
	root    nodes
	// looked has the paths of Looked; true where those were looked at, too, that
	// the path may collide with.
	looked  map[string]bool
	omitted []string // what a new folder can't hold, though it is in the original
}

// along looks at single paths. Folders above a path are passed through as long
// as all three trees have them; the first that they don't is looked at as a
// whole.
func (r *run) along(paths []string) {
	if slices.Contains(paths, "") || len(paths) > 0 && !r.root.folders() {
		r.Looked = append(r.Looked, "")
		r.visit("", r.root)
		return
	}
	r.looked = make(map[string]bool, len(paths))
	for _, path := range slices.Sorted(slices.Values(paths)) {
		r.to(path)
	}
}

func (r *run) to(path string) {
	parent, dir := "", r.root
	for rest := path; ; {
		name, after, more := strings.Cut(rest, "/")
		here, n := tree.Join(parent, name), dir.child(name)
		if !more || !n.folders() {
			r.visitSome(parent, dir, name)
			return
		}
		if _, done := r.looked[here]; done {
			return
		}
		parent, dir, rest = here, n, after
	}
}

// visitSome looks at one name of a folder, and at those that it may collide
// with where its coming or going could matter to them.
func (r *run) visitSome(parent string, dir nodes, name string) {
	if r.looked[tree.Join(parent, name)] {
		return
	}
	names := []string{name}
	if !dir.child(name).everywhere() {
		for _, other := range r.colliding(dir, name) {
			if !dir.child(other).everywhere() {
				names = append(names, other)
			}
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		path := tree.Join(parent, name)
		_, done := r.looked[path]
		if !done {
			r.looked[path] = false
			r.Looked = append(r.Looked, path)
		}
		return done
	})
	r.looked[tree.Join(parent, name)] = true
	r.visitNames(parent, dir, names)
}

// visit decides on a path and does it, with all that is below.
func (r *run) visit(path string, n nodes) { r.do(path, n, r.decide(path, n)) }

// visitNames is visit for names of one folder, with a look at those that
// collide.
func (r *run) visitNames(parent string, dir nodes, names []string) {
	known := map[Side]folded{}
	for _, name := range names {
		n := dir.child(name)
		if n.settled() {
			continue
		}
		path := tree.Join(parent, name)
		act := r.decide(path, n)
		if side, creates := r.creates(path, n, act); creates && side.folds() {
			var others []string
			switch {
			case known[side] != nil:
				others = known[side].others(name, side)
			case len(names) < few:
				others = side.alike(dir.anyNames(), name)
			default:
				known[side] = fold(dir.anyNames(), side)
				others = known[side].others(name, side)
			}
			if other := r.taken(parent, dir, name, others); other != "" {
				r.collide(path, n, other, side)
				continue
			}
		}
		r.do(path, n, act)
	}
}

// do carries out what was decided.
func (r *run) do(path string, n nodes, act action) {
	b, l, m := n.entries()
	switch act {
	case agree:
		r.Agreed = append(r.Agreed, tree.Change{Path: path, From: b, To: l})
		r.below(path, n)
	case stay:
		r.below(path, n)
	case toLocal:
		r.copy(path, n, n.remote, n.local, &r.ToLocal, r.options.Local)
	case toRemote:
		r.copy(path, n, n.local, n.remote, &r.ToRemote, r.options.Remote)
	case merge:
		to, _ := mergeExec(n)
		if l != to {
			r.ToLocal = append(r.ToLocal, tree.Change{Path: path, From: l, To: to})
		}
		if m != to {
			r.ToRemote = append(r.ToRemote, tree.Change{Path: path, From: m, To: to})
		}
	case prune:
		r.prune(path, n)
	case clash:
		r.Conflicts = append(r.Conflicts, Conflict{Path: path, Base: b, Local: l, Remote: m, Why: r.explain(path, n)})
	case leave:
	}
}

func (r *run) below(path string, n nodes) {
	if names := n.names(); len(names) > 0 {
		r.visitNames(path, n, names)
	}
}

// copy makes one side what the other is, from a path down. At most one of the
// two is a folder here: where both are, they agree.
func (r *run) copy(path string, n nodes, from, to *tree.Node, changes *[]tree.Change, side Side) {
	for _, name := range to.Names() {
		remove(tree.Join(path, name), to.Child(name), changes)
	}
	*changes = append(*changes, tree.Change{Path: path, From: to.Content(), To: from.Content()})
	r.create(path, n, from, changes, side)
	r.forget(path, n)
}

// remove deletes a node with all that is below it.
func remove(path string, n *tree.Node, changes *[]tree.Change) {
	for _, name := range n.Names() {
		remove(tree.Join(path, name), n.Child(name), changes)
	}
	*changes = append(*changes, tree.Change{Path: path, From: n.Entry})
}

// create makes what is below a new folder.
func (r *run) create(path string, n nodes, from *tree.Node, changes *[]tree.Change, side Side) {
	names := from.Names()
	var known folded
	if side.folds() && len(names) > 1 {
		known = fold(slices.Values(names), side)
	}
	for _, name := range names {
		child, made := tree.Join(path, name), from.Child(name)
		if known != nil {
			if others := known.others(name, side); len(others) > 0 {
				c := n.child(name)
				r.collide(child, nodes{local: c.local, remote: c.remote}, others[0], side)
				r.omitted = append(r.omitted, child)
				continue
			}
		}
		*changes = append(*changes, tree.Change{Path: child, To: made.Entry})
		r.create(child, n.child(name), made, changes, side)
	}
}

// forget tells the ancestor of what is below a path and on neither side any
// more; the changes of the path itself would not. What a copy omitted was never
// on both sides of the new folder, and must not look deleted.
func (r *run) forget(path string, n nodes) {
	for _, name := range n.base.Names() {
		child, c := tree.Join(path, name), n.child(name)
		if slices.Contains(r.omitted, child) {
			remove(child, c.base, &r.Agreed)
			continue
		}
		r.forget(child, c)
		if c.local == nil && c.remote == nil {
			r.Agreed = append(r.Agreed, tree.Change{Path: child, From: c.base.Entry})
		}
	}
}
