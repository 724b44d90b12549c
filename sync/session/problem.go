package session

import (
	"errors"
	"strings"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// problem is a path that could not be brought over.
type problem struct {
	Problem
	tries int
	due   time.Time
	told  bool
	stays bool // a folder that holds what is ignored: nothing that waits for a person
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
	p.Problem = Problem{Path: Name(c.Path), Side: to.name, Error: o.Err.Error()}
	p.stays = c.To.Kind == tree.Absent && (errors.Is(o.Err, endpoint.ErrStays) || l.staysBelow(c.Path))
	wait := min(firstRetry<<min(p.tries, 10), lastRetry)
	switch {
	case p.stays:
		wait = lastRetry
		l.tellStays(p)
	case errors.Is(o.Err, endpoint.ErrChanged) && p.tries < 4:
		wait = 50 * time.Millisecond << p.tries // it is being written to
	case !p.told:
		p.told = true
		l.event(Event{Kind: ProblemEvent, Problem: &p.Problem})
	}
	p.tries++
	p.due = time.Now().Add(wait)
	l.retryBy(p.due)
}

// staysBelow is true where a folder below stays.
func (l *loop) staysBelow(path string) bool {
	for other, p := range l.problems {
		if p.stays && strings.HasPrefix(other, path+"/") {
			return true
		}
	}
	return false
}

// tellStays tells of a folder that stays, once in a session: those around it are
// not worth a word.
func (l *loop) tellStays(p *problem) {
	path := string(p.Path)
	if p.told {
		p.told = false
		l.event(Event{Kind: SettledEvent, Text: path})
	}
	if l.noted[path] || l.staysBelow(path) {
		return
	}
	l.noted[path] = true
	l.event(Event{Kind: NoteEvent, Text: p.note()})
}

// note is what is said of a folder that stays.
func (p *problem) note() string { return string(p.Path) + " in the " + p.Side + " folder: " + p.Error }

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
