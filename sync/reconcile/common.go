package reconcile

import "github.com/kfdev/kfdev/sync/tree"

// Common makes the ancestor for a folder that may be the one that base was agreed
// with, or an older copy of it: what base and the folder have alike. That cannot
// have been changed there, whichever of the two it is. Of everything else both
// sides' versions count as new, so that none is lost, and nothing counts as
// deleted there.
func Common(base, side *tree.Tree) *tree.Tree {
	t := &tree.Tree{}
	common(t, "", node(base), node(side))
	return t
}

func common(t *tree.Tree, path string, base, side *tree.Node) {
	if base == nil || side == nil || base.Entry != side.Entry {
		return
	}
	// It can't fail: the path is one of a tree, and its parent was just put.
	_ = t.Put(path, base.Entry)
	for _, name := range base.Names() {
		common(t, tree.Join(path, name), base.Child(name), side.Child(name))
	}
}
