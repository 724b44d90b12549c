package watch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// what is the kind of an event.
type what uint8

const (
	complete what = iota // a file was closed after writing, or came from elsewhere by a rename
	renamed              // a file came by a rename from a path in the root
	appeared             // a new folder, symbolic link or hard link
	listed               // found in a new folder; it may have been written before it was watched
	created              // a new file that is open for writing
	writing              // a file was written to and is still open
	touched              // the mode or another attribute
	gone                 // deleted, or renamed away
	deep                 // a folder came by a rename
	locked               // the hold file came or went
	lost                 // the system dropped events
)

// event is one thing that happened to a path.
type event struct {
	path string
	what what
	from string // of renamed
}

// How long things wait; package comment says why.
const (
	newName    = 2 * time.Millisecond
	maxSettle  = 100 * time.Millisecond
	maxGather  = 500 * time.Millisecond
	idleOpen   = 200 * time.Millisecond // an open file is told when nothing was written for so long
	listedOpen = 20 * time.Millisecond
	maxOpen    = time.Second // and at least so often while it is written to
	holdLook   = 20 * time.Millisecond
	// maxDirty bounds what is remembered when nobody calls Next.
	maxDirty = 1 << 18
)

// gather holds what was heard of and not yet told, and knows when to tell it.
type gather struct {
	settle time.Duration
	hold   *hold
	wake   chan struct{}
	ended  chan struct{}
	err    error // why; set before ended is closed

	mu     sync.Mutex
	dirty  map[string]what // what was last heard: complete, gone or deep
	open   map[string]open
	names  map[string]bool // that are new in this batch
	missed bool
	first  time.Time // of what is in dirty
	last   time.Time // event that made a path dirty, told or not
	before time.Time // the last one before this batch
	burst  time.Time // since when events have followed each other closely
	quiet  bool      // the batch began after a quiet time
	now    bool      // it has something that is told at once
	fresh  bool      // it has a new name
	held   bool      // it was held back by the hold file
}

// open is a file that is being written.
type open struct {
	first, due time.Time
	created    bool // its name is new
}

func newGather(settle time.Duration) *gather {
	return &gather{
		settle: settle,
		hold:   &hold{},
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
		dirty:  map[string]what{},
		open:   map[string]open{},
		names:  map[string]bool{},
	}
}

// add takes events that were read at a time.
func (g *gather) add(now time.Time, events []event) {
	if len(events) == 0 {
		return
	}
	g.mu.Lock()
	for _, e := range events {
		g.take(now, e)
	}
	if len(g.dirty)+len(g.open) > maxDirty {
		g.dirty, g.open, g.names = map[string]what{}, map[string]open{}, map[string]bool{}
		g.mark(now, now)
		g.missed = true
	}
	g.mu.Unlock()
	g.rouse()
}

func (g *gather) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *gather) take(now time.Time, e event) {
	o, isOpen := g.open[e.path]
	switch e.what {
	case created, writing, listed:
		g.write(now, e)
	case complete:
		g.soil(now, now, e.path, complete)
		g.urge(isOpen && o.created)
		if isOpen && o.created {
			g.names[e.path] = true
		}
	case renamed:
		// A temporary file that becomes the real one is the end of a save. A file
		// that gets another name may be the begin of one: the backup.
		isNew := g.names[e.from]
		g.soil(now, now, e.path, complete)
		g.urge(!isNew)
	case appeared:
		replaces := g.dirty[e.path] == gone
		g.soil(now, now, e.path, complete)
		g.urge(!replaces)
	case touched:
		if !isOpen {
			g.soil(now, now, e.path, complete)
		}
	case gone:
		g.soil(now, now, e.path, gone)
		if isOpen && o.created {
			g.names[e.path] = true
		}
	case deep:
		g.soil(now, now, e.path, deep)
		g.urge(true) // two renames may belong together
	case locked:
		// What is around it belongs together.
		if now.Sub(g.last) >= 2*g.settle {
			g.burst = now
		}
		g.last, g.before, g.now, g.quiet = now, now, false, false
	case lost:
		g.mark(now, now)
		g.missed = true
	}
}

// urge says that the batch is to be told at once or, where the name is new, soon.
func (g *gather) urge(newName bool) {
	if newName {
		g.fresh = true
	} else {
		g.now = true
	}
}

