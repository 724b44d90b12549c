package reconcile

import "github.com/kfdev/kfdev/sync/tree"

// Rebase makes the ancestor for a remote folder that is not the one that base
// was agreed with: a replaced pod, whose file system holds the image's own
// files and nothing that was ever synchronized. What the remote has at paths
// that local has, or that base had, counts as old there, so that local wins:
// its files go over the image's, and its deletions delete. Paths that only the
// remote has are new there. Where a remote folder outlives its pod, on a volume,
// the old ancestor still holds, and Rebase is not for it.
func Rebase(base, local, remote *tree.Tree) *tree.Tree {
	t := &tree.Tree{}
	rebase(t, "", nodes{node(base), node(local), node(remote)})
	return t
}

func rebase(t *tree.Tree, path string, n nodes) {
	if n.remote == nil || n.base == nil && n.local == nil {
		return
	}
	// It can't fail: the path is one of a tree, and its parent was just put.
	_ = t.Put(path, n.remote.Entry)
	for _, name := range n.remote.Names() {
		rebase(t, tree.Join(path, name), n.child(name))
	}
}
