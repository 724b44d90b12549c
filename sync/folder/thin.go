package folder

import (
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/sync/tree"
)

// Files that are saved again and again would fill the trash. Of each, the newest
// keptSaves are batches of their own; of those before, the first of each minute is
// kept, and undo goes from one to the next.
const (
	keptSaves    = 16
	joinedAtOnce = 8 // and so many more, so that not every save writes a manifest anew
	savesApart   = time.Minute
	maxSavePaths = 8    // of a batch that is thinned out
	maxSaved     = 4096 // paths that are remembered for it
)

// save is a batch that did nothing but overwrite files.
type save struct {
	name   string
	made   time.Time
	list   []lost
	before []*save // of each path in list, the one before; nil: none that is known
	recent int     // for how many of its paths it is one of the newest
	gone   bool    // it is not in the trash any more
	joined bool    // because it is a part of those before
}

// overwrites are what a batch took away, where that is nothing but old versions.
func (a *apply) overwrites() []lost {
	var list []lost
	for i, c := range a.changes {
		switch o := &a.outcomes[i]; {
		case !o.Done:
			return nil
		case c.From.Kind == tree.Absent || execOnly(c):
		case !overwrite(c.From, c.To) || a.staged[i].old == "":
			return nil
		default:
			list = append(list, lost{index: i, path: c.Path, from: c.From, to: c.To})
		}
	}
	return list
}

// overwrite is true where something takes a leaf's place.
func overwrite(from, to tree.Entry) bool {
	leaf := func(e tree.Entry) bool { return e.Kind == tree.File || e.Kind == tree.Symlink }
	return leaf(from) && leaf(to)
}

// thin notes a batch of overwrites, and joins those that are no longer among the
// newest of their paths. The caller holds changes.
func (f *Folder) thin(s *state, now *save) error {
	if now == nil {
		return nil
	}
	if s.saves == nil || len(s.saves) > maxSaved {
		s.saves = map[string][]*save{}
	}
	var old []*save
	for i, l := range now.list {
		all := s.saves[l.path]
		if n := len(all); n > 0 {
			now.before[i] = all[n-1]
		}
		all = append(all, now)
		if len(all) == keptSaves+joinedAtOnce {
			for _, o := range all[:joinedAtOnce] {
				if o.recent--; o.recent == 0 {
					old = append(old, o)
				}
			}
			all = slices.Delete(all, 0, joinedAtOnce)
		}
		s.saves[l.path] = all
	}
	return f.join(s, old)
}

// into are the saves that one can become a part of, for each of its paths; nil
// where it is to stay.
func (o *save) into() []*save {
	var into []*save
	for i, l := range o.list {
		at := o.before[i]
		for at != nil && at.joined {
			at = at.before[at.index(l.path)]
		}
		if at == nil || at.gone || o.made.Sub(at.made) >= savesApart || at.list[at.index(l.path)].to != l.from {
			return nil
		}
		into = append(into, at)
	}
	return into
}

func (o *save) index(path string) int {
	return slices.IndexFunc(o.list, func(l lost) bool { return l.path == path })
}

// join makes saves parts of those before: what they brought is what those brought,
// and what they took away goes.
func (f *Folder) join(s *state, saves []*save) error {
	changed := map[*save]bool{}
	for _, o := range saves {
		into := o.into()
		if o.joined = into != nil && !o.gone; !o.joined {
			o.before = nil // it stays
			continue
		}
		for i, at := range into {
			at.list[at.index(o.list[i].path)].to = o.list[i].to
			changed[at] = true
		}
	}
	for at := range changed {
		if at.joined {
			continue
		}
		if err := s.replaceFile(trashPath+"/"+at.name+"/"+manifestName, encodeManifest(at.list)); err != nil {
			return err
		}
	}
	for _, o := range saves {
		if o.joined {
			if err := f.discard(s, o.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// discard removes a batch from the trash. The caller holds changes.
func (f *Folder) discard(s *state, name string) error {
	if err := s.root.RemoveAll(trashPath + "/" + name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.trash, name, func(b batch, name string) int { return strings.Compare(b.name, name) })
	if found {
		s.held -= s.trash[i].bytes
		if o := s.trash[i].save; o != nil {
			o.gone = true
		}
		s.trash = slices.Delete(s.trash, i, i+1)
	}
	return nil
}

// prune drops batches until the rest is within the limits. The last one stays in
// any case. The caller holds changes.
func (f *Folder) prune(s *state) error {
	f.mu.Lock()
	names := s.excess(f.o)
	f.mu.Unlock()
	for _, name := range names {
		if err := f.discard(s, name); err != nil {
			return err
		}
	}
	return nil
}

// excess are the batches that are too many: what is too old, and of the rest old
// versions before what was deleted. The caller has mu.
func (s *state) excess(o Options) []string {
	var names []string
	total, left := s.held, len(s.trash)
	many := func() bool { return o.TrashBatches > 0 && left > o.TrashBatches }
	doomed := map[string]bool{}
	doom := func(b batch) {
		names = append(names, b.name)
		doomed[b.name] = true
		total, left = total-b.bytes, left-1
	}
	others := s.trash[:max(0, len(s.trash)-1)]
	for _, b := range others {
		if time.Since(b.made) <= o.TrashAge {
			break
		}
		doom(b)
	}
	for _, onlySaves := range []bool{true, false} {
		for i, b := range others {
			if total <= o.TrashBytes && !many() {
				return names
			}
			if !doomed[b.name] && (!onlySaves || b.overwrote && i < len(s.trash)-keptSaves) {
				doom(b)
			}
		}
	}
	return names
}

// What a batch takes of a disk beside the files' content: a folder and a manifest.
const (
	blockSize = 4 << 10
	batchCost = 2 * blockSize
)

// cost is what keeping an entry takes of a disk.
func cost(e tree.Entry) int64 {
	if e.Kind == tree.Dir || e.Kind == tree.Absent {
		return 0
	}
	return (e.Size + blockSize - 1) / blockSize * blockSize
}
