package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// commit puts what was staged in its place, one change after the other.
func (a *apply) commit(ctx context.Context) {
	// What must be read is read before the first change is seen.
	a.checked = map[string]content{}
	for i, c := range a.changes {
		if o := &a.outcomes[i]; o.Err == nil && !o.Done && c.From.Kind == tree.File {
			a.recheck(ctx, c.Path)
		}
	}
	a.intend()
	for i := range a.changes {
		if o := &a.outcomes[i]; o.Err == nil && !o.Done {
			a.one(ctx, i)
		}
	}
}

// recheck reads a file where its stamp does not tell what it holds.
func (a *apply) recheck(ctx context.Context, path string) {
	e, st, err := a.current(ctx, path)
	if err == nil && st.Kind == beneath.File {
		a.checked[path] = content{entry: e, stamp: stampOf(st, time.Now())}
	}
}

// one makes one change, if its path still is what it is to be.
func (a *apply) one(ctx context.Context, i int) {
	path := a.changes[i].Path
	for range 3 {
		if a.attempt(i, path) {
			return
		}
		a.recheck(ctx, path)
		if err := ctx.Err(); err != nil {
			a.outcomes[i].Err = err
			return
		}
	}
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.outcomes[i].Err = fmt.Errorf("%w again and again", endpoint.ErrChanged)
	a.outcomes[i].Now = a.f.known.Get(path)
	a.f.seq++
	a.outcomes[i].Seq = a.f.seq
	a.f.dirty[path] = true
	a.f.wake()
}

// attempt is one without reading: false where that must come first.
func (a *apply) attempt(i int, path string) bool {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	// Others may move the folder: it is kept for one change, not for the next.
	parent := tree.Parent(path)
	a.root.Keep(parent)
	defer a.root.Forget(parent)
	if c := a.changes[i]; c.From.Kind == tree.Absent {
		// What makes it fails where something is there: it is looked at only then.
		if err := a.perform(i, c, beneath.Stat{}); !errors.Is(err, endpoint.ErrChanged) {
			a.conclude(i, c.From, err)
			return true
		}
	}
	now, st, settled, err := a.now(path)
	if !settled && err == nil {
		return false
	}
	a.settled(i, now, st, err)
	return true
}

// now is current without reading: settled is false where that must come first.
// The caller has mu.
func (a *apply) now(path string) (e tree.Entry, st beneath.Stat, settled bool, err error) {
	st, err = a.root.Stat(path)
	switch {
	case gone(err):
		return e, st, true, nil
	case err != nil:
		return e, st, false, err
	}
	switch st.Kind {
	case beneath.Dir:
		return tree.Entry{Kind: tree.Dir}, st, true, nil
	case beneath.Symlink:
		target, err := a.root.Readlink(path)
		if err == nil && !inside(path, target) {
			err = fmt.Errorf("%w: a symbolic link that leads out of the folder is there", endpoint.ErrRefused)
		}
		return tree.Entry{Kind: tree.Symlink, Target: target}, st, err == nil, err
	case beneath.File:
		if stamp := a.f.stamps[path]; stamp.sure && stamp.is(st) {
			return a.f.known.Get(path), st, true, nil
		}
		if c, ok := a.checked[path]; ok && c.stamp.is(st) {
			return c.entry, st, true, nil
		}
		return e, st, false, nil
	default:
		return e, st, false, fmt.Errorf("%w: a device, a pipe or a socket is there", endpoint.ErrRefused)
	}
}

// settled makes a change whose path is known to be now. The caller has mu.
func (a *apply) settled(i int, now tree.Entry, st beneath.Stat, err error) {
	c := a.changes[i]
	if err == nil && now != c.From {
		err = endpoint.ErrChanged
	}
	if err == nil {
		err = a.perform(i, c, st)
		if errors.Is(err, endpoint.ErrChanged) {
			now = c.From // as far as is known; it is looked at again
			a.f.dirty[c.Path] = true
			a.f.wake()
		}
	}
	a.conclude(i, now, err)
}

// conclude says what became of a change. The caller has mu.
func (a *apply) conclude(i int, now tree.Entry, err error) {
	c, o := a.changes[i], &a.outcomes[i]
	switch {
	case err == nil:
		o.Done, o.Now = true, c.To
		if a.staged[i].old != "" || c.From.Kind == tree.Dir && c.To.Kind != tree.Dir {
			o.Batch, a.took = a.batch, true
			a.bytes += cost(c.From)
		}
	case errors.Is(err, endpoint.ErrChanged):
		o.Err, o.Now = err, now
	default:
		o.Err = err
		return
	}
	a.say(c.Path, o)
}

// say enters an outcome into what is known. The caller has mu.
func (a *apply) say(path string, o *endpoint.Outcome) {
	if o.Now != a.f.known.Get(path) {
		seq, err := a.f.said(path, o.Now)
		if err != nil { // its folder is not known: nothing can be said of it
			o.Now = tree.Entry{}
			seq = a.f.seq
		}
		o.Seq = seq
		if o.Err != nil {
			a.f.dirty[path] = true // with what may be in it
			a.f.wake()
		}
	} else {
		a.f.seq++
		o.Seq = a.f.seq
	}
	if c, ok := a.checked[path]; ok && o.Err != nil && c.entry == o.Now {
		a.f.stamps[path] = c.stamp
	}
}

