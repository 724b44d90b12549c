package watch

import (
	"context"
	"slices"
	"strings"
	"time"
)

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
			g.held, g.ending = false, true
		case g.ending:
			at = now.Add(newName) // next looks what is left to read
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
	case g.quiet && g.fresh && !g.missed && !g.misses():
		wait = newName
	default:
		wait = g.settle
	}
	wait = max(wait, min(g.last.Sub(g.burst)/4, maxSettle))
	at := g.last.Add(wait)
	if end := g.from.Add(maxGather); at.After(end) {
		at = end
	}
	return at
}

// misses is true where the batch has a path that is gone and may come again.
func (g *gather) misses() bool {
	if len(g.dirty) > 64 {
		return true // no save of an editor
	}
	for path, w := range g.dirty {
		if w == gone && !g.names[path] {
			return true
		}
	}
	return false
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
		ending := g.ending
		g.mu.Unlock()
		if ending && !g.behind() {
			g.endHold(time.Now())
			continue
		}
		if err := g.wait(ctx, now, at); err != nil {
			return Batch{}, err
		}
	}
}

// endHold begins to gather what was done under the hold file, all of which was
// added. It is seen to be gone before that is so, since the system tells of
// changes later than they are made.
func (g *gather) endHold(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending, g.inLock = false, false
	g.now, g.fresh, g.quiet = false, false, false
	g.last, g.from, g.burst = now, now, now
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
		if w == deep {
			b.Deep = append(b.Deep, path)
		} else {
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
