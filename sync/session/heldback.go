package session

import "github.com/kfdev/kfdev/sync/reconcile"

// holdBack drops what was decided and has not left before the session halted:
// nothing may, and what waits for it would keep the session from going on. A
// conflict that was merged is new once the halt is over.
func (l *loop) holdBack() {
	for _, s := range []*side{l.local, l.remote} {
		for _, f := range s.forced {
			if f.data != nil {
				l.mergeLater(f.change.Path)
			}
			if f.done != nil {
				f.done(false)
			}
		}
		s.forced = nil
	}
}

// mergeLater has a conflict be a new one to the next look at everything, which
// tries to merge it.
func (l *loop) mergeLater(path string) {
	var kept []reconcile.Conflict
	for _, c := range l.conflicts {
		if c.Path != path {
			kept = append(kept, c)
		}
	}
	l.conflicts = kept
	delete(l.merging, path)
}
