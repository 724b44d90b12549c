package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// Apply implements endpoint.Endpoint. A change of the root from nothing to a
// folder makes the root.
func (f *Folder) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	a := &apply{f: f, changes: changes, outcomes: make([]endpoint.Outcome, len(changes)), staged: make([]staged, len(changes))}
	if len(changes) > 0 && changes[0].Path == "" {
		if err := f.makeRoot(ctx, changes[0], &a.outcomes[0]); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	a.state = f.state
	f.mu.Unlock()
	if a.state == nil {
		return nil, &fault.Error{Op: "changing the folder", Subject: f.o.Root, Err: endpoint.ErrRootGone}
	}
	if same, err := a.state.root.Same(); !same {
		return nil, &fault.Error{Op: "changing the folder", Subject: f.o.Root, Err: errors.Join(endpoint.ErrRootGone, err)}
	}
	a.root = a.state.root.Keeping()
	defer a.root.ForgetAll()
	for i := range changes {
		a.check(i)
	}
	if err := a.stage(ctx, from); err != nil {
		return nil, errors.Join(err, a.clean(ctx))
	}
	release, err := f.changes.hold(ctx)
	if err != nil {
		return nil, errors.Join(err, a.clean(ctx))
	}
	defer release()
	a.commit(ctx)
	if err := a.clean(ctx); err != nil {
		f.warn("cleaning up after changes of "+f.o.Root, err)
	}
	return a.outcomes, nil
}

// apply is one call of Apply.
type apply struct {
	f        *Folder
	state    *state
	root     *beneath.Root // keeps the folder that is staged in
	changes  []tree.Change
	outcomes []endpoint.Outcome
	staged   []staged
	base     string // the folder that what is staged is in; "" while there is none
	apart    string // what names in it begin with
	batch    string // its name as one of the trash; "" where nothing is taken away
	bytes    int64  // of what was taken away
	took     bool   // something was taken away
	caches   int    // that were, with their folders
	used     bool   // undo can bring nothing of it back
	checked  map[string]content
	room     room
	folder   struct { // see folderOf
		path  string
		known bool
		stat  beneath.Stat
	}
}

// staged is what was made ready for a change.
type staged struct {
	place string // its name in base; "" where there is nothing, or it is in place
	old   string // the name in base of what was taken away
	mode  uint32 // of a folder; 0: as usual
	// stranded is the name in base of what is somebody's and could not be put back.
	stranded string
}

// makeRoot makes a root that is not there.
func (f *Folder) makeRoot(ctx context.Context, c tree.Change, o *endpoint.Outcome) error {
	if c.From.Kind != tree.Absent || c.To.Kind != tree.Dir {
		return nil // see check
	}
	release, err := f.changes.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	f.mu.Lock()
	there := f.state != nil
	f.mu.Unlock()
	if there {
		return nil
	}
	if err := os.MkdirAll(f.o.Root, 0o755); err != nil {
		return &fault.Error{Op: "making the folder", Subject: f.o.Root, Err: err}
	}
	s, err := openState(f.o)
	if err != nil {
		return err
	}
	f.setState(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	o.Seq, err = f.said("", c.To)
	o.Done, o.Now = true, c.To
	f.dirty[""] = true // something may be in it already
	return err
}

// check refuses what may not be done, whatever is there.
func (a *apply) check(i int) {
	c, o := a.changes[i], &a.outcomes[i]
	if o.Done {
		return
	}
	dir := c.To.Kind == tree.Dir || c.To.Kind == tree.Absent && c.From.Kind == tree.Dir
	switch {
	case c.Path == "":
		now := a.f.entry("")
		if o.Err = endpoint.ErrRefused; now != c.From {
			o.Err, o.Now = endpoint.ErrChanged, now
		}
	case c.From == c.To:
		o.Err = fmt.Errorf("%w: a change to what is there", endpoint.ErrRefused)
	default:
		o.Err = a.f.allowed(c.Path, dir)
	}
	switch {
	case o.Err != nil:
	case c.To.Kind == tree.File && (c.To.Size < 0 || c.To.Size > a.f.o.Caps.FileBytes):
		o.Err = fmt.Errorf("%w: %d bytes are more than the %d that are allowed", endpoint.ErrRefused, c.To.Size, a.f.o.Caps.FileBytes)
	case c.To.Kind == tree.File && !execOnly(c) && a.f.o.ArriveBytes > 0 && c.To.Size > a.f.o.ArriveBytes:
		o.Err = fmt.Errorf("%w: its %d bytes are more than the %d that are taken from the other side: raise maxFile of the sync entry in kfdev.yaml, or add it to .kfdevignore", endpoint.ErrRefused, c.To.Size, a.f.o.ArriveBytes)
	case c.To.Kind == tree.Symlink && !inside(c.Path, c.To.Target):
		o.Err = fmt.Errorf("%w: a symbolic link to %q may lead out of the folder", endpoint.ErrRefused, c.To.Target)
	case c.To.Kind > tree.Symlink:
		o.Err = fmt.Errorf("%w: a kind that is not known", endpoint.ErrRefused)
	}
}

func (f *Folder) entry(path string) tree.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.Get(path)
}

