package session

import (
	"context"
	"errors"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

type undoAnswer struct {
	undone Undone
	err    error
}

// undoing is one person's undo.
type undoing struct {
	ctx    context.Context
	answer chan<- undoAnswer
	spent  map[string]bool // sides that have nothing more to bring back
}

// undo has the side that made the last batch bring back what it took away.
func (l *loop) undo(ctx context.Context, answer chan<- undoAnswer) error {
	refused := func(hint, why string) error {
		return &fault.Error{Op: "undoing the last batch", Hint: hint, Err: errors.New(why)}
	}
	switch {
	case !l.local.ready() || !l.remote.ready():
		return refused("wait until the session is connected", "the two sides are not connected")
	case l.halt != nil && l.config.Mode == reconcile.OneWayReplica:
		// It would be deleted again with what the session is halted for.
		return refused(l.halt.Hint()+"; or say `kfdev sync resume "+l.config.Name+"` first", "the session is halted: "+l.halt.Error())
	}
	l.undoNext(undoing{ctx, answer, map[string]bool{}})
	return nil
}

// undoNext asks the side that made the newest batch. What the order does not know
// is older than what a folder names; the pod's goes first.
func (l *loop) undoNext(u undoing) {
	s := l.remote
	if n := len(l.undos.order); n > 0 && l.undos.order[n-1].Side == local || n == 0 && u.spent[remote] {
		s = l.local
	}
	if u.spent[s.name] {
		u.answer <- undoAnswer{err: &fault.Error{Op: "undoing the last batch", Kind: fault.NotFound, Err: errors.New("there is nothing to undo")}}
		return
	}
	if s.ep == nil {
		u.answer <- undoAnswer{err: errUndoLost()}
		return
	}
	ep, life := s.ep, l.ctx
	if s == l.remote {
		life = l.linkCtx
	}
	s.undoing++
	l.work.Go(func() {
		both, cancel := context.WithCancel(u.ctx)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		batch, updates, err := ep.Undo(both)
		l.post(func() {
			if s.ep != ep {
				u.answer <- undoAnswer{err: errUndoLost()}
				return
			}
			s.undoing--
			l.undone(u, s, batch, updates, err)
		})
	})
}

func errUndoLost() error {
	return &fault.Error{
		Op: "undoing the last batch", Hint: "look at `kfdev sync status` once the session is connected again, and try again",
		Err: errors.New("the connection was lost; whether it was undone is not known"),
	}
}

func (l *loop) undone(u undoing, s *side, batch string, updates []endpoint.Update, err error) {
	if err != nil {
		u.answer <- undoAnswer{err: &fault.Error{Op: "undoing the last batch", Subject: s.name, Err: err}}
		l.scan(s)
		return
	}
	l.undos.drop(s.name, batch)
	// Some may be a part of others by now. What the other side has said is older.
	batches := map[string][]string{s.name: s.ep.Info().Batches, l.other(s).name: l.undos.of(l.other(s).name)}
	l.undos.settle(batches[local], batches[remote])
	if len(updates) == 0 {
		u.spent[s.name] = batch == ""
		l.undoNext(u)
		return
	}
	result := Undone{Side: s.name, Batch: batch}
	fits := s.tree != nil // else it is being looked at, and must be again
	for _, one := range updates {
		result.Paths = append(result.Paths, Name(one.Path))
		if s == l.local && l.config.IsRuleFile(one.Path) {
			l.reloadRules()
		}
		if fits = fits && s.update(one); fits {
			l.pending[one.Path] = true
		}
		// What was brought back is a change of this side, and no conflict with what
		// the other side has had from before.
		if other := l.other(s); other.tree != nil {
			now := other.tree.Get(one.Path)
			if now.Kind != tree.Absent || one.Entry.Kind == tree.Absent {
				l.agree([]tree.Change{{Path: one.Path, From: l.base.Tree.Get(one.Path), To: now}})
			}
			if s == l.remote && l.config.Mode == reconcile.OneWayReplica && l.halt == nil {
				// A person's word: what the replica would lose again goes to where it is kept.
				l.force(l.local, tree.Change{Path: one.Path, From: now, To: one.Entry}, nil, "", nil)
			}
		}
	}
	if !fits {
		l.scan(s)
	}
	u.answer <- undoAnswer{undone: result}
	l.step()
}
