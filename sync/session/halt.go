package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session/ancestor"
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
	shown := showHalt(h, l.config.Name)
	l.event(Event{Kind: HaltEvent, Halt: &shown})
}

func showHalt(h *reconcile.Halt, name string) Halt {
	hint := h.Hint() + "; `kfdev sync resume " + name + "` says what else can be done"
	return Halt{Reason: h.Reason, Text: h.Error(), Hint: hint, Deletes: h.Deletes, Of: h.Of}
}

// Resumption is what a person wants done with what a session was halted for.
type Resumption string

// The ways to go on.
const (
	// AcceptDeletes has the other side lose what one side lost.
	AcceptDeletes Resumption = "accept-deletes"
	// BringBack fills a folder that is empty or gone from the other side.
	BringBack Resumption = "bring-back"
	// AcceptRules has the pod's rule files count as they are. It needs no halt.
	AcceptRules Resumption = "accept-rules"
)

// Resumptions are all of them.
func Resumptions() []Resumption { return []Resumption{AcceptDeletes, BringBack, AcceptRules} }

// resume lets the session go on.
func (l *loop) resume(how Resumption) error {
	if how == AcceptRules {
		return l.acceptRules()
	}
	if l.halt == nil {
		return &fault.Error{Op: "resuming the session", Subject: l.config.Name, Kind: fault.Usage, Err: errors.New("it is not halted")}
	}
	if !l.local.ready() || !l.remote.ready() {
		return &fault.Error{Op: "resuming the session", Subject: l.config.Name, Hint: "wait until the session is connected", Err: errors.New("the two sides are not connected")}
	}
	if how == BringBack {
		return l.bringBack()
	}
	l.accepted = l.halt
	l.step()
	return nil
}

// bringBack forgets what both sides had, so that what one of them has is new
// to the other.
func (l *loop) bringBack() error {
	refused := func(why string) error {
		return &fault.Error{Op: "bringing the folder back", Subject: l.config.Name, Kind: fault.Usage, Err: errors.New(why)}
	}
	switch h := l.halt; {
	case h.Reason == reconcile.ManyDeletes:
		return refused("the folder is there: bring back what was deleted in it, or accept that")
	case h.Reason == reconcile.RootType:
		return refused("something else stands in the folder's place: take that away first")
	case h.Cause == reconcile.PreferLocal && (l.config.Mode == reconcile.OneWay || l.config.Mode == reconcile.OneWayReplica),
		h.Cause == reconcile.PreferRemote && l.config.Mode == reconcile.Pull:
		return refused("in the mode " + string(l.config.Mode) + " nothing is brought from the side that still has it")
	}
	l.base = ancestor.Nothing()
	l.saver.settle(l.base, l.remote.tree)
	l.all = true
	l.step()
	return nil
}

// covers reports whether a person's word for one halt is one for another: not
// where more is to be deleted by now.
func covers(accepted, halt *reconcile.Halt) bool {
	return accepted != nil && halt != nil && accepted.Reason == halt.Reason && accepted.Loser == halt.Loser && halt.Deletes <= accepted.Deletes
}

// loss is how many paths a batch took away.
type loss struct {
	at    time.Time
	paths int
}

// lately is how far back losses count for what a batch may delete: what takes
// longer than that to be deleted is no accident of one command.
const lately = 10 * time.Second

// lose notes what a batch took away.
func (s *side) lose(made []tree.Change) {
	if n := reconcile.Deletions(made); n > 0 {
		s.lost = append(s.lost, loss{time.Now(), n})
	}
}

// lately counts what the sides have lost. Time does not heal a halt.
func (l *loop) lately() reconcile.Lost {
	sum := func(s *side) (paths int) {
		if l.halt == nil {
			s.lost = slices.DeleteFunc(s.lost, func(one loss) bool { return time.Since(one.at) > lately })
		}
		for _, one := range s.lost {
			paths += one.paths
		}
		return paths
	}
	return reconcile.Lost{Local: sum(l.local), Remote: sum(l.remote)}
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
		answer <- undoAnswer{err: errUndoLost()}
		return
	}
	ep, life := s.ep, l.ctx
	if s == l.remote {
		life = l.linkCtx
	}
	s.undoing++
	l.work.Go(func() {
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		batch, updates, err := ep.Undo(both)
		l.post(func() {
			if s.ep != ep {
				answer <- undoAnswer{err: errUndoLost()}
				return
			}
			s.undoing--
			l.undone(ctx, order, batch, updates, err, answer)
		})
	})
}

func errUndoLost() error {
	return &fault.Error{
		Op: "undoing the last batch", Hint: "look at `kfdev sync status` once the session is connected again, and try again",
		Err: errors.New("the connection was lost; whether it was undone is not known"),
	}
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
	fits := s.tree != nil // else it is being looked at, and must be again
	for _, u := range updates {
		result.Paths = append(result.Paths, Name(u.Path))
		if s == l.local && l.config.IsRuleFile(u.Path) {
			l.reloadRules()
		}
		if fits = fits && s.update(u); fits {
			l.pending[u.Path] = true
		}
		// What was brought back is a change of this side, and no conflict with what
		// the other side has had from before.
		if other := l.other(s); other.tree != nil {
			if now := other.tree.Get(u.Path); now.Kind != tree.Absent || u.Entry.Kind == tree.Absent {
				l.agree([]tree.Change{{Path: u.Path, From: l.base.Tree.Get(u.Path), To: now}})
			}
		}
	}
	if !fits {
		l.scan(s)
	}
	answer <- undoAnswer{undone: result}
	l.step()
}
