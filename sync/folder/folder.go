// Package folder is a real folder as an endpoint of a sync session, on the
// laptop and in the pod alike. What is ignored, what can't travel (devices,
// links that lead out of the root) and its own StateDir are not part of its
// tree. Every access is by sync/folder/beneath, which follows no links.
package folder

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/watch"
	"github.com/kfdev/kfdev/sync/wire"
)

// Matcher says what is ignored. It is asked about folders before what is in
// them, and not about what is in an ignored folder.
type Matcher interface {
	Ignored(path string, dir bool) bool
}

// Options say which folder it is and how it is kept.
type Options struct {
	Root    string // a path; it may be a symbolic link, and need not be there yet
	Session string // for whoever finds the folder held
	Rules   Matcher
	// ParseRules reads rules that SetRules is given; nil: they can't be changed.
	ParseRules func([]byte) (Matcher, error)
	// Caps are limits; 0 in them: a file of any size, wire.MaxPaths paths, and
	// tree.MaxDepth folders.
	Caps wire.Caps
	// ArriveBytes is the largest file that is taken from the other side; 0: any.
	ArriveBytes int64
	// KeepFree is what arriving files leave free of the file system, bytes, but no
	// more than 5 % of it; 0: nothing.
	KeepFree int64
	// Cache is the file that remembers the digests of files that do not change;
	// "": one in StateDir.
	Cache string
	// Memory is a file outside of the root that remembers whose identity the root
	// has, should StateDir be deleted; "": none.
	Memory string
	Sink   progress.Sink // nil: progress.Discard
	// What the trash holds at most: 0: 512 MiB, 7 days, any number of batches.
	TrashBytes   int64
	TrashAge     time.Duration
	TrashBatches int
	// Poll, where it is not 0, is how often to look instead of being notified.
	Poll time.Duration

	space  func(*beneath.Root) (free, of int64, err error)     // of tests
	before func(op, path string) error                         // of tests, see beneath.Root.Before
	watch  func(root string, o watch.Options) (watcher, error) // of tests
}

// watcher is what of sync/watch is used.
type watcher interface {
	Next(ctx context.Context) (watch.Batch, error)
	SetSkip(skip func(path string, dir bool) bool) error
	Polling() bool
	Notes() []string
	Close() error
}

// Folder implements endpoint.Endpoint and wire.RuleTaker.
type Folder struct {
	o       Options
	life    context.Context // ends with Close
	end     context.CancelFunc
	using   sync.WaitGroup // calls that go on
	pumping sync.WaitGroup
	looks   slot // held by what compares the disk with what is known
	changes slot // held by what changes the disk or what is known as a whole
	batches chan watch.Batch
	poke    chan struct{} // something is to be looked at that no batch named
	lists   lists

	mu     sync.Mutex
	closed bool
	state  *state   // of the root; nil while there is none
	old    []*state // of roots that were there before
	watch  watcher  // from the first Scan on
	broken error    // why nothing more is watched
	rescan bool     // changes were missed
	rules  Matcher
	known  *tree.Tree // what has been said
	stamps map[string]stamp
	seq    uint64
	news   []endpoint.Update // said with the next batch
	dirty  map[string]bool   // to be looked at; true: with all that is below
	again  again
	notes  notes
	undone touched
}

// Open opens a folder. Another session that has it is an error, and so is a
// folder that can't be written to.
func Open(ctx context.Context, o Options) (*Folder, error) {
	if o.Sink == nil {
		o.Sink = progress.Discard
	}
	if o.watch == nil {
		o.watch = func(root string, o watch.Options) (watcher, error) { return watch.New(root, o) }
	}
	if o.Rules == nil {
		o.Rules = nothing{}
	}
	o.setLimits()
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, &fault.Error{Op: "opening the folder", Subject: o.Root, Err: err}
	}
	o.Root = root
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	f := &Folder{
		o: o, life: life, end: end, looks: newSlot(), changes: newSlot(), rules: o.Rules,
		batches: make(chan watch.Batch), poke: make(chan struct{}, 1),
		known: &tree.Tree{}, stamps: map[string]stamp{}, dirty: map[string]bool{},
	}
	s, err := openState(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		end()
		return nil, err
	default:
		f.state = s
	}
	return f, nil
}

// nothing ignores nothing.
type nothing struct{}

// Ignored implements Matcher.
func (nothing) Ignored(string, bool) bool { return false }

func (o *Options) setLimits() {
	if o.space == nil {
		o.space = (*beneath.Root).Space
	}
	if o.Caps.FileBytes == 0 {
		o.Caps.FileBytes = 1<<62 - 1
	}
	if o.Caps.Paths == 0 {
		o.Caps.Paths = wire.MaxPaths
	}
	if o.Caps.Depth == 0 || o.Caps.Depth > tree.MaxDepth {
		o.Caps.Depth = tree.MaxDepth
	}
	if o.TrashBytes == 0 {
		o.TrashBytes = 512 << 20
	}
	if o.TrashAge == 0 {
		o.TrashAge = 7 * 24 * time.Hour
	}
}

// Close implements endpoint.Endpoint. It waits for calls that go on, which it
// ends.
func (f *Folder) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.using.Wait()
	var err error
	if f.watch != nil {
		err = f.watch.Close()
	}
	f.pumping.Wait()
	if f.state != nil {
		f.saveIndex()
		err = errors.Join(err, f.state.close())
	}
	for _, s := range f.old {
		err = errors.Join(err, s.close())
	}
	return err
}

// enter begins a call. What it returns ends with the call's context and with
// the folder.
func (f *Folder) enter(ctx context.Context) (context.Context, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, &fault.Error{Op: "using the folder", Subject: f.o.Root, Err: fs.ErrClosed}
	}
	f.using.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(f.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		f.using.Done()
	}, nil
}

// root is the open root; nil where there is none.
func (f *Folder) root() *beneath.Root {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == nil {
		return nil
	}
	return f.state.root
}

// Info implements endpoint.Endpoint. Where the root is not there yet it has no
// identity.
func (f *Folder) Info() endpoint.Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	info := endpoint.Info{Root: f.o.Root}
	if s := f.state; s != nil {
		info.Identity, info.Fresh, info.CopyOf = s.identity.ID, s.identity.Fresh, s.identity.CopyOf
		info.FoldsCase, info.FoldsUnicode = s.foldsCase, s.foldsUnicode
		info.Notes = append(info.Notes, s.notes...)
		info.Batches = s.undoable()
	}
	if f.watch != nil {
		info.Polling = f.watch.Polling()
		info.Notes = append(info.Notes, f.watch.Notes()...)
	}
	info.Notes = append(info.Notes, f.notes.texts()...)
	return info
}

// slot is held by one at a time.
type slot chan struct{}

func newSlot() slot { return make(slot, 1) }

func (s slot) hold(ctx context.Context) (release func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
