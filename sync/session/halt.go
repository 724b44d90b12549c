package session

import (
	"context"
	"errors"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// stop halts the session until a person lets it go on, or what it was halted for
// is over.
func (l *loop) stop(h *reconcile.Halt) {
	before := l.halt
	l.halt = h
	if before != nil && before.Reason == h.Reason && before.Deletes == h.Deletes {
		return
	}
	shown := showHalt(h)
	l.event(Event{Kind: HaltEvent, Halt: &shown})
}

func showHalt(h *reconcile.Halt) Halt {
	return Halt{Reason: h.Reason, Text: h.Error(), Hint: h.Hint(), Deletes: h.Deletes, Of: h.Of}
}

// resume lets what the session was halted for be done.
func (l *loop) resume() error {
	if l.halt == nil {
		return &fault.Error{Op: "resuming the session", Subject: l.config.Name, Kind: fault.Usage, Err: errors.New("it is not halted")}
	}
	l.accepted = true
	l.step()
	return nil
}

// undoable is a batch that a side can bring back.
type undoable struct{ side, batch string }

func dropUndos(all []undoable, side string) []undoable {
	var rest []undoable
	for _, u := range all {
		if u.side != side {
			rest = append(rest, u)
		}
	}
	return rest
}

type undoAnswer struct {
	undone Undone
	err    error
}

// undo has the side that made the last batch bring back what it took away. What
// was before this session began is known to the folders alone: the pod's goes
// first.
func (l *loop) undo(ctx context.Context, answer chan<- undoAnswer) error {
	if !l.local.ready() || !l.remote.ready() {
		return &fault.Error{Op: "undoing the last batch", Hint: "wait until the session is connected", Err: errors.New("the two sides are not connected")}
	}
	order := []*side{l.remote, l.local}
	if n := len(l.undos); n > 0 && l.undos[n-1].side == local {
		order = []*side{l.local, l.remote}
	}
	l.undoOn(ctx, order, answer)
	return nil
}

func (l *loop) undoOn(ctx context.Context, order []*side, answer chan<- undoAnswer) {
	if len(order) == 0 {
		answer <- undoAnswer{err: &fault.Error{Op: "undoing the last batch", Kind: fault.NotFound, Err: errors.New("there is nothing to undo")}}
		return
	}
	s := order[0]
	if s == l.remote && (l.config.Mode == reconcile.OneWayReplica || l.config.Mode == reconcile.OneWay) ||
		s == l.local && l.config.Mode == reconcile.Pull {
		// What was brought back would be overwritten, or stand in conflict.
		answer <- undoAnswer{err: &fault.Error{
			Op: "undoing the last batch", Kind: fault.Usage,
			Hint: "undo the change where it was made", Err: errors.New("in the mode " + string(l.config.Mode) + " the " + s.name + " folder follows the other one"),
		}}
		return
	}
	if s.ep == nil {
		answer <- undoAnswer{err: errEnded}
		return
	}
	l.await(s.ep, func(life context.Context, ep Folder) func() {
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		batch, updates, err := ep.Undo(both)
		return func() { l.undone(ctx, order, batch, updates, err, answer) }
	})
}

func (l *loop) undone(ctx context.Context, order []*side, batch string, updates []endpoint.Update, err error, answer chan<- undoAnswer) {
	s := order[0]
	switch {
	case err != nil:
		answer <- undoAnswer{err: &fault.Error{Op: "undoing the last batch", Subject: s.name, Err: err}}
		l.scan(s)
		return
	case len(updates) == 0:
		l.undoOn(ctx, order[1:], answer)
		return
	}
	if n := len(l.undos); n > 0 && l.undos[n-1].side == s.name {
		l.undos = l.undos[:n-1]
	}
	result := Undone{Side: s.name, Batch: batch}
	for _, u := range updates {
		result.Paths = append(result.Paths, u.Path)
		if !s.update(u) {
			l.scan(s)
			break
		}
		l.pending[u.Path] = true
		// What was brought back is a change of this side, and no conflict with what
		// the other side has had from before.
		if now := l.other(s).tree.Get(u.Path); now.Kind != tree.Absent || u.Entry.Kind == tree.Absent {
			l.agree([]tree.Change{{Path: u.Path, From: l.base.Tree.Get(u.Path), To: now}})
		}
	}
	answer <- undoAnswer{undone: result}
	l.step()
}
