// Package watch says which paths of a folder may have changed, as soon as the
// operating system says it. It reads no content and remembers none: what is
// really different is for its caller to find out, and a path that it names may
// turn out to be the same.
//
// On Linux it uses inotify(7) itself, one watch for each folder, because it has
// to know when a file that was written is closed. Elsewhere it uses fsnotify.
// Where there are no notifications (network file systems), or no more of them
// (the limits of inotify), it looks at everything from time to time, and Notes
// says why and what helps.
//
// # When a change is told
//
// The first change after a quiet time is told at once; no timer is in its way.
// What follows closely is gathered until it stops for Settle, which grows while
// it goes on, and for half a second at most. Three things are not told at once
// even then, because more is about to come:
//
//   - that a path is gone, which is how many editors begin a save: it waits for
//     Settle, and if the path is being written again, for that;
//   - a name that is new, which may be a temporary file about to be renamed: it
//     waits for 2 ms;
//   - a file that is still open and written to: it waits for its close, or until
//     it has been left alone for a moment, or for a second.
//
// While the Hold file is there nothing is told. git takes .git/index.lock before
// it touches the first file, so that a branch switch comes as one batch.
package watch

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("the watcher is closed")

// Options say what is watched and how.
type Options struct {
	// Skip is true for what is not to be watched or told. Its path is relative
	// and slash-separated; it is not asked about the root, nor about what is in a
	// folder that is skipped. It may be called from several goroutines.
	Skip func(path string, dir bool) bool
	// Hold is the absolute path of a file (git's index.lock): while it is there
	// nothing is told. It need not be in the root, and its folder may be skipped.
	Hold string
	// Settle is how long it must have been quiet for a batch to be told that is
	// not told at once; 0 is DefaultSettle.
	Settle time.Duration
	// Poll, where it is not 0, is how often to look instead of being notified.
	Poll time.Duration
}

// DefaultSettle is longer than an editor needs between the steps of one save,
// and shorter than a person notices.
const DefaultSettle = 12 * time.Millisecond

// defaultPoll is how often the folder is looked at where that is not the
// caller's choice.
const defaultPoll = time.Second

// Batch is what is dirty. Its paths are relative, slash-separated, sorted, and
// may have any byte; "" is the root.
type Batch struct {
	// Paths are those where what is at the path may have changed: its kind, its
	// content, its mode, and of a folder the names that are in it.
	Paths []string
	// Deep are folders that may be different in everything below them, as when one
	// came by a rename. What is below them is not in Paths.
	Deep []string
	// First is when the first change of the batch was heard of. For a file that
	// was written that is its close or, where it is told while it is open, the
	// first write that had not been told.
	First time.Time
	// Missed is true where events were lost: all must be looked at.
	Missed bool
}

// Watcher watches one folder.
type Watcher struct {
	gather *gather
	skip   atomic.Pointer[func(string, bool) bool]

	mu      sync.Mutex
	source  source
	polling bool
	closed  bool
	notes   []string

	ended chan struct{} // closed when the source's goroutine is
}

// source finds out what is dirty.
type source interface {
	// start looks at all of the root once. What changes after it is told.
	start() error
	// run tells what changes, and returns when it can't go on: errClosing after
	// close, a limit where polling can.
	run() error
	// reskip acts on new rules.
	reskip() error
	// behind is true while there are changes that were made and not told.
	behind() bool
	// close ends run, without waiting for it.
	close() error
}

// target is what a source is to watch, and whom to tell.
type target struct {
	root string
	hold string
	skip func(path string, dir bool) bool
	tell func(now time.Time, events []event)
}

// errClosing is what a source's run returns after its close.
var errClosing = errors.New("closing")

// limit is the error of a source that lacks something that polling does not
// need. It says what, for people.
type limit struct{ note string }

func (l *limit) Error() string { return l.note }

// New watches root. Changes from the time that New returns are told. A root that
// is a symbolic link is followed once, now. Where it is not there, or goes, it is
// waited for: that it went is told as a change of "", that it came as Missed.
func New(root string, o Options) (*Watcher, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	if o.Settle <= 0 {
		o.Settle = DefaultSettle
	}
	w := &Watcher{gather: newGather(o.Settle), ended: make(chan struct{})}
	w.setSkip(o.Skip)
	w.gather.hold = &hold{path: o.Hold, note: w.note}
	w.gather.behind = w.behind
	t := target{root: root, hold: o.Hold, skip: w.skips, tell: w.gather.add}
	if o.Poll <= 0 {
		if note := unheard(root); note != "" {
			w.note(note)
			o.Poll = defaultPoll
		}
	}
	if err := w.begin(t, o.Poll); err != nil {
		return nil, err
	}
	go w.run(t)
	return w, nil
}

// begin starts the source that fits.
func (w *Watcher) begin(t target, poll time.Duration) error {
	if poll <= 0 {
		s, err := newNotifier(t)
		if err == nil {
			if err = s.start(); err == nil {
				w.source = s
				return nil
			}
			err = errors.Join(err, s.close())
		}
		var l *limit
		if !errors.As(err, &l) {
			return err
		}
		w.note(l.note)
		poll = defaultPoll
	}
	p := newPoller(t, poll)
	w.source, w.polling = p, true
	return p.start()
}

// run runs the source, and goes over to polling where notification ends.
func (w *Watcher) run(t target) {
	defer close(w.ended)
	err := w.source.run()
	var l *limit
	if errors.As(err, &l) {
		w.note(l.note)
		if err = w.fallBack(t); err == nil {
			// What was between the last event and the first look is not known.
			w.gather.add(time.Now(), []event{{what: lost}})
			err = w.source.run()
		}
	}
	if errors.Is(err, errClosing) {
		err = ErrClosed
	}
	w.gather.end(err)
}

func (w *Watcher) fallBack(t target) error {
	p := newPoller(t, defaultPoll)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosing
	}
	old := w.source
	w.source, w.polling = p, true
	w.mu.Unlock()
	return errors.Join(old.close(), p.start())
}

// Next waits for changes and returns them. It is called by one goroutine at a
// time. After an error other than the context's there will be no more changes.
func (w *Watcher) Next(ctx context.Context) (Batch, error) { return w.gather.next(ctx) }

func (w *Watcher) behind() bool {
	w.mu.Lock()
	s := w.source
	w.mu.Unlock()
	return s.behind()
}

// Polling is true where the folder is looked at from time to time.
func (w *Watcher) Polling() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.polling
}

// Notes are for people: what is not as it could be, with the fix.
func (w *Watcher) Notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.notes)
}

func (w *Watcher) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.notes, s) {
		w.notes = append(w.notes, s)
	}
}

// SetSkip puts another rule in Skip's place. When it returns, what is no longer
// skipped is watched; what is in there by then is for the caller to look at, and
// is not told.
func (w *Watcher) SetSkip(skip func(path string, dir bool) bool) error {
	w.setSkip(skip)
	w.mu.Lock()
	s := w.source
	w.mu.Unlock()
	err := s.reskip()
	if l := (*limit)(nil); errors.As(err, &l) {
		return nil // the source's run meets it too, and polling follows
	}
	return err
}

func (w *Watcher) setSkip(skip func(string, bool) bool) {
	if skip == nil {
		skip = func(string, bool) bool { return false }
	}
	w.skip.Store(&skip)
}

func (w *Watcher) skips(path string, dir bool) bool { return (*w.skip.Load())(path, dir) }

// Close ends watching. A Next that waits returns ErrClosed.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	s := w.source
	w.mu.Unlock()
	err := s.close()
	<-w.ended
	return err
}
