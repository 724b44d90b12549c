package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// Scan implements endpoint.Endpoint. A root that is another folder than the last
// time is opened anew, with its own identity.
func (f *Folder) Scan(ctx context.Context) (*tree.Tree, error) {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	looked, err := f.looks.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer looked()
	changed, err := f.changes.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer changed()
	if err := f.findRoot(); err != nil {
		return nil, err
	}
	// From here on changes are reported, so that none is between the two.
	if err := f.startWatch(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	s, rules := f.state, f.rules
	f.dirty, f.news, f.rescan, f.again, f.notes = map[string]bool{}, nil, false, again{}, notes{}
	f.mu.Unlock()
	if s == nil {
		f.setKnown(&tree.Tree{}, map[string]stamp{}, notes{})
		return &tree.Tree{}, nil
	}
	w := &walk{
		f: f, root: s.root, rules: rules, decomposes: s.decomposes, tree: &tree.Tree{}, stamps: map[string]stamp{},
		earlier: f.earlier(s),
	}
	if err := w.all(ctx); err != nil {
		return nil, &fault.Error{Op: "looking at the folder", Subject: f.o.Root, Err: err}
	}
	said := w.tree.Clone()
	f.setKnown(w.tree, w.stamps, w.notes)
	f.mu.Lock()
	for _, path := range w.changing {
		f.again.add(path, 0)
	}
	f.mu.Unlock()
	if w.hashed > 0 {
		f.saveIndex()
	}
	return said, nil
}

func (f *Folder) setKnown(t *tree.Tree, stamps map[string]stamp, n notes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.stamps, f.notes = t, stamps, n
}

// findRoot opens the root where it came, and lets it go where it went.
func (f *Folder) findRoot() error {
	f.mu.Lock()
	s := f.state
	f.mu.Unlock()
	if s != nil {
		same, err := s.root.Same()
		if same {
			return nil
		}
		if err != nil && !gone(err) {
			return &fault.Error{Op: "looking at the folder", Subject: f.o.Root, Err: err}
		}
	}
	found, err := openState(f.o)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.setState(found)
	return nil
}

// setState changes the root. The old one stays open: calls may still use it.
func (f *Folder) setState(s *state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != nil {
		f.old = append(f.old, f.state)
	}
	f.state = s
	f.known, f.stamps = &tree.Tree{}, map[string]stamp{}
}

// earlier is what is known of files from the last time.
func (f *Folder) earlier(s *state) map[string]record {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.stamps) == 0 {
		return f.loadIndex(s)
	}
	records := make(map[string]record, len(f.stamps))
	for path, stamp := range f.stamps {
		records[path] = record{entry: f.known.Get(path), stamp: stamp}
	}
	return records
}

// walk looks at all of a root.
type walk struct {
	f          *Folder
	root       *beneath.Root
	rules      Matcher
	decomposes bool
	earlier    map[string]record

	tree     *tree.Tree
	stamps   map[string]stamp
	notes    notes
	jobs     []string // files to be read
	changing []string // files that were changed while they were read
	hashed   int
}

func (w *walk) all(ctx context.Context) error {
	if err := w.tree.Put("", tree.Entry{Kind: tree.Dir}); err != nil {
		return err
	}
	if err := w.folder(ctx, "", 0); err != nil {
		return err
	}
	return w.readAll(ctx)
}

