package session

import (
	"errors"
	"slices"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session/ancestor"
	"github.com/kfdev/kfdev/sync/tree"
)

// stop halts the session until a person lets it go on, or what it was halted for
// is over.
func (l *loop) stop(h *reconcile.Halt) {
	before := l.halt
	l.halt = h
	l.holdBack()
	l.remember(h)
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
	case h.Reason == reconcile.FirstReplica:
		return refused("the mode one-way-replica takes nothing from the pod: begin with --mode two-way-safe to have it here, or copy it")
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

// guard says why a result must not be applied without a person's word.
func (l *loop) guard(res reconcile.Result, limits reconcile.Limits) *reconcile.Halt {
	guard := reconcile.GuardAfter
	if l.config.Mode == reconcile.OneWayReplica {
		guard = reconcile.GuardFirst
	}
	h := guard(l.base.Tree, l.local.tree, l.remote.tree, res, limits, l.lately())
	if h == nil || h.Reason == reconcile.ManyDeletes || h.Reason == reconcile.FirstReplica {
		if since := reconcile.Unmended(l.unmended, l.local.tree, l.remote.tree, res); since != nil {
			return since
		}
	}
	return h
}
