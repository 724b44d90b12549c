package folder

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// look is one look at what is dirty. What it finds is entered in one go, after
// all files were read.
type look struct {
	f     *Folder
	state *state
	tops  map[string]bool // paths that were looked at with all that is below
	found []found
}

// found is what is at a path.
type found struct {
	path    string
	entry   tree.Entry
	ignored bool
	read    bool // the content of the file is to be read, or was
	cut     bool // the file was large before, so that parts of it may be wanted
	content content
	err     error
}

// start looks at dirty paths, folders before what is in them.
func (l *look) start(ctx context.Context, dirty map[string]bool) error {
	paths := make([]string, 0, len(dirty))
	for path := range dirty {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	l.tops = map[string]bool{}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		top, deep := l.top(path, dirty[path])
		if l.tops[top] {
			continue
		}
		l.tops[top] = deep
		if top == "" {
			if same, err := l.state.root.Same(); !same {
				return errors.Join(endpoint.ErrRescan, err)
			}
			l.children("", deep)
			continue
		}
		if name := tree.Base(top); reserved(name) || tree.CheckPath(top) != nil {
			continue
		}
		l.at(top, deep)
	}
	return nil
}

// top is the path itself or, where a folder above it is not known, that one
// with all that is in it.
func (l *look) top(path string, deep bool) (string, bool) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	n := l.f.known.Root()
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		n = n.Child(tree.Base(path[:i]))
		if n.Content().Kind != tree.Dir {
			return path[:i], true
		}
	}
	return path, deep
}

// known is what has been said of a path.
func (l *look) known(path string) (tree.Entry, stamp) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return l.f.known.Get(path), l.f.stamps[path]
}

// at looks at one path, whose folder is known or was looked at just now.
func (l *look) at(path string, deep bool) {
	known, stamp := l.known(path)
	st, err := l.stat(path)
	switch {
	case gone(err):
		if known.Kind != tree.Absent {
			l.found = append(l.found, found{path: path})
		}
		return
	case err != nil: // what can't be looked at is as it was
		return
	}
	if l.rules().Ignored(path, st.Kind == beneath.Dir) {
		if known.Kind != tree.Absent {
			l.found = append(l.found, found{path: path, ignored: true})
		}
		return
	}
	switch st.Kind {
	case beneath.Dir:
		if known.Kind != tree.Dir {
			l.found = append(l.found, found{path: path, entry: tree.Entry{Kind: tree.Dir}})
		}
		l.children(path, deep || known.Kind != tree.Dir)
	case beneath.File:
		if known.Kind != tree.File || !stamp.sure || !stamp.is(st) {
			l.found = append(l.found, found{path: path, read: true, cut: known.Size >= chunk.Threshold})
		}
	default:
		e := tree.Entry{}
		if st.Kind == beneath.Symlink {
			if target, err := l.state.root.Readlink(path); err == nil && inside(path, target) {
				e = tree.Entry{Kind: tree.Symlink, Target: target}
			}
		}
		if e != known {
			l.found = append(l.found, found{path: path, entry: e})
		}
	}
}

func (l *look) rules() Matcher {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return l.f.rules
}

// stat is Root.Stat, which on a file system that folds case also has to look how
// the name is spelled there.
func (l *look) stat(path string) (beneath.Stat, error) {
	st, err := l.state.root.Stat(path)
	if err != nil || !l.state.foldsCase {
		return st, err
	}
	names, err := l.state.root.Names(tree.Parent(path), l.f.o.Caps.Paths)
	if err != nil {
		return st, err
	}
	for _, name := range names {
		if name == tree.Base(path) || l.state.foldsUnicode && equalForms(name, tree.Base(path)) {
			return st, nil
		}
	}
	return st, fs.ErrNotExist
}

