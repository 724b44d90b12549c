package folder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/watch"
)

// Next implements endpoint.Endpoint.
func (f *Folder) Next(ctx context.Context) ([]endpoint.Update, error) {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		first, err := f.wait(ctx)
		if err != nil {
			return nil, err
		}
		updates, err := f.look(ctx, first)
		if len(updates) > 0 || err != nil {
			return updates, err
		}
	}
}

// wait returns when there is something to be looked at or to be said, and since
// when there is.
func (f *Folder) wait(ctx context.Context) (time.Time, error) {
	for {
		f.mu.Lock()
		watching, broken, rescan := f.watch != nil, f.broken, f.rescan
		waiting := len(f.news) > 0 || len(f.dirty) > 0
		timer, fires := f.again.timer()
		f.mu.Unlock()
		switch {
		case !watching:
			return time.Time{}, errors.New("the folder has not been looked at")
		case rescan:
			timer.Stop()
			return time.Time{}, endpoint.ErrRescan
		case broken != nil:
			timer.Stop()
			return time.Time{}, &fault.Error{Op: "watching the folder", Subject: f.o.Root, Err: broken}
		case waiting:
			timer.Stop()
			return time.Now(), ctx.Err()
		}
		var first time.Time
		var err error
		select {
		case b := <-f.batches:
			first, err = f.take(b)
		case <-fires:
			f.mu.Lock()
			f.again.move(f.dirty)
			f.mu.Unlock()
			first = time.Now()
		case <-f.poke:
		case <-ctx.Done():
			err = ctx.Err()
		}
		timer.Stop()
		if err != nil || !first.IsZero() {
			return first, err
		}
	}
}

// take enters a batch of the watcher.
func (f *Folder) take(b watch.Batch) (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Missed {
		f.rescan = true
		return time.Time{}, endpoint.ErrRescan
	}
	for _, path := range b.Paths {
		if !f.dirty[path] {
			f.dirty[path] = false
		}
	}
	for _, path := range b.Deep {
		f.dirty[path] = true
	}
	return b.First, nil
}

// look looks at what is dirty and says what is different.
func (f *Folder) look(ctx context.Context, first time.Time) ([]endpoint.Update, error) {
	release, err := f.looks.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	f.mu.Lock()
	s, dirty := f.state, f.dirty
	f.dirty = map[string]bool{}
	f.mu.Unlock()
	l := &look{f: f, state: s}
	if s != nil {
		err = l.start(ctx, dirty)
	} else if len(dirty) > 0 {
		err = endpoint.ErrRescan // the root came
	}
	if err == nil {
		l.readAll(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		// Nobody hears what is said to a call that was canceled, and whoever canceled
		// it may have looked at the folder before this.
		err = ctx.Err()
	}
	if err != nil {
		for path, deep := range dirty {
			f.dirty[path] = f.dirty[path] || deep
		}
		f.rescan = f.rescan || errors.Is(err, endpoint.ErrRescan)
		return nil, err
	}
	updates := append(f.news, l.commit()...)
	f.news = nil
	if f.known.Len() > f.o.Caps.Paths {
		return nil, fmt.Errorf("%w: the folder has more than %d paths by now", endpoint.ErrRefused, f.o.Caps.Paths)
	}
	age := time.Since(first)
	total := 0
	for i := range updates {
		updates[i].Age = age
		if total += len(updates[i].Content); total > inlineTotal {
			updates[i].Content = nil
		}
	}
	return updates, nil
}

// said enters that something was said of a path. The caller has mu, and makes
// sure that the path's folder is known.
func (f *Folder) said(path string, e tree.Entry) (uint64, error) {
	if f.known.Get(path).Kind == tree.Dir && e.Kind != tree.Dir {
		_ = f.known.WalkBelow(path, func(p string, _ tree.Entry) error {
			delete(f.stamps, p)
			return nil
		})
	}
	delete(f.stamps, path)
	if err := f.known.Put(path, e); err != nil {
		return 0, err
	}
	f.seq++
	return f.seq, nil
}

// again are paths that were being changed when they were looked at.
type again struct {
	paths map[string]bool
	due   time.Time
	delay time.Duration
}

// How soon a file is looked at again that is being changed: the longer it goes
// on, and the longer it takes to read, the later.
const (
	firstAgain = 20 * time.Millisecond
	lastAgain  = 10 * time.Second
)

// add has a path looked at again that took some time to be read.
func (a *again) add(path string, took time.Duration) {
	if a.paths == nil {
		a.paths = map[string]bool{}
	}
	a.paths[path] = false
	a.delay = min(max(2*a.delay, 2*took, firstAgain), lastAgain)
	a.due = time.Now().Add(a.delay)
}

// timer fires when it is time.
func (a *again) timer() (*time.Timer, <-chan time.Time) {
	if len(a.paths) == 0 {
		a.delay = 0
		return time.NewTimer(lastAgain), nil
	}
	t := time.NewTimer(time.Until(a.due))
	return t, t.C
}

// move takes the paths to what is dirty.
func (a *again) move(dirty map[string]bool) {
	for path := range a.paths {
		dirty[path] = dirty[path] || a.paths[path]
	}
	a.paths = nil
}
