package reconcile

import (
	"iter"
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

// settled is true where all three are the same and nothing can be below.
func (n nodes) settled() bool {
	return n.everywhere() && n.base.Kind != tree.Dir && n.base.Entry == n.local.Entry && n.base.Entry == n.remote.Entry
}

// swapped has the sides exchanged.
func (n nodes) swapped() nodes { return nodes{n.base, n.remote, n.local} }

// names are those below any of the three.
func (n nodes) names() []string {
	return union(union(n.local.Names(), n.remote.Names()), n.base.Names())
}

// anyNames yields the same in no order.
func (n nodes) anyNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range n.local.Children() {
			if !yield(name) {
				return
			}
		}
		for name := range n.remote.Children() {
			if n.local.Child(name) == nil && !yield(name) {
				return
			}
		}
		for name := range n.base.Children() {
			if n.local.Child(name) == nil && n.remote.Child(name) == nil && !yield(name) {
				return
			}
		}
	}
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
	count := 0
	for name, child := range a.Children() {
		if !same(child, b.Child(name)) {
			return false
		}
		count++
	}
	for range b.Children() {
		count--
	}
	return count == 0
}

// news returns the first path at or below a node that base does not have just
// so.
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
	if now == nil {
		return true
	}
	if now.Entry != base.Content() {
		return false
	}
	for name, child := range now.Children() {
		if !reduced(base.Child(name), child) {
			return false
		}
	}
	return true
}
