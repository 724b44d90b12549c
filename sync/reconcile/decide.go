package reconcile

import (
	"strings"

	"github.com/kfdev/kfdev/sync/tree"
)

// action is what is to become of a path.
type action uint8

const (
	stay     action = iota // nothing is to be done here; what is below is looked at
	leave                  // nothing is to be done here or below
	agree                  // the ancestor learns it; what is below is looked at
	toLocal                // the local side gets what the remote has, with all below
	toRemote               // and the other way around
	merge                  // both get the content of one and the exec bit of the other
	prune                  // the receiver loses what the sender deleted, and keeps what is its own
	clash                  // a conflict
)

// swapped is the same with the sides exchanged.
func (a action) swapped() action {
	switch a {
	case toLocal:
		return toRemote
	case toRemote:
		return toLocal
	default:
		return a
	}
}

// decide says what is to become of a path, names that collide apart.
func (r *run) decide(path string, n nodes) action {
	b, l, m := n.entries()
	if l == m {
		if b == l {
			return stay
		}
		return agree
	}
	var act action
	switch r.options.Mode {
	case OneWay:
		act = oneWay(n)
	case Pull:
		act = oneWay(n.swapped()).swapped()
	case OneWayReplica:
		act = toRemote
	default:
		act = twoWay(n)
	}
	if act == clash {
		switch r.preference(path) {
		case PreferLocal:
			return toRemote
		case PreferRemote:
			return toLocal
		case NoPreference:
		}
	}
	return act
}

// twoWay decides where the sides differ.
func twoWay(n nodes) action {
	_, l, r := n.entries()
	switch {
	case same(n.base, n.local):
		return toLocal
	case same(n.base, n.remote):
		return toRemote
	// Both changed. Where one deleted or replaced the whole folder and the other
	// only parts of it, the whole counts: nobody made anything that would be lost.
	case r.Kind == tree.Dir && reduced(n.base, n.remote):
		return toRemote
	case l.Kind == tree.Dir && reduced(n.base, n.local):
		return toLocal
	}
	if _, ok := mergeExec(n); ok {
		return merge
	}
	return clash
}

// oneWay decides where the sides differ, for changes that go from local to
// remote.
func oneWay(n nodes) action {
	b, l, r := n.entries()
	switch {
	case l.Kind == tree.Absent && b.Kind == tree.Absent:
		return leave // the receiver's own
	case l.Kind == tree.Absent && b.Kind == tree.Dir && r.Kind == tree.Dir:
		return prune
	case reduced(n.base, n.remote):
		return toRemote
	// A mode bit that the receiver changed holds nothing up.
	case sameContent(r, b), l.Kind != tree.Absent && sameContent(r, l):
		return toRemote
	}
	return clash
}

// sameContent is true for files that differ in nothing but their mode.
func sameContent(a, b tree.Entry) bool {
	return a.Kind == tree.File && b.Kind == tree.File && a.Size == b.Size && a.Digest == b.Digest
}

// mergeExec joins two files of which one changed the content and the other the
// exec bit. Two new files of one content are executable where either is.
func mergeExec(n nodes) (tree.Entry, bool) {
	b, l, r := n.entries()
	if l.Kind != tree.File || r.Kind != tree.File {
		return tree.Entry{}, false
	}
	m := l
	switch {
	case sameContent(l, r), sameContent(r, b):
	case sameContent(l, b):
		m = r
	default:
		return tree.Entry{}, false
	}
	switch {
	case l.Exec == r.Exec:
		m.Exec = l.Exec
	case b.Kind == tree.File:
		m.Exec = !b.Exec
	default:
		m.Exec = true
	}
	return m, true
}

// preference is what a person decided for a path.
func (r *run) preference(path string) Preference {
	if len(r.options.PreferAt) > 0 {
		for p := path; ; p = tree.Parent(p) {
			if prefer, ok := r.options.PreferAt[p]; ok {
				return prefer
			}
			if p == "" {
				break
			}
		}
	}
	return r.options.Prefer
}

// explain says why a path is a conflict.
func (r *run) explain(path string, n nodes) string {
	b, l, m := n.entries()
	localNews, localHas := news(path, n.base, n.local)
	remoteNews, remoteHas := news(path, n.base, n.remote)
	switch {
	case l.Kind == tree.Absent:
		return b.Kind.String() + " deleted locally, and " + at(path, remoteNews, remoteHas) + "changed remotely"
	case m.Kind == tree.Absent:
		return b.Kind.String() + " deleted remotely, and " + at(path, localNews, localHas) + "changed locally"
	case l.Kind != m.Kind:
		return "a " + l.Kind.String() + " locally, and a " + m.Kind.String() + " remotely" +
			inside(path, l, localNews, "locally") + inside(path, m, remoteNews, "remotely")
	case b.Kind == tree.Absent:
		return "created on both sides with different content"
	case r.options.Mode == OneWay && b == l:
		return "changed remotely, where changes are only received"
	case r.options.Mode == Pull && b == m:
		return "changed locally, where changes are only received"
	}
	return "changed on both sides"
}

// at names the path that changed where it is below the conflict.
func at(path, changed string, has bool) string {
	if !has || changed == path {
		return ""
	}
	return "in it " + below(path, changed) + " "
}

// inside says what a folder has that holds its replacement up.
func inside(path string, e tree.Entry, changed, where string) string {
	if e.Kind != tree.Dir || changed == "" || changed == path {
		return ""
	}
	return ", with " + below(path, changed) + " changed " + where
}

// below is a path as seen from a folder above it.
func below(dir, path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/") }
