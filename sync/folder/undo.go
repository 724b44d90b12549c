package folder

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// Undo implements endpoint.Endpoint. What the batch made where nothing was stays.
func (f *Folder) Undo(ctx context.Context) (string, []endpoint.Update, error) {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return "", nil, err
	}
	defer leave()
	release, err := f.changes.hold(ctx)
	if err != nil {
		return "", nil, err
	}
	defer release()
	f.mu.Lock()
	s := f.state
	f.mu.Unlock()
	if s == nil {
		return "", nil, &fault.Error{Op: "undoing changes", Subject: f.o.Root, Err: endpoint.ErrRootGone}
	}
	// What was in it is gone with a StateDir that somebody deleted.
	if err := f.renew(s); err != nil {
		return "", nil, &fault.Error{Op: "undoing changes", Subject: f.o.Root, Err: err}
	}
	for _, b := range slices.Backward(slices.Clone(s.trash)) {
		if b.used {
			continue
		}
		list, _, err := s.manifest(b.name)
		if err != nil {
			return "", nil, &fault.Error{Op: "undoing changes", Subject: f.o.Root, Err: err}
		}
		done, err := f.restore(ctx, s, b, list)
		if err != nil {
			err = &fault.Error{Op: "undoing changes", Subject: f.o.Root, Err: err}
		}
		return b.name, done, err
	}
	return "", nil, nil
}

// restore puts back what a batch took away, the last change first.
func (f *Folder) restore(ctx context.Context, s *state, b batch, list []lost) ([]endpoint.Update, error) {
	dir := trashPath + "/" + b.name
	s.saves = nil // what comes is no newer version of what is undone
	// It works as Apply does, with the old content as what was staged.
	a := &apply{f: f, state: s, root: s.root, base: dir, apart: "undo-", batch: b.name, checked: map[string]content{}}
	began := time.Now()
	for _, l := range slices.Backward(list) {
		a.changes = append(a.changes, tree.Change{Path: l.path, From: l.to, To: l.from})
	}
	a.outcomes, a.staged = make([]endpoint.Outcome, len(list)), make([]staged, len(list))
	var updates []endpoint.Update
	left := false
	for i, c := range a.changes {
		if err := ctx.Err(); err != nil {
			return updates, err
		}
		l := list[len(list)-1-i]
		if !a.prepare(ctx, i, l) {
			left = true
			continue
		}
		a.recheck(ctx, c.Path)
		a.one(ctx, i)
		if o := a.outcomes[i]; o.Done {
			updates = append(updates, endpoint.Update{Path: c.Path, Entry: o.Now, Seq: o.Seq, Age: time.Since(began)})
		}
		left = left || !a.outcomes[i].Done
	}
	slices.SortStableFunc(updates, func(x, y endpoint.Update) int { return cmp.Compare(x.Path, y.Path) })
	if left {
		f.mu.Lock()
		if i := slices.IndexFunc(s.trash, func(o batch) bool { return o.name == b.name }); i >= 0 {
			s.trash[i].used = true
		}
		f.mu.Unlock()
		return updates, s.root.Rename(dir+"/"+manifestName, dir+"/"+undoneName, beneath.Replace)
	}
	return updates, f.discard(s, b.name)
}

// prepare finds the old content of a path, where it is what the manifest says.
func (a *apply) prepare(ctx context.Context, i int, l lost) bool {
	if a.f.allowed(l.path, l.from.Kind == tree.Dir) != nil {
		return false
	}
	if l.from.Kind == tree.Dir || l.to.Kind == tree.Dir {
		// Between the two there was nothing for a moment, in which it may have ended.
		if _, err := a.root.Stat(l.path); gone(err) {
			a.changes[i].From = tree.Entry{}
		}
	}
	if l.from.Kind == tree.Dir {
		a.staged[i].mode = l.mode
		return true
	}
	for _, place := range []string{strconv.Itoa(l.index), strconv.Itoa(l.index) + ".old"} {
		e := tree.Entry{}
		if l.from.Kind == tree.Symlink {
			target, err := a.root.Readlink(a.in(place))
			if err == nil {
				e = tree.Entry{Kind: tree.Symlink, Target: target}
			}
		} else if c, err := read(ctx, a.root, a.in(place), l.from.Size, false); err == nil {
			e = c.entry
		}
		if e == l.from {
			a.staged[i].place = place
			return true
		}
	}
	return false
}
