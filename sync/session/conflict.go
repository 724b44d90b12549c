package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/notebook"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// merge is a try to make one of two versions of a notebook.
type merge struct {
	local, remote tree.Entry
	why           string // it can't be; "" while it is being tried
}

// setConflicts makes the conflicts those that are in force after a result, tells
// what is new, and tries what can be merged.
func (l *loop) setConflicts(res reconcile.Result) {
	if len(l.conflicts) == 0 && len(res.Conflicts) == 0 {
		return
	}
	before := map[string]reconcile.Conflict{}
	for _, c := range l.conflicts {
		before[c.Path] = c
	}
	l.conflicts = res.Carry(l.conflicts)
	for _, c := range l.conflicts {
		old, known := before[c.Path]
		delete(before, c.Path)
		if known && old == c {
			continue
		}
		if l.tryMerge(c) {
			continue
		}
		shown := l.show(c)
		l.event(Event{Kind: ConflictEvent, Conflict: &shown})
	}
	for gone := range before {
		delete(l.merging, gone)
		l.event(Event{Kind: SettledEvent, Text: gone})
	}
}

// show is a conflict as people see it.
func (l *loop) show(c reconcile.Conflict) Conflict {
	shown := Conflict{Path: Name(c.Path), Local: describe(c.Local), Remote: describe(c.Remote), Why: c.Why, Collides: Name(c.Collides)}
	if m := l.merging[c.Path]; m.why != "" && m.local == c.Local && m.remote == c.Remote {
		shown.Why += "; " + m.why
	}
	return shown
}

// tryMerge begins to merge the two versions of a conflict, where that can be.
func (l *loop) tryMerge(c reconcile.Conflict) bool {
	twoWay := l.config.Mode == reconcile.TwoWaySafe
	if !twoWay || c.Collides != "" || !mergeable(c.Path, c.Local) || !mergeable(c.Path, c.Remote) || !mergeable(c.Path, c.Base) {
		return false
	}
	if m, ok := l.merging[c.Path]; ok && m.local == c.Local && m.remote == c.Remote {
		return m.why == ""
	}
	if !l.saver.store.Has(c.Base.Digest) {
		return false
	}
	l.merging[c.Path] = merge{local: c.Local, remote: c.Remote}
	here := l.local.ep
	l.await(l.remote.ep, func(ctx context.Context, there Folder) func() {
		merged, why, err := l.mergeNotebook(ctx, here, there, c)
		return func() { l.mergedNotebook(c, merged, why, err) }
	})
	return true
}

// mergeNotebook returns the merged content, or why there is none.
func (l *loop) mergeNotebook(ctx context.Context, here, there endpoint.Fetcher, c reconcile.Conflict) (merged []byte, why string, err error) {
	base, err := l.saver.store.Content(c.Base.Digest)
	if err != nil {
		return nil, "", err
	}
	ours, err := fetchOne(ctx, here, endpoint.Want{Path: c.Path, Entry: c.Local})
	if err != nil {
		return nil, "", err
	}
	theirs, err := fetchOne(ctx, there, endpoint.Want{Path: c.Path, Entry: c.Remote})
	if err != nil {
		return nil, "", err
	}
	merged, cells, err := notebook.Merge(base, ours, theirs)
	switch {
	case err != nil:
		return nil, "it can't be merged: " + err.Error(), nil
	case len(cells) > 0:
		return nil, "both sides changed the same cell: " + cells[0].Why, nil
	}
	return merged, "", nil
}

// mergedNotebook brings the merged content to both sides.
func (l *loop) mergedNotebook(c reconcile.Conflict, merged []byte, why string, err error) {
	m, ok := l.merging[c.Path]
	if !ok || m.local != c.Local || m.remote != c.Remote {
		return
	}
	if l.local.tree.Get(c.Path) != c.Local || l.remote.tree.Get(c.Path) != c.Remote {
		delete(l.merging, c.Path) // it is another conflict by now
		l.pending[c.Path] = true
		l.step()
		return
	}
	if why == "" && err != nil {
		why = "it could not be merged: " + err.Error()
	}
	if why != "" {
		m.why = why
		l.merging[c.Path] = m
		shown := l.show(c)
		l.event(Event{Kind: ConflictEvent, Conflict: &shown})
		return
	}
	if l.halt != nil {
		l.mergeLater(c.Path)
		return
	}
	delete(l.merging, c.Path)
	to := tree.Entry{Kind: tree.File, Exec: c.Local.Exec, Size: int64(len(merged)), Digest: sha256.Sum256(merged)}
	l.merged++
	l.force(l.local, tree.Change{Path: c.Path, From: c.Local, To: to}, merged, "", nil)
	l.force(l.remote, tree.Change{Path: c.Path, From: c.Remote, To: to}, merged, "", nil)
	l.step()
}