// perform makes a change. The caller has mu; st is what is at the path.
func (a *apply) perform(i int, c tree.Change, st beneath.Stat) error {
	root := a.root
	if execOnly(c) {
		if err := root.Chmod(c.Path, withExec(st.Mode, c.To.Exec)); err != nil {
			return err
		}
		a.arrived(c.Path, c.To, time.Time{})
		return nil
	}
	if (c.To.Kind == tree.File || c.To.Kind == tree.Symlink) && a.staged[i].place == "" {
		return errors.New("nothing was staged") // unreachable: the change has failed by then
	}
	var given time.Time
	if place := a.staged[i].place; place != "" && c.To.Kind == tree.File {
		given = arrival(st)
		if err := root.Touch(a.in(place), given); err != nil {
			return err
		}
	}
	err := a.exchange(i, c, st)
	if errors.Is(err, unix.EXDEV) {
		a.root.Forget(tree.Parent(c.Path)) // copying may take long
		err = a.across(i, c, st, given)
	}
	if err == nil {
		a.arrived(c.Path, c.To, given)
	}
	return err
}

// exchange takes away what is at a path, and puts there what was staged.
func (a *apply) exchange(i int, c tree.Change, st beneath.Stat) error {
	root := a.root
	if c.From.Kind == tree.Dir {
		if err := a.rmdir(c.Path); err != nil {
			return err
		}
	}
	place := a.staged[i].place
	switch leaf := c.From.Kind == tree.File || c.From.Kind == tree.Symlink; {
	case leaf && place != "":
		return a.replace(i, c.Path, st)
	case leaf:
		old := a.in(a.spot(i))
		if err := root.Rename(c.Path, old, beneath.Replace); err != nil {
			return existing(err)
		}
		back := func() error { return a.putBack(i, a.spot(i), c.Path) }
		if err := a.verify(old, st, back); err != nil {
			return err
		}
		if c.To.Kind == tree.Dir {
			if err := a.mkdir(i, c.Path); err != nil {
				return errors.Join(err, back())
			}
		}
		a.staged[i].old = a.spot(i)
		return nil
	}
	var err error
	switch {
	case place != "":
		if err = a.rename(a.in(place), c.Path); err == nil {
			a.staged[i].place = ""
		}
	case c.To.Kind == tree.Dir:
		err = a.mkdir(i, c.Path)
	}
	if err != nil && c.From.Kind == tree.Dir {
		err = errors.Join(err, root.Mkdir(c.Path, st.Mode&0o777))
	}
	return existing(err)
}

// errStale: what is at a path is not what was looked at.
var errStale = fmt.Errorf("%w: somebody was quicker", endpoint.ErrChanged)

// existing is an error where something is there that was not a moment ago.
func existing(err error) error {
	if errors.Is(err, fs.ErrExist) || gone(err) {
		return fmt.Errorf("%w: %w", endpoint.ErrChanged, err)
	}
	return err
}

// replace exchanges a file or link for what was staged, so that the path is never
// empty. What was there takes the place of what was staged.
func (a *apply) replace(i int, path string, st beneath.Stat) error {
	root, name := a.root, a.staged[i].place
	place := a.in(name)
	mine, err := root.Stat(place)
	if err != nil {
		return err
	}
	err = root.Rename(place, path, beneath.Exchange)
	if !errors.Is(err, beneath.ErrUnsupported) {
		if err != nil {
			return existing(err)
		}
		if err := a.verify(place, st, func() error { return a.exchangeBack(i, path, mine) }); err != nil {
			return err
		}
		a.staged[i].place, a.staged[i].old = "", name
		return nil
	}
	old := a.in(a.spot(i) + ".old")
	if err := root.Rename(path, old, beneath.Replace); err != nil {
		return existing(err)
	}
	back := func() error { return a.putBack(i, a.spot(i)+".old", path) }
	if err := a.verify(old, st, back); err != nil {
		return err
	}
	if err := a.rename(place, path); err != nil {
		return errors.Join(existing(err), back())
	}
	a.staged[i].place, a.staged[i].old = "", a.spot(i)+".old"
	return nil
}

// verify makes sure that what was moved is what was looked at, and else puts it
// back.
func (a *apply) verify(moved string, st beneath.Stat, back func() error) error {
	now, err := a.root.Stat(moved)
	if err == nil && now.Kind == st.Kind && stampOf(st, time.Time{}).moved(now) {
		return nil
	}
	return errors.Join(endpoint.ErrChanged, err, back())
}

// rename moves something to where nothing is.
func (a *apply) rename(from, to string) error {
	err := a.root.Rename(from, to, beneath.NoReplace)
	if !errors.Is(err, beneath.ErrUnsupported) {
		return err
	}
	if _, err := a.root.Stat(to); err == nil {
		return fs.ErrExist
	}
	return a.root.Rename(from, to, beneath.Replace)
}

// arrived remembers what was put at a path. The caller has mu.
func (a *apply) arrived(path string, to tree.Entry, given time.Time) {
	a.f.undone.add(path)
	if to != a.f.known.Get(path) {
		if _, err := a.f.said(path, to); err != nil {
			a.f.dirty[tree.Parent(path)] = true
			return
		}
	}
	if to.Kind != tree.File {
		return
	}
	st, err := a.root.Stat(path)
	switch {
	case err != nil || st.Kind != beneath.File:
		a.f.dirty[path] = true
	case given.IsZero():
		a.f.stamps[path] = stampOf(st, time.Now())
	default:
		a.f.stamps[path] = ownStamp(st, given)
	}
}