// execOnly is true where nothing but the permission to execute changes.
func execOnly(c tree.Change) bool {
	return c.From.Kind == tree.File && c.To.Kind == tree.File && c.From.Digest == c.To.Digest && c.From.Size == c.To.Size
}

// current is what is at a path. A file is read where its stamp does not tell
// that it is as known. What is no part of a tree is an error.
func (a *apply) current(ctx context.Context, path string) (tree.Entry, beneath.Stat, error) {
	st, err := a.root.Stat(path)
	switch {
	case gone(err):
		return tree.Entry{}, st, nil
	case err != nil:
		return tree.Entry{}, st, err
	}
	switch st.Kind {
	case beneath.Dir:
		return tree.Entry{Kind: tree.Dir}, st, nil
	case beneath.Symlink:
		target, err := a.root.Readlink(path)
		if err == nil && !inside(path, target) {
			err = fmt.Errorf("%w: a symbolic link that leads out of the folder is there", endpoint.ErrRefused)
		}
		return tree.Entry{Kind: tree.Symlink, Target: target}, st, err
	case beneath.File:
	default:
		return tree.Entry{}, st, fmt.Errorf("%w: a device, a pipe or a socket is there", endpoint.ErrRefused)
	}
	a.f.mu.Lock()
	known, stamp := a.f.known.Get(path), a.f.stamps[path]
	a.f.mu.Unlock()
	if stamp.sure && known.Kind == tree.File && stamp.is(st) {
		return known, st, nil
	}
	return a.reading(ctx, path)
}

// reading is current for a file that must be read.
func (a *apply) reading(ctx context.Context, path string) (tree.Entry, beneath.Stat, error) {
	for tries := 0; ; tries++ {
		c, err := read(ctx, a.root, path, a.f.o.Caps.FileBytes, false)
		switch {
		case errors.Is(err, errChanging) && tries < 3:
			continue
		case errors.Is(err, errChanging):
			return c.entry, beneath.Stat{}, endpoint.ErrChanged
		case err != nil:
			return tree.Entry{}, beneath.Stat{}, err
		case c.entry.Digest == tree.Digest{}:
			return c.entry, beneath.Stat{}, fmt.Errorf("%w: what is there is larger than is allowed", endpoint.ErrRefused)
		}
		st, err := a.root.Stat(path)
		if err == nil && !c.stamp.is(st) {
			err = endpoint.ErrChanged
		}
		return c.entry, st, err
	}
}

// clean removes what is left of what was staged.
func (a *apply) clean(ctx context.Context) error {
	if a.base == "" {
		return nil
	}
	err := a.amend(ctx)
	for i := range a.staged {
		if s := &a.staged[i]; s.place != "" {
			if e := a.root.Remove(a.in(s.place)); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	switch {
	case a.batch == "":
		a.state.staging = err == nil
	case !a.took:
		err = errors.Join(err, a.root.RemoveAll(a.base))
	default:
		err = errors.Join(err, a.keepBatch())
	}
	return err
}

// keepBatch makes the batch one of the trash, and thins that out.
func (a *apply) keepBatch() error {
	f, s := a.f, a.state
	b := batch{name: a.batch, bytes: a.bytes + batchCost, made: time.Now(), used: a.used}
	list := a.overwrites()
	b.overwrote = len(list) > 0
	if b.overwrote && len(list) <= maxSavePaths {
		b.save = &save{name: b.name, made: b.made, list: list, before: make([]*save, len(list)), recent: len(list)}
	}
	f.mu.Lock()
	s.trash, s.held = append(s.trash, b), s.held+b.bytes
	f.mu.Unlock()
	return errors.Join(f.thin(s, b.save), f.prune(s))
}

// spot is the name in base of what is staged for a change, or taken away by it.
func (a *apply) spot(i int) string { return a.apart + strconv.Itoa(i) }

// in is the path of a name in base, which moves into the trash.
func (a *apply) in(name string) string { return a.base + "/" + name }

// warn tells of what failed and harms nothing.
func (f *Folder) warn(doing string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes.add(fmt.Sprintf("did not succeed: %v", err), doing)
}