// folder looks at what is in a folder.
func (w *walk) folder(ctx context.Context, path string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := w.root.OpenFolder(path)
	if errors.Is(err, fs.ErrPermission) && path != "" {
		w.notes.add(noteClosed, path)
		w.keep(path)
		return nil
	}
	if gone(err) && path != "" {
		w.tree.Delete(path)
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // it was only read
	names, err := dir.Names(w.f.o.Caps.Paths)
	if err != nil && !errors.Is(err, beneath.ErrTooMany) {
		return err
	}
	for _, name := range names {
		st, err := dir.Stat(name)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		name = w.f.spelling(w.decomposes, nil, name)
		if err := w.at(ctx, tree.Join(path, name), name, st, depth+1); err != nil {
			return err
		}
		if w.tree.Len()+len(w.jobs) > w.f.o.Caps.Paths {
			return fmt.Errorf("%w: the folder has more than %d paths: ignore what is not needed (.kfdevignore), or sync a folder in it", endpoint.ErrRefused, w.f.o.Caps.Paths)
		}
	}
	return nil
}

// keep takes what was known of a folder that can't be looked into.
func (w *walk) keep(path string) {
	found := false
	below(w.earlier, path, func(p string, r record) {
		for i := len(path) + 1; i < len(p); i++ {
			if p[i] == '/' && w.tree.Get(p[:i]).Kind == tree.Absent {
				_ = w.tree.Put(p[:i], tree.Entry{Kind: tree.Dir}) // its parent is there
			}
		}
		if w.tree.Put(p, r.entry) == nil {
			found, w.stamps[p] = true, r.stamp
		}
	})
	if !found {
		w.tree.Delete(path) // as lost+found at the top of a volume
	}
}

// at looks at one path.
func (w *walk) at(ctx context.Context, path, name string, st beneath.Stat, depth int) error {
	if reserved(name) {
		if strings.HasPrefix(name, temporary) && st.Kind == beneath.File {
			return w.root.Remove(path) // left over by a run that was cut off
		}
		return nil
	}
	if w.rules.Ignored(path, st.Kind == beneath.Dir) {
		return nil
	}
	if len(path) > tree.MaxPath || depth > w.f.o.Caps.Depth {
		return fmt.Errorf("%w: %q is deeper than %d folders: ignore it (.kfdevignore)", endpoint.ErrRefused, path, w.f.o.Caps.Depth)
	}
	switch st.Kind {
	case beneath.Dir:
		if err := w.tree.Put(path, tree.Entry{Kind: tree.Dir}); err != nil {
			return err
		}
		return w.folder(ctx, path, depth)
	case beneath.File:
		if r, ok := w.earlier[path]; ok && r.stamp.sure && r.stamp.is(st) {
			w.stamps[path] = r.stamp
			return w.tree.Put(path, r.entry)
		}
		w.jobs = append(w.jobs, path)
	case beneath.Symlink:
		target, err := w.root.Readlink(path)
		switch {
		case gone(err):
		case err != nil:
			return err
		case !inside(path, target):
			w.notes.add(noteLink, path)
		default:
			return w.tree.Put(path, tree.Entry{Kind: tree.Symlink, Target: target})
		}
	default:
		w.notes.add(noteOther, path)
	}
	return nil
}

// readAll reads the files whose content is not known.
func (w *walk) readAll(ctx context.Context) error {
	if len(w.jobs) == 0 {
		return nil
	}
	task := progress.Start(w.f.o.Sink, "sync/scan", "Looking at the files of "+w.f.o.Root, int64(len(w.jobs)), progress.Items)
	var mu sync.Mutex
	var failed error
	inParallel(ctx, len(w.jobs), func(i int) {
		path := w.jobs[i]
		c, err := w.read(ctx, path)
		mu.Lock()
		defer mu.Unlock()
		w.hashed++
		task.Add(1)
		if err = w.enter(path, c, err); err != nil && failed == nil {
			failed = err
		}
	})
	if failed == nil {
		failed = ctx.Err()
	}
	task.End(failed)
	return failed
}

// read reads one file; a few times where it is being changed.
func (w *walk) read(ctx context.Context, path string) (content, error) {
	for wait := 10 * time.Millisecond; ; wait *= 4 {
		c, err := read(ctx, w.root, path, w.f.o.Caps.FileBytes, false)
		c.data = nil
		if !errors.Is(err, errChanging) || wait > 200*time.Millisecond {
			return c, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return c, ctx.Err()
		}
	}
}

// enter puts a file that was read into the tree.
func (w *walk) enter(path string, c content, err error) error {
	switch {
	case gone(err) || errors.Is(err, beneath.ErrNotRegular):
		w.changing = append(w.changing, path)
		return nil
	case errors.Is(err, errChanging):
		// As it was read: that it is there must be known at least.
		w.changing = append(w.changing, path)
	case errors.Is(err, fs.ErrPermission):
		w.notes.add(noteClosed, path)
		st, err := w.root.Stat(path)
		if err != nil {
			return nil //nolint:nilerr // it is gone by now, which Next finds out
		}
		c.entry = unread(st)
		if r, ok := w.earlier[path]; ok && r.stamp.is(st) {
			c.entry.Digest = r.entry.Digest
		}
	case err != nil:
		return err
	case c.entry.Digest == tree.Digest{}:
		w.notes.add(noteLarge, path)
	}
	w.stamps[path] = c.stamp
	return w.tree.Put(path, c.entry)
}
