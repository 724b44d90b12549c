package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// sending is what is on its way to a side.
type sending struct {
	paths   *paths
	source  *source
	forced  []forced
	changes []tree.Change
	first   time.Time // when the first of its changes was heard of
	files   int
	bytes   int64
	began   time.Time
}

// step finds out what is to be done, and begins it.
func (l *loop) step() {
	if !l.local.ready() || !l.remote.ready() || !l.known || l.leaving {
		return
	}
	if l.mayDecide() {
		if !l.idle() {
			return // nothing more is begun until both sides are
		}
		l.decide()
	}
	look, whole := l.choose(l.idle())
	if whole || len(look) > 0 {
		l.reconcile(look, whole)
	}
	if whole && l.mayDecide() && l.idle() {
		l.decide()
	}
	for _, s := range []*side{l.local, l.remote} {
		if s.sending == nil && len(s.forced) > 0 && l.halt == nil {
			l.send(s, nil)
		}
	}
	l.rerun()
}

// idle is true while nothing is on its way to either side.
func (l *loop) idle() bool { return l.local.sending == nil && l.remote.sending == nil }

// choose returns the paths to be looked at now: all that are pending and that
// nothing is on its way for.
func (l *loop) choose(idle bool) (look []string, whole bool) {
	if l.all || l.halt != nil {
		return nil, idle && len(l.holding) == 0
	}
	for path := range l.pending {
		if l.holding[path] == 0 && !l.local.touches(path) && !l.remote.touches(path) {
			look = append(look, path)
		}
	}
	return look, false
}

// touches is true for paths that something is on its way to the side for.
func (s *side) touches(path string) bool { return s.sending != nil && s.sending.paths.touches(path) }

// reconcile holds both sides against the ancestor and sends what they lack.
func (l *loop) reconcile(look []string, whole bool) {
	info := [2]endpoint.Info{l.local.ep.Info(), l.remote.ep.Info()}
	options := reconcile.Options{
		Mode: l.config.Mode, Prefer: l.prefer,
		Local:  reconcile.Side{FoldsCase: info[0].FoldsCase, FoldsUnicode: info[0].FoldsUnicode},
		Remote: reconcile.Side{FoldsCase: info[1].FoldsCase, FoldsUnicode: info[1].FoldsUnicode},
	}
	if whole {
		look = nil
	}
	res := reconcile.Reconcile(l.base.Tree, l.local.tree, l.remote.tree, look, options)
	l.act(res, look, l.config.Limits)
}

// act does what a result for some paths says, nil for all, or halts.
func (l *loop) act(res reconcile.Result, look []string, limits reconcile.Limits) {
	whole := look == nil
	halt := l.guard(res, limits)
	may := covers(l.accepted, halt)
	l.accepted = nil
	if may {
		l.local.lost, l.remote.lost = nil, nil
	}
	if halt != nil && !may {
		l.stop(halt)
		return
	}
	if l.halt != nil && whole {
		l.halt = nil
		l.event(Event{Kind: SettledEvent, Text: "what the session was halted for is over"})
	}
	if whole {
		l.mended()
		l.prefer, l.all = reconcile.NoPreference, false
		clear(l.pending)
	} else {
		for _, path := range look {
			delete(l.pending, path)
		}
	}
	l.agree(res.Agreed)
	l.setConflicts(res)
	l.forgetProblems(res)
	if whole || len(res.ToLocal)+len(res.ToRemote) > 0 {
		l.dispatch(l.local, res.ToLocal)
		l.dispatch(l.remote, res.ToRemote)
	}
	l.clearFirst(l.local, res.ToRemote)
	l.clearFirst(l.remote, res.ToLocal)
}

// clearFirst forgets since when a side had news that led to nothing.
func (l *loop) clearFirst(s *side, sent []tree.Change) {
	if len(sent) == 0 && len(l.pending) == 0 {
		s.first = time.Time{}
	}
}

// dispatch sends changes to a side, or has them looked at again when the side
// has taken what is on its way.
func (l *loop) dispatch(s *side, changes []tree.Change) {
	if len(changes) == 0 {
		return
	}
	if s.sending != nil {
		for _, c := range changes {
			l.pending[c.Path] = true
		}
		return
	}
	l.send(s, changes)
}

