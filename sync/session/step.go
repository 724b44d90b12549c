package session

import (
	"context"
	"errors"
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
	if !l.local.ready() || !l.remote.ready() || !l.known {
		return
	}
	idle := l.local.sending == nil && l.remote.sending == nil
	look, whole := l.choose(idle)
	if whole || len(look) > 0 {
		l.reconcile(look, whole)
	}
	for _, s := range []*side{l.local, l.remote} {
		if s.sending == nil && len(s.forced) > 0 && l.halt == nil {
			l.send(s, nil)
		}
	}
}

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
	halt := reconcile.GuardAfter(l.base.Tree, l.local.tree, l.remote.tree, res, limits, l.lately())
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
	to.sending, to.changed = going, true
	l.await(to.ep, func(ctx context.Context, ep Folder) func() {
		outcomes, err := ep.Apply(ctx, changes, src)
		if err == nil && len(outcomes) != len(changes) {
			err = errors.New("not every change has an outcome")
		}
		took := time.Now()
		return func() { l.applied(to, going, changes, outcomes, err, took) }
	})
}

// applied takes what became of changes.
func (l *loop) applied(to *side, going *sending, changes []tree.Change, outcomes []endpoint.Outcome, err error, at time.Time) {
	if to.sending != going {
		return // of a connection that is lost
	}
	to.sending = nil
	if err != nil {
		l.finish(going, nil)
		if to == l.remote && l.link.Err() != nil {
			return // its end is on its way here
		}
		l.event(Event{Kind: NoteEvent, Text: "looking at the " + to.name + " folder again: " + err.Error()})
		l.scanLater(to)
		return
	}
	b := Batch{To: to.name}
	var agreed []tree.Change
	undo := ""
	done, rules := map[string]bool{}, false
	var made []tree.Change
	for i, c := range changes {
		o := outcomes[i]
		if o.Batch != "" {
			undo = o.Batch
		}
		if o.Done {
			done[c.Path] = true
			made = append(made, c)
			b.add(c)
			l.solved(c.Path)
			rules = rules || to == l.local && l.config.IsRuleFile(c.Path)
		}
		if o.Done && o.Now == c.To && l.holding[c.Path] == 0 {
			// Both sides held this, if only for a moment: what the side is by now is a
			// change of its own.
			agreed = append(agreed, tree.Change{Path: c.Path, From: l.base.Tree.Get(c.Path), To: c.To})
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
	l.agree(agreed)
	to.lose(made)
	if undo != "" {
		l.undos = append(l.undos, undoable{side: to.name, batch: undo})
	}
	l.finish(going, done)
	l.told(to, going, b, at)
	if rules {
		l.reloadRules() // Next does not say what Apply did
	}
	if to.lookAgain {
		l.scan(to)
	}
	to.settle()
	l.step()
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
}

// refused is a change that was not made.
func (l *loop) refused(to *side, c tree.Change, o endpoint.Outcome) {
	if errors.Is(o.Err, endpoint.ErrChanged) && to.news(c.Path, o.Seq) && o.Now != to.tree.Get(c.Path) {
		to.saw(c.Path, o.Seq)
		if to.tree.Put(c.Path, o.Now) != nil {
			l.all = true
		}
		l.pending[c.Path] = true
		return
	}
	if l.link == nil {
		return // all will be looked at
	}
	p := l.problems[c.Path]
	if p == nil {
		p = &problem{}
		l.problems[c.Path] = p
	}
	p.Problem = Problem{Path: c.Path, Side: to.name, Error: o.Err.Error()}
	wait := min(firstRetry<<min(p.tries, 10), lastRetry)
	if errors.Is(o.Err, endpoint.ErrChanged) && p.tries < 4 {
		wait = 50 * time.Millisecond << p.tries // it is being written to
	} else if !p.told {
		p.told = true
		l.event(Event{Kind: ProblemEvent, Problem: &p.Problem})
	}
	p.tries++
	p.due = time.Now().Add(wait)
	l.retryBy(p.due)
}

// retryBy has again called at that time, or earlier.
func (l *loop) retryBy(at time.Time) {
	if l.retryAt.IsZero() || at.Before(l.retryAt) {
		l.retryAt = at
		l.retry.Reset(time.Until(at))
	}
}

// again has what was refused tried again.
func (l *loop) again() {
	now := time.Now()
	l.retryAt = time.Time{}
	for path, p := range l.problems {
		if !p.due.After(now) {
			l.pending[path] = true
			p.due = now.Add(lastRetry) // where nothing comes of it
		}
		l.retryBy(p.due)
	}
	l.step()
}

// solved forgets a problem.
func (l *loop) solved(path string) {
	if p, ok := l.problems[path]; ok {
		delete(l.problems, path)
		if p.told {
			l.event(Event{Kind: SettledEvent, Text: path})
		}
	}
}

// forgetProblems forgets the problems of paths that nothing is to be done for
// any more.
func (l *loop) forgetProblems(res reconcile.Result) {
	if len(l.problems) == 0 {
		return
	}
	wanted := map[string]bool{}
	for _, changes := range [][]tree.Change{res.ToLocal, res.ToRemote} {
		for _, c := range changes {
			wanted[c.Path] = true
		}
	}
	looked := newPaths(nil)
	for _, path := range res.Looked {
		looked.add(path)
	}
	for path := range l.problems {
		if !wanted[path] && (res.Looked == nil || looked.touches(path)) && !l.pending[path] {
			l.solved(path)
		}
	}
}
