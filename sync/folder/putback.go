package folder

import (
	"context"

	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// giveUp is how often a path is exchanged with somebody who saves as often.
const giveUp = 8

// putBack returns to its path what was moved away and is not what was looked at.
// Where that fails, it stays in the trash. The caller has mu.
func (a *apply) putBack(i int, name, path string) error {
	err := a.rename(a.in(name), path)
	if err != nil {
		a.strand(i, name)
	}
	return err
}

// exchangeBack is putBack for what was exchanged for mine. Whoever saves once
// more meanwhile saves over mine, and what comes back for it is theirs and newer:
// the newest is to be at the path.
func (a *apply) exchangeBack(i int, path string, mine beneath.Stat) error {
	name := a.staged[i].place
	place := a.in(name)
	var last, got beneath.Stat
	held, err := a.root.Stat(place)
	for tries := 0; err == nil && tries < giveUp; tries++ {
		if err = a.root.Rename(place, path, beneath.Exchange); err != nil {
			break
		}
		if got, err = a.root.Stat(place); err != nil {
			break
		}
		if sameFile(mine, got) {
			return nil
		}
		if tries > 0 && sameFile(last, got) {
			break // what is at the path now was saved after it
		}
		last, held = held, got
	}
	a.strand(i, name)
	return err
}

// sameFile is true for a file or link that was renamed since.
func sameFile(was, now beneath.Stat) bool {
	return was.Kind == now.Kind && was.Size == now.Size && was.MTime == now.MTime && was.Inode == now.Inode
}

// strand has the trash keep what is somebody's and has no place any more. The
// caller has mu.
func (a *apply) strand(i int, name string) {
	s := &a.staged[i]
	if s.place == name {
		s.place = ""
	}
	s.stranded, a.took = name, true
	a.f.dirty[a.changes[i].Path] = true
	a.f.wake()
	a.f.notes.add(noteStranded, a.changes[i].Path)
}

// amend has the manifest say what the batch came to hold, where that is not what
// was intended. Undo brings a stranded file back where nothing is lost by it.
func (a *apply) amend(ctx context.Context) error {
	stranded := map[int]lost{}
	any := false
	for i := range a.staged {
		if a.staged[i].stranded == "" {
			continue
		}
		any = true
		if l, ok := a.stray(ctx, i); ok {
			stranded[i] = l
			a.bytes += cost(l.from)
		}
	}
	if !any {
		return nil
	}
	list, _, err := a.state.manifest(a.batch)
	if err != nil {
		return err
	}
	var held []lost
	for _, l := range list {
		if s, ok := stranded[l.index]; ok {
			held = append(held, s)
		} else if a.outcomes[l.index].Done {
			held = append(held, l)
		}
	}
	if a.used = len(held) == 0; a.used {
		return a.root.Rename(a.in(manifestName), a.in(undoneName), beneath.Replace)
	}
	return a.state.replaceFile(a.in(manifestName), encodeManifest(held))
}

// stray is a stranded file as undo is to know it; false where its path has by now
// what is nowhere else.
func (a *apply) stray(ctx context.Context, i int) (lost, bool) {
	c, place := a.changes[i], a.in(a.staged[i].stranded)
	var was tree.Entry
	if target, err := a.root.Readlink(place); err == nil {
		was = tree.Entry{Kind: tree.Symlink, Target: target}
	} else if read, err := read(ctx, a.root, place, a.f.o.Caps.FileBytes, false); err == nil && read.entry.Digest != (tree.Digest{}) {
		was = read.entry
	}
	now, _, err := a.current(ctx, c.Path)
	if was.Kind == tree.Absent || err != nil || now.Kind != tree.Absent && now != c.To {
		return lost{}, false
	}
	return lost{index: i, path: c.Path, from: was, to: now}, true
}
