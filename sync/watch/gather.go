package watch

import (
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
	locked               // the hold file came
	unlocked             // it went
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
	behind func() bool // true while the system has events that were not added
	wake   chan struct{}
	ended  chan struct{}
	err    error // why; set before ended is closed

	mu     sync.Mutex
	dirty  map[string]what // what was last heard: complete, gone or deep
	open   map[string]open
	names  map[string]bool // that are new in this batch
	missed bool
	first  time.Time // of what is in dirty
	from   time.Time // since when it is gathered: first, or the end of the hold
	last   time.Time // event that made a path dirty, told or not
	before time.Time // the last one before this batch
	burst  time.Time // since when events have followed each other closely
	quiet  bool      // the batch began after a quiet time
	now    bool      // it has something that is told at once
	fresh  bool      // it has a new name
	held   bool      // the hold file is or was there
	ending bool      // it is gone, and what was done under it may not have been read yet
	inLock bool      // by what was read, it is there
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
		behind: func() bool { return false },
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
	case locked, unlocked:
		// What is around it belongs together.
		if now.Sub(g.last) >= 2*g.settle {
			g.burst = now
		}
		g.inLock = e.what == locked
		g.held = g.held || g.inLock
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
		g.before, g.first, g.from = g.last, first, now
		g.now, g.fresh, g.held, g.ending = false, false, g.inLock, false
	}
	if first.Before(g.first) {
		g.first = first
	}
	g.last = now
}