// force has a change made on a side; then is called with what became of it.
func (l *loop) force(on *side, c tree.Change, data []byte, alias string, then func(ok bool)) {
	if c.From == c.To {
		return
	}
	l.holding[c.Path]++
	on.forced = append(on.forced, forced{change: c, data: data, alias: alias, done: func(ok bool) {
		if l.holding[c.Path]--; l.holding[c.Path] <= 0 {
			delete(l.holding, c.Path)
			l.pending[c.Path] = true
		}
		if then != nil {
			then(ok)
		}
	}})
}

// resolve ends a conflict as a person decided.
func (l *loop) resolve(p string, keep Keep) error {
	i := -1
	for n, c := range l.conflicts {
		if c.Path == p {
			i = n
		}
	}
	if i < 0 {
		return &fault.Error{
			Op: "resolving a conflict", Subject: p, Kind: fault.NotFound,
			Hint: "`kfdev sync status` lists the conflicts", Err: errors.New("there is none at this path"),
		}
	}
	c := l.conflicts[i]
	if c.Collides != "" {
		return &fault.Error{
			Op: "resolving a conflict", Subject: p, Kind: fault.Usage,
			Hint: "rename one of the two", Err: errors.New("its name is the same as that of " + c.Collides + " for one side"),
		}
	}
	if !l.local.ready() || !l.remote.ready() {
		return &fault.Error{Op: "resolving a conflict", Subject: p, Hint: "wait until the session is connected", Err: errors.New("the two sides are not connected")}
	}
	if l.halt != nil {
		return &fault.Error{Op: "resolving a conflict", Subject: p, Hint: l.halt.Hint(), Err: errors.New("the session is halted")}
	}
	switch keep {
	case KeepLocal:
		l.decided[p] = reconcile.PreferLocal
	case KeepRemote:
		l.decided[p] = reconcile.PreferRemote
	case KeepBoth:
		return l.keepBoth(c)
	default:
		return &fault.Error{Op: "resolving a conflict", Subject: p, Kind: fault.Usage, Err: errors.New("keep local, remote or both")}
	}
	l.step()
	return nil
}

// decide reconciles, all at once, the paths that a person decided on and that no
// other change is on its way for. Both sides are idle: what a busy one could not
// take would be reconciled again without the decision.
func (l *loop) decide() {
	due := map[string]reconcile.Preference{}
	for path, prefer := range l.decided {
		if l.holding[path] == 0 {
			due[path] = prefer
			delete(l.decided, path)
		}
	}
	look := slices.Sorted(maps.Keys(due))
	res := reconcile.Reconcile(l.base.Tree, l.local.tree, l.remote.tree, look, reconcile.Options{Mode: l.config.Mode, PreferAt: due})
	l.act(res, look, reconcile.Limits{Off: true}) // a person named the paths
}

// mayDecide is true where a person decided on something that can be done as soon
// as both sides are idle.
func (l *loop) mayDecide() bool {
	if l.all || l.halt != nil {
		return false
	}
	for path := range l.decided {
		if l.holding[path] == 0 {
			return true
		}
	}
	return false
}

// keepBoth puts the pod's version beside the local one.
func (l *loop) keepBoth(c reconcile.Conflict) error {
	if c.Remote.Kind != tree.File && c.Remote.Kind != tree.Symlink {
		return &fault.Error{
			Op: "resolving a conflict", Subject: c.Path, Kind: fault.Usage,
			Hint: "keep local or remote", Err: errors.New("both can be kept of files alone"),
		}
	}
	beside := besideName(c.Path)
	if l.local.tree.Get(beside).Kind != tree.Absent || l.remote.tree.Get(beside).Kind != tree.Absent {
		return &fault.Error{Op: "resolving a conflict", Subject: c.Path, Hint: "rename or delete it", Err: errors.New(beside + " is there already")}
	}
	l.force(l.local, tree.Change{Path: beside, To: c.Remote}, nil, c.Path, func(ok bool) {
		if ok {
			l.decided[c.Path] = reconcile.PreferLocal // the step that follows sees it
		}
	})
	l.step()
	return nil
}

// besideName is where the pod's version of a path goes.
func besideName(p string) string {
	ext := path.Ext(p)
	if ext == path.Base(p) {
		ext = "" // a name that is all extension, like .bashrc
	}
	return strings.TrimSuffix(p, ext) + ".kfdev-conflict-remote" + ext
}
