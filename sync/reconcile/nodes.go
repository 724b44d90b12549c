package reconcile

import (
	"slices"

	"github.com/kfdev/kfdev/sync/tree"
)

// nodes is what the three trees have at one path; nil where there is nothing.
type nodes struct{ base, local, remote *tree.Node }

// node is a tree's root, or nil where it is absent.
func node(t *tree.Tree) *tree.Node { return t.Node("") }

func (n nodes) child(name string) nodes {
	return nodes{n.base.Child(name), n.local.Child(name), n.remote.Child(name)}
}

func (n nodes) entries() (base, local, remote tree.Entry) {
	return n.base.Content(), n.local.Content(), n.remote.Content()
}

// everywhere is true where all three have something.
func (n nodes) everywhere() bool { return n.base != nil && n.local != nil && n.remote != nil }

// folders is true where all three are folders.
func (n nodes) folders() bool {
	b, l, r := n.entries()
	return b.Kind == tree.Dir && l.Kind == tree.Dir && r.Kind == tree.Dir
}

// swapped has the sides exchanged.
func (n nodes) swapped() nodes { return nodes{n.base, n.remote, n.local} }

// names are those below any of the three.
func (n nodes) names() []string {
	return union(union(n.local.Names(), n.remote.Names()), n.base.Names())
}

// union merges two sorted lists.
func union(a, b []string) []string {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	all := make([]string, 0, max(len(a), len(b))+8)
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			all, a = append(all, a[0]), a[1:]
		case a[0] > b[0]:
			all, b = append(all, b[0]), b[1:]
		default:
			all, a, b = append(all, a[0]), a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// same is true where two nodes hold the same, all the way down.
func same(a, b *tree.Node) bool {
	if a.Content() != b.Content() {
		return false
	}
	names := a.Names()
	if !slices.Equal(names, b.Names()) {
		return false
	}
	for _, name := range names {
		if !same(a.Child(name), b.Child(name)) {
			return false
		}
	}
	return true
}

// news returns the first path at or below a node that base does not have just
// so. There is none where nothing but deletions has happened to base.
func news(path string, base, now *tree.Node) (string, bool) {
	if now == nil {
		return "", false
	}
	if now.Entry != base.Content() {
		return path, true
	}
	for _, name := range now.Names() {
		if p, ok := news(tree.Join(path, name), base.Child(name), now.Child(name)); ok {
			return p, true
		}
	}
	return "", false
}

// reduced is true where nothing but deletions has happened to base.
func reduced(base, now *tree.Node) bool {
	_, ok := news("", base, now)
	return !ok
}
