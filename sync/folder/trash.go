package folder

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// batch is what the changes of one Apply took away: a folder in the trash with
// the old content, each under the number of its change, and a manifest. The
// manifest is written before the first change is made, and a batch that was cut
// off may hold what was to come instead of what was there: whoever uses the old
// content looks whether it is that.
type batch struct {
	name      string
	bytes     int64 // that it takes of a disk
	made      time.Time
	used      bool  // Undo has brought back what of it could be
	overwrote bool  // it has nothing but old versions
	save      *save // see thin
}

// batchTime is how batches are named.
const batchTime = "20060102T150405.000000"

const (
	manifestName   = "manifest"
	undoneName     = "undone" // of a manifest that was used
	manifestHeader = "kfdev-sync-trash 1\n"
	maxManifest    = 1 << 30
)

// lost is one path that a batch takes something away from.
type lost struct {
	index    int
	path     string
	from, to tree.Entry
	mode     uint32 // of a folder
}

func encodeManifest(list []lost) []byte {
	e := &encoder{b: []byte(manifestHeader)}
	e.uint(uint64(len(list)))
	for _, l := range list {
		e.uint(uint64(l.index)) //nolint:gosec // an index
		e.string(l.path)
		e.entry(l.from)
		e.entry(l.to)
		e.uint(uint64(l.mode))
	}
	return e.sealed()
}

func decodeManifest(b []byte) ([]lost, error) {
	d, err := unseal(b, manifestHeader)
	if err != nil {
		return nil, err
	}
	count := d.uint()
	const least = 6 // bytes of an entry
	if count > uint64(len(d.b)/least) {
		return nil, errDamaged
	}
	list := make([]lost, 0, count)
	for range count {
		index := d.uint()
		l := lost{path: d.string(), from: d.entry(), to: d.entry()}
		mode := d.uint()
		if d.bad || index > maxManifest || mode > 0o777 || l.path == "" || tree.CheckPath(l.path) != nil || l.from.Kind == tree.Absent {
			return nil, errDamaged
		}
		l.index, l.mode = int(index), uint32(mode)
		list = append(list, l)
	}
	return list, d.end()
}

// intend writes down what the changes take away, and makes what was staged a
// batch of the trash. What can't be written down is not taken away.
func (a *apply) intend() {
	var list []lost
	for i, c := range a.changes {
		if o := &a.outcomes[i]; o.Err != nil || o.Done || c.From.Kind == tree.Absent || execOnly(c) {
			continue
		}
		l := lost{index: i, path: c.Path, from: c.From, to: c.To}
		if c.From.Kind == tree.Dir {
			if st, err := a.root.Stat(c.Path); err == nil {
				l.mode = st.Mode & 0o777
			}
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return
	}
	if err := a.writeDown(list); err != nil {
		for _, l := range list {
			a.outcomes[l.index].Err = err
		}
	}
}

func (a *apply) writeDown(list []lost) error {
	if err := a.ready(); err != nil {
		return err
	}
	root, name := a.root, a.base+"/"+manifestName
	file, err := root.Create(name, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(root.Write(file, encodeManifest(list), 0), file.Close())
	if err == nil {
		batch := a.f.batchName(a.state)
		if err = root.Rename(a.base, trashPath+"/"+batch, beneath.Replace); err == nil {
			a.root.Forget(a.base)
			a.batch, a.base = batch, trashPath+"/"+batch
			a.root.Keep(a.base)
			return nil
		}
	}
	return errors.Join(err, root.Remove(name))
}

// batchName is later than all others.
func (f *Folder) batchName(s *state) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().UTC()
	name := now.Format(batchTime)
	if n := len(s.trash); n > 0 && name <= s.trash[n-1].name {
		if last, err := time.Parse(batchTime, s.trash[n-1].name); err == nil {
			name = last.Add(time.Microsecond).Format(batchTime)
		}
	}
	return name
}

// loadTrash finds what earlier runs left.
func (s *state) loadTrash() error {
	names, err := s.root.Names(trashPath, 1<<20)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		made, err := time.Parse(batchTime, name)
		if err != nil {
			continue // none of ours
		}
		b := batch{name: name, made: made, bytes: batchCost}
		list, used, err := s.manifest(name)
		b.used, b.overwrote = used, !used
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged):
			if err := s.root.RemoveAll(trashPath + "/" + name); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		for _, l := range list {
			b.bytes += cost(l.from)
			b.overwrote = b.overwrote && overwrite(l.from, l.to)
		}
		s.trash, s.held = append(s.trash, b), s.held+b.bytes
	}
	return nil
}

// undoable are the names of batches that Undo can bring back, the newest last.
func (s *state) undoable() []string {
	var names []string
	for _, b := range slices.Backward(s.trash) {
		if !b.used && len(names) < endpoint.MaxBatches {
			names = append(names, b.name)
		}
	}
	slices.Reverse(names)
	return names
}

// manifest reads a batch's manifest, and says whether it was used.
func (s *state) manifest(name string) (list []lost, used bool, err error) {
	b, err := s.readFile(trashPath+"/"+name+"/"+manifestName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		used = true
		b, err = s.readFile(trashPath+"/"+name+"/"+undoneName, maxManifest)
	}
	if err != nil {
		return nil, used, err
	}
	list, err = decodeManifest(b)
	return list, used, err
}