// write notes that a file is open. Nothing is said of it until it is closed, not
// even that the one before it is gone.
func (g *gather) write(now time.Time, e event) {
	was, isDirty := g.dirty[e.path]
	if isDirty && was == deep {
		return
	}
	o, isOpen := g.open[e.path]
	if !isOpen {
		o = open{first: now, created: e.what != writing && !isDirty}
	}
	delete(g.dirty, e.path)
	if isDirty && len(g.dirty) == 0 && !g.missed {
		g.last = g.before // there is no batch yet
	}
	due := now.Add(idleOpen)
	if e.what == listed {
		due = now.Add(listedOpen)
	}
	if due.After(o.due) {
		o.due = due
	}
	if end := o.first.Add(maxOpen); o.due.After(end) {
		o.due = end
	}
	g.open[e.path] = o
}

// soil makes a path dirty.
func (g *gather) soil(now, first time.Time, path string, w what) {
	delete(g.open, path)
	g.mark(now, first)
	if g.dirty[path] != deep { // once all below it is to be looked at, that stays
		g.dirty[path] = w
	}
}

// mark notes the time of an event that makes something dirty.
func (g *gather) mark(now, first time.Time) {
	if len(g.dirty) == 0 && !g.missed {
		g.quiet = now.Sub(g.last) >= 2*g.settle
		if g.quiet {
			g.burst = now
		}
		g.before, g.first = g.last, first
		g.now, g.fresh, g.held = false, false, false
	}
	if first.Before(g.first) {
		g.first = first
	}
	g.last = now
}

// due is when to tell, or to look again, and whether that is now. A zero time:
// there is nothing to wait for.
func (g *gather) due(now time.Time) (at time.Time, ready bool) {
	next := g.closeIdle(now)
	if len(g.dirty) == 0 && !g.missed {
		return next, false
	}
	at = g.settled(now)
	if !at.After(now) {
		switch {
		case g.hold.holds(now, g.last):
			g.held = true
			at = now.Add(holdLook)
		case g.held:
			// The end of the hold may be seen before the events of what was done
			// under it have been read.
			g.held, g.now, g.fresh, g.quiet = false, false, false, false
			g.last, g.first, g.burst = now, now, now
			at = now.Add(g.settle)
		default:
			return now, true
		}
	}
	if !next.IsZero() && next.Before(at) {
		at = next
	}
	return at, false
}

// settled is when the batch is complete, if nothing more comes.
func (g *gather) settled(now time.Time) time.Time {
	var wait time.Duration
	switch {
	case g.quiet && g.now && !g.missed:
		return now
	case g.quiet && g.fresh && !g.missed:
		wait = newName
	default:
		wait = g.settle
	}
	wait = max(wait, min(g.last.Sub(g.burst)/4, maxSettle))
	at := g.last.Add(wait)
	if end := g.first.Add(maxGather); at.After(end) {
		at = end
	}
	return at
}

// closeIdle makes open files dirty whose time has come, and returns when the
// next one's comes.
func (g *gather) closeIdle(now time.Time) (next time.Time) {
	for path, o := range g.open {
		if !o.due.After(now) {
			g.soil(now, o.first, path, complete)
			g.now = true
		} else if next.IsZero() || o.due.Before(next) {
			next = o.due
		}
	}
	return next
}

// next is Watcher.Next.
func (g *gather) next(ctx context.Context) (Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		now := time.Now()
		g.mu.Lock()
		at, ready := g.due(now)
		if ready {
			b := g.batch()
			g.mu.Unlock()
			return b, nil
		}
		g.mu.Unlock()
		if err := g.wait(ctx, now, at); err != nil {
			return Batch{}, err
		}
	}
}

// wait waits for the time, or for events.
func (g *gather) wait(ctx context.Context, now, at time.Time) error {
	var timer <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(at.Sub(now))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-g.wake:
		return nil
	case <-timer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-g.ended:
		return g.err
	}
}

// end says that there will be no more events, and why.
func (g *gather) end(err error) {
	g.err = err
	close(g.ended)
}

// batch takes what is dirty.
func (g *gather) batch() Batch {
	b := Batch{First: g.first, Missed: g.missed}
	for path, w := range g.dirty {
		switch {
		case w == deep:
			b.Deep = append(b.Deep, path)
		default:
			b.Paths = append(b.Paths, path)
		}
	}
	if len(b.Deep) > 0 {
		b.Paths = slices.DeleteFunc(b.Paths, g.belowDeep)
		b.Deep = slices.DeleteFunc(b.Deep, g.belowDeep)
	}
	slices.Sort(b.Paths)
	slices.Sort(b.Deep)
	g.dirty, g.names, g.missed = map[string]what{}, map[string]bool{}, false
	return b
}

// belowDeep is true for a path below a folder that is dirty with all in it.
func (g *gather) belowDeep(path string) bool {
	for path != "" {
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		if w, ok := g.dirty[path]; ok && w == deep {
			return true
		}
	}
	return false
}