// children looks at what is in a folder: at everything, or at names that came or
// went.
func (l *look) children(path string, deep bool) {
	l.tops[path] = l.tops[path] || deep
	names, err := l.state.root.Names(path, l.f.o.Caps.Paths)
	if err != nil && !errors.Is(err, beneath.ErrTooMany) {
		return
	}
	l.f.mu.Lock()
	was := map[string]bool{}
	for name := range l.f.known.Node(path).Children() {
		was[name] = true
	}
	l.f.mu.Unlock()
	for _, name := range names {
		name = l.f.spelling(l.state.decomposes, was, name)
		child := tree.Join(path, name)
		if !reserved(name) && (deep || !was[name]) && tree.CheckPath(child) == nil {
			l.at(child, deep)
		}
		delete(was, name)
	}
	for name := range was {
		l.at(tree.Join(path, name), deep)
	}
}

// readAll reads what is to be read.
func (l *look) readAll(ctx context.Context) {
	var jobs []int
	for i := range l.found {
		if l.found[i].read {
			jobs = append(jobs, i)
			l.found[i].err = context.Canceled // until it was read
		}
	}
	if len(jobs) == 0 {
		return
	}
	inParallel(ctx, len(jobs), func(i int) {
		at := &l.found[jobs[i]]
		at.content, at.err = read(ctx, l.state.root, at.path, l.f.o.Caps.FileBytes, at.cut)
		at.entry = at.content.entry
		if len(jobs) > inlineTotal/1024 {
			at.content.data = nil // more than would be sent along
		}
	})
}

// commit enters what was found, where it is still so, and returns what of it is
// different from what was known. The caller has mu.
func (l *look) commit() []endpoint.Update {
	var updates []endpoint.Update
	for i := range l.found {
		at := &l.found[i]
		if !l.settle(at) {
			continue
		}
		known := l.f.known.Get(at.path)
		if known == at.entry {
			if at.read {
				l.f.stamps[at.path] = at.content.stamp
			}
			continue
		}
		seq, err := l.f.said(at.path, at.entry)
		if err != nil { // its folder went meanwhile
			l.f.dirty[tree.Parent(at.path)] = true
			continue
		}
		u := endpoint.Update{Path: at.path, Entry: at.entry, Ignored: at.ignored, Seq: seq}
		if at.read {
			l.f.stamps[at.path] = at.content.stamp
			u.Content = at.content.data
			if at.content.list != nil {
				l.f.lists.put(at.entry.Digest, at.content.list)
			}
		}
		updates = append(updates, u)
	}
	return updates
}

// settle is true where what was found can be said: it still is so, although
// Apply may have changed it meanwhile. What can't is looked at again.
func (l *look) settle(at *found) bool {
	switch {
	case at.err == nil || errors.Is(at.err, fs.ErrPermission):
	case gone(at.err) || errors.Is(at.err, beneath.ErrNotRegular) || errors.Is(at.err, context.Canceled):
		l.f.dirty[at.path] = true
		return false
	default:
		l.f.again.add(at.path, at.content.took)
		return false
	}
	if at.ignored || l.same(at) {
		return true
	}
	l.f.again.add(at.path, 0)
	l.f.again.paths[at.path] = true
	return false
}

// same is true where the path still is what was found. The caller has mu.
func (l *look) same(at *found) bool {
	st, err := l.stat(at.path)
	switch {
	case at.entry.Kind == tree.Absent && !at.read:
		return gone(err) || err == nil && st.Kind != beneath.Dir && st.Kind != beneath.File
	case err != nil:
		return false
	case at.err != nil: // it can't be read
		at.entry, at.content.stamp = unread(st), stamp{}
		l.f.notes.add(noteClosed, at.path)
		return st.Kind == beneath.File
	case at.read:
		same := at.content.stamp.is(st)
		if same && at.entry.Digest == (tree.Digest{}) {
			l.f.notes.add(noteLarge, at.path)
		}
		return same
	case at.entry.Kind == tree.Dir:
		return st.Kind == beneath.Dir
	default:
		target, err := l.state.root.Readlink(at.path)
		return err == nil && target == at.entry.Target
	}
}
