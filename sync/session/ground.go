package session

import (
	"maps"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session/ancestor"
)

// ground finds the ancestor of the two folders.
func (l *loop) ground() {
	here, there := l.local.ep.Info(), l.remote.ep.Info()
	if there.Identity == here.Identity {
		there.Identity = "" // a copy, of an image that was built of the folder here
	}
	p := ancestor.Pair{
		Local: here.Identity, Remote: there.Identity, Place: l.link.Place(),
		Where: l.config.Target + ": " + l.config.Remote,
	}
	before, was, had := l.pair, l.base, l.known
	if !had {
		before, was, had = l.saver.store.Last()
	}
	again := had && before.Where == p.Where
	known := again && (l.vanished(before.Place == p.Place, was) || met(before, p))
	if known {
		l.base = was // where all of it is gone, that is for a person to say
	} else if l.base, known = l.earlier(p); !known {
		l.base = ancestor.Nothing()
		if again {
			l.base = l.another(before, p, was, here, there)
		}
	}
	l.saver.settle(l.base, l.remote.tree)
	l.local.settleUnsure(l.base)
	l.remote.settleUnsure(l.base)
	l.prune(l.base.Tree)
	l.pair, l.known = p, true
	l.saver.begin()
	if there.Fresh && !known {
		l.saveFirst()
	}
}

// met is true for the two folders that met last.
func met(before, p ancestor.Pair) bool {
	switch {
	case before.Local != p.Local:
		return false
	case before.Remote == p.Remote && p.Remote != "":
		return true
	}
	// The root was not there, or is not any more.
	return before.Place == p.Place && (before.Remote == "" || p.Remote == "")
}

// vanished reports whether another folder, with nothing in it, stands where one
// with something was.
func (l *loop) vanished(sameContainer bool, was *ancestor.Agreed) bool {
	return sameContainer && was.Tree.Len() > 0 && (l.local.vanished() || l.remote.vanished())
}

// earlier is the ancestor of two folders that met before the last time.
func (l *loop) earlier(p ancestor.Pair) (*ancestor.Agreed, bool) {
	if p.Remote == "" {
		return nil, false
	}
	return l.saver.store.Load(p)
}

// another is the ancestor of two folders that never met, in the place of two
// that did: in a new container, what the last one and the image have alike.
func (l *loop) another(before, p ancestor.Pair, was *ancestor.Agreed, here, there endpoint.Info) *ancestor.Agreed {
	switch {
	case before.Local == p.Local:
	case here.CopyOf != "" && here.CopyOf == before.Local: // or the same folder, on a file system that numbers its files anew
		was = common(was, l.local)
	default:
		return ancestor.Nothing()
	}
	moved := before.Place != p.Place
	switch {
	case before.Remote == p.Remote && p.Remote != "":
		return was
	// The very folder that was there, or a copy of it; or one that lost its identity.
	case there.Fresh && (there.CopyOf != "" && there.CopyOf == before.Remote || !moved):
		return common(was, l.remote)
	case moved && (p.Remote == "" || there.Fresh):
		// The files of the image. What is new in the same container, or in another
		// person's pod, is somebody's.
		return &ancestor.Agreed{Tree: reconcile.Rebase(was.Ever(), l.local.tree, l.remote.tree), Gone: was.Gone}
	}
	return ancestor.Nothing()
}

// common is what of an ancestor holds for a side that may be the one that it is
// of.
func common(was *ancestor.Agreed, s *side) *ancestor.Agreed {
	return &ancestor.Agreed{Tree: reconcile.Common(was.Tree, s.tree), Gone: maps.Clone(was.Gone)}
}
