package reconcile

import (
	"github.com/kfdev/kfdev/sync/tree"
)

// crossing returns paths that must not be deleted, since each has the last copy
// of a file: both sides renamed it, each to what the other calls gone, and each
// deletion would take what the other side kept. What is returned counts as new,
// so that one name stays: the first of the two, whatever side has it.
func crossing(r Result, local, remote *tree.Tree) []string {
	here := deleted(r.ToLocal)
	if len(here) == 0 {
		return nil
	}
	both := map[tree.Digest]string{}
	for digest, there := range deleted(r.ToRemote) {
		if path, ok := here[digest]; ok {
			both[digest] = min(path, there)
		}
	}
	for _, changes := range [][]tree.Change{r.ToLocal, r.ToRemote} {
		for _, c := range changes {
			if c.To.Kind == tree.File {
				delete(both, c.To.Digest)
			}
		}
	}
	if len(both) == 0 {
		return nil
	}
	kept(local, r.ToLocal, both)
	kept(remote, r.ToRemote, both)
	var paths []string
	for _, path := range both {
		paths = append(paths, path)
	}
	return paths
}

// deleted are the files with content that changes take away, with one path each.
func deleted(changes []tree.Change) map[tree.Digest]string {
	gone := map[tree.Digest]string{}
	for _, c := range changes {
		if c.From.Kind == tree.File && c.From.Size > 0 && c.To.Kind == tree.Absent {
			gone[c.From.Digest] = c.Path
		}
	}
	return gone
}

// kept takes out of both what a side still has after its changes.
func kept(side *tree.Tree, changes []tree.Change, both map[tree.Digest]string) {
	going := make(map[string]bool, len(changes))
	for _, c := range changes {
		going[c.Path] = true
	}
	_ = side.Walk(func(path string, e tree.Entry) error { // visit never fails
		if e.Kind == tree.File && !going[path] {
			delete(both, e.Digest)
		}
		return nil
	})
}