// send begins to bring changes to a side, with what was decided for it.
func (l *loop) send(to *side, changes []tree.Change) {
	from := l.other(to)
	src := &source{from: from.ep, atHand: map[string]content{}, alias: map[string]string{}}
	going := &sending{source: src, forced: to.forced, first: from.first, began: time.Now()}
	to.forced, from.first = nil, time.Time{}
	for _, c := range changes {
		if m, ok := from.memory[c.Path]; ok {
			src.atHand[c.Path] = m
			from.forget(c.Path)
		}
	}
	for _, f := range going.forced {
		changes = append(changes, f.change)
		switch {
		case f.alias != "":
			src.alias[f.change.Path] = f.alias
		case f.data != nil:
			src.atHand[f.change.Path] = content{f.change.To, f.data}
		}
	}
	for _, c := range changes {
		if c.To.Kind == tree.File && !same(c.From, c.To) {
			going.files++
			going.bytes += c.To.Size
		}
	}
	going.paths, going.changes = newPaths(changes), changes
	to.sending = going
	l.await(to.ep, func(ctx context.Context, ep Folder) func() {
		outcomes, err := l.applyTo(ctx, to, ep, changes, src)
		took := time.Now()
		return func() { l.applied(to, going, outcomes, err, took) }
	})
}

// applied takes what became of changes.
func (l *loop) applied(to *side, going *sending, outcomes []endpoint.Outcome, err error, at time.Time) {
	if to.sending != going {
		return // of a connection that is lost
	}
	to.sending = nil
	if err != nil {
		to.unsure = append(to.unsure, going.changes...)
		l.finish(going, nil)
		if to == l.remote && l.link.Err() != nil {
			return // its end is on its way here
		}
		l.event(Event{Kind: NoteEvent, Text: "looking at the " + to.name + " folder again: " + err.Error()})
		l.scanLater(to)
		return
	}
	r := result{batch: Batch{To: to.name}, done: map[string]bool{}}
	for i, c := range going.changes {
		l.outcome(to, c, outcomes[i], &r)
	}
	l.agree(r.agreed)
	to.lose(r.made)
	if r.undo != "" {
		l.undos.add(undoable{to.name, r.undo})
	}
	l.finish(going, r.done)
	l.told(to, going, r.batch, at)
	if to == l.local && slices.ContainsFunc(r.made, func(c tree.Change) bool { return l.config.IsRuleFile(c.Path) }) {
		l.reloadRules() // Next does not say what Apply did
	}
	if to.lookAgain {
		l.scan(to)
	}
	to.settle()
	l.step()
}

// result is what became of changes.
type result struct {
	batch  Batch
	made   []tree.Change
	agreed []tree.Change
	done   map[string]bool // paths
	undo   string          // the name of the batch, where it can be undone
}

// outcome takes what became of one change.
func (l *loop) outcome(to *side, c tree.Change, o endpoint.Outcome, r *result) {
	if o.Batch != "" {
		r.undo = o.Batch
	}
	if o.Done {
		r.done[c.Path] = true
		r.made = append(r.made, c)
		r.batch.add(c)
		l.solved(c.Path)
	}
	if o.Done && o.Now == c.To && l.holding[c.Path] == 0 {
		// Both sides held this, if only for a moment: what the side is by now is a
		// change of its own.
		r.agreed = append(r.agreed, tree.Change{Path: c.Path, From: l.base.Tree.Get(c.Path), To: c.To})
		l.pending[c.Path] = true // either side may be something else
	}
	switch {
	case to.tree == nil: // the look that is to come says more
	case !o.Done:
		l.refused(to, c, o)
	case !to.news(c.Path, o.Seq):
		l.pending[c.Path] = true
	default:
		to.saw(c.Path, o.Seq)
		if to.tree.Put(c.Path, o.Now) != nil {
			l.all = true
		}
		if o.Now != c.To { // a file system without execute bits, say
			o.Err = errors.New("it arrived, but not as it is: " + describe(o.Now))
			l.refused(to, c, o)
		}
	}
}

// finish tells those who decided on changes what became of them.
func (l *loop) finish(going *sending, done map[string]bool) {
	for _, f := range going.forced {
		if f.done != nil {
			f.done(done[f.change.Path])
		}
	}
}

// release does so for a side that is lost.
func (l *loop) release(s *side) {
	for _, f := range s.forced {
		if f.done != nil {
			f.done(false)
		}
	}
	s.forced = nil
	clear(l.holding)
	clear(l.merging)
	clear(l.decided) // the conflicts will be there again, maybe as others
}
