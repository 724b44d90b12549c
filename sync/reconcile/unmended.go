package reconcile

import "github.com/kfdev/kfdev/sync/tree"

// Unmended is why a result must not be applied after a halt for a root: what
// comes into an empty folder does not make it what it was. It is nil where the
// halt was another one, and where nothing would be deleted any more.
func Unmended(h *Halt, local, remote *tree.Tree, result Result) *Halt {
	if h == nil || h.Reason != RootGone && h.Reason != RootType && h.Reason != RootEmptied {
		return nil
	}
	changes, loser := result.ToRemote, remote
	if h.Loser == PreferLocal {
		changes, loser = result.ToLocal, local
	}
	deletes, moved := deletions(changes)
	if deletes == moved {
		return nil
	}
	return &Halt{
		Reason: h.Reason, Loser: h.Loser, Cause: h.Cause, Deletes: deletes, Of: loser.Len(), Limits: h.Limits, Since: true,
	}
}
