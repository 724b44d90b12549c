package session

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/kfdev/kfdev/sync/tree"
)

// maxShown is how many paths of a batch an event names.
const maxShown = 8

// add counts a change that was made.
func (b *Batch) add(c tree.Change) {
	if c.To.Kind == tree.Absent {
		b.Deleted++
	} else {
		b.Changed++
		b.Bytes += c.To.Size
	}
	if len(b.Paths) < maxShown {
		b.Paths = append(b.Paths, Name(c.Path))
	}
}

// told tells of a batch and measures it.
func (l *loop) told(to *side, going *sending, b Batch, at time.Time) {
	if b.Changed+b.Deleted == 0 {
		return
	}
	first := going.first
	if first.IsZero() {
		first = going.began
	} else {
		to.latency.add(at.Sub(first))
	}
	b.Latency, b.Merged = at.Sub(first), l.merged
	l.merged = 0
	l.batches++
	l.event(Event{Kind: BatchEvent, Batch: &b})
	if to == l.remote {
		l.onChange()
	}
}

// event tells what happened.
func (l *loop) event(e Event) {
	e.Time = time.Now()
	l.config.Events(e)
}

// stateNow is what the session is about.
func (l *loop) stateNow() State {
	switch {
	case l.link == nil:
		return Connecting
	case !l.local.ready() || !l.remote.ready() || !l.known:
		return Scanning
	case l.halt != nil:
		return Halted
	case !l.idle() || len(l.decided) > 0 || l.all || len(l.pending) > 0 || len(l.holding) > 0:
		return Syncing
	}
	return InSync
}

// showState tells of another state; that something is on its way only when it
// takes a while, see progress.
func (l *loop) showState() {
	if now := l.stateNow(); now != l.state && now != Syncing {
		l.setState(now)
	}
}

func (l *loop) setState(s State) {
	if l.state == s && l.waiting == "" {
		return
	}
	l.state, l.since = s, time.Now()
	l.event(Event{Kind: StateEvent, State: s, Text: l.waiting})
}

// progress tells how far what is on its way is.
func (l *loop) progress() {
	for _, s := range []*side{l.remote, l.local} {
		if s.sending == nil || time.Since(s.sending.began) < tickEvery {
			continue
		}
		if l.state != Syncing && l.stateNow() == Syncing {
			l.setState(Syncing)
		}
		p := s.sending.progress()
		l.event(Event{Kind: ProgressEvent, Progress: &p, Text: s.name})
	}
}

func (s *sending) progress() Progress {
	return Progress{Files: int(s.source.files.Load()), Of: s.files, Bytes: s.source.bytes.Load(), Total: s.bytes}
}

// status is all that is known.
func (l *loop) status() Status {
	c := l.config
	st := Status{
		Name: c.Name, State: l.stateNow(), Since: l.since, Began: l.began, Text: l.waiting, Local: c.Local, Remote: c.Remote, Target: c.Target,
		Mode: c.Mode, Batches: l.batches, Undoable: len(l.undos.order), LastRun: l.run.last,
		ToRemote: l.remote.latency.latency(), ToLocal: l.local.latency.latency(), Traffic: l.trafficNow(),
	}
	if l.local.tree != nil {
		st.Paths = l.local.tree.Len()
	}
	for _, s := range []*side{l.remote, l.local} {
		if s.sending != nil && st.Progress == nil {
			p := s.sending.progress()
			st.Progress = &p
		}
	}
	for _, conflict := range l.conflicts {
		if m, ok := l.merging[conflict.Path]; !ok || m.why != "" {
			st.Conflicts = append(st.Conflicts, l.show(conflict))
		}
	}
	var stays []string
	for _, p := range l.problems {
		switch {
		case p.stays && !l.staysBelow(string(p.Path)):
			stays = append(stays, p.note())
		case p.told:
			st.Problems = append(st.Problems, p.Problem)
		}
	}
	if p := l.heldRules(); p != nil {
		st.Problems = append(st.Problems, *p)
	}
	slices.SortFunc(st.Problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	if l.halt != nil {
		h := showHalt(l.halt, c.Name)
		st.Halt = &h
	}
	slices.Sort(stays)
	st.Notes = append(st.Notes, stays...)
	st.Notes = append(st.Notes, l.rules.Notes()...)
	st.Notes = append(st.Notes, l.local.ep.Info().Notes...)
	if l.link != nil {
		st.Pod = l.link.Pod()
		st.Notes = append(st.Notes, l.link.Notes()...)
		st.Notes = append(st.Notes, l.link.Info().Notes...)
	}
	return st
}

// trafficNow is what went over the wire so far.
func (l *loop) trafficNow() Traffic {
	t := l.traffic
	if l.link != nil {
		now := l.link.Traffic()
		t.Sent += now.Sent
		t.Received += now.Received
		t.Raw += now.SentRaw + now.ReceivedRaw
	}
	return t
}

// bytesText writes bytes for people.
func bytesText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= unit.size {
			return strconv.FormatFloat(float64(n)/float64(unit.size), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
