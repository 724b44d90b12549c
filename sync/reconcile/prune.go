package reconcile

import "github.com/kfdev/kfdev/sync/tree"

// prune deletes from the receiver's folder what the sender deleted with it. The
// folder stays while something is in it that is the receiver's own or changed.
func (r *run) prune(path string, n nodes) {
	r.visitNames(path, n, n.names())
	keeps, returns := r.pruned(path, n)
	receiver, sender := &r.ToRemote, &r.ToLocal
	if r.options.Mode == Pull {
		receiver, sender = sender, receiver
	}
	if returns {
		*sender = append(*sender, tree.Change{Path: path, To: tree.Entry{Kind: tree.Dir}})
	}
	if !keeps {
		*receiver = append(*receiver, tree.Change{Path: path, From: tree.Entry{Kind: tree.Dir}})
	}
}

// pruned says what becomes of a folder: whether it stays, and whether the
// sender needs it again because a person preferred what the receiver has in it.
func (r *run) pruned(path string, n nodes) (keeps, returns bool) {
	for _, name := range n.names() {
		child, c := tree.Join(path, name), n.child(name)
		switch act := r.decide(child, c); act {
		case leave, clash:
			keeps = true
		case prune:
			k, t := r.pruned(child, c)
			keeps, returns = keeps || k, returns || t
		case toLocal, toRemote:
			if act == r.backwards() {
				keeps, returns = true, true
			}
		default:
		}
	}
	return keeps, returns
}

// backwards is the action against the mode's direction.
func (r *run) backwards() action {
	if r.options.Mode == Pull {
		return toRemote
	}
	return toLocal
}
