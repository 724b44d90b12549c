package folder

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/tree"
)

// record is what the index keeps of a file.
type record struct {
	entry tree.Entry
	stamp stamp
}

const (
	indexHeader = "kfdev-sync-index 1\n"
	maxIndex    = 1 << 30 // bytes
)

// encodeIndex writes records by path. Each path is what it shares with the one
// before and the rest.
func encodeIndex(records map[string]record) []byte {
	paths := make([]string, 0, len(records))
	for path := range records {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	e := &encoder{b: make([]byte, 0, len(indexHeader)+100*len(paths))}
	e.b = append(e.b, indexHeader...)
	e.uint(uint64(len(paths)))
	before := ""
	for _, path := range paths {
		r := records[path]
		n := shared(before, path)
		e.uint(uint64(n)) //nolint:gosec // a length
		e.string(path[n:])
		e.entry(r.entry)
		e.int(r.stamp.mtime)
		e.int(r.stamp.ctime)
		e.uint(r.stamp.inode)
		e.uint(uint64(r.stamp.size)) //nolint:gosec // a size
		sure := uint64(0)
		if r.stamp.sure {
			sure = 1
		}
		e.uint(sure)
		before = path
	}
	return e.sealed()
}

func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// decodeIndex is the reverse of encodeIndex.
func decodeIndex(b []byte) (map[string]record, error) {
	d, err := unseal(b, indexHeader)
	if err != nil {
		return nil, err
	}
	count := d.uint()
	const least = 40 // bytes of a record
	if count > uint64(len(d.b)/least) {
		return nil, errDamaged
	}
	records := make(map[string]record, count)
	before := ""
	for range count {
		n := d.uint()
		if n > uint64(len(before)) {
			return nil, errDamaged
		}
		path := before[:n] + d.string()
		r := record{entry: d.entry()}
		r.stamp.mtime, r.stamp.ctime, r.stamp.inode = d.int(), d.int(), d.uint()
		size, sure := d.uint(), d.uint()
		r.stamp.size, r.stamp.sure = int64(size), sure == 1 //nolint:gosec // checked below
		if d.bad || size>>62 != 0 || sure > 1 || r.entry.Kind != tree.File || path <= before || tree.CheckPath(path) != nil {
			return nil, errDamaged
		}
		records[path] = r
		before = path
	}
	return records, d.end()
}

// below yields what of the index is below a folder.
func below(records map[string]record, dir string, visit func(path string, r record)) {
	prefix := dir + "/"
	for path, r := range records {
		if dir == "" || strings.HasPrefix(path, prefix) {
			visit(path, r)
		}
	}
}

// loadIndex reads the index. What is not there or damaged is empty: it only
// spares work.
func (f *Folder) loadIndex(s *state) map[string]record {
	var b []byte
	var err error
	if f.o.Cache == "" {
		b, err = s.readFile(indexPath, maxIndex)
	} else {
		b, err = os.ReadFile(f.o.Cache)
	}
	if err != nil {
		return nil
	}
	records, err := decodeIndex(b)
	if err != nil {
		return nil
	}
	return records
}

// saveIndex writes what is known now. It is not synced: after a power cut that
// left half of it, the checksum tells.
func (f *Folder) saveIndex() {
	f.mu.Lock()
	s := f.state
	if s == nil || len(f.stamps) == 0 {
		f.mu.Unlock()
		return
	}
	records := make(map[string]record, len(f.stamps))
	for path, stamp := range f.stamps {
		if e := f.known.Get(path); e.Kind == tree.File && e.Digest != (tree.Digest{}) {
			records[path] = record{entry: e, stamp: stamp}
		}
	}
	f.mu.Unlock()
	b := encodeIndex(records)
	var err error
	if f.o.Cache == "" {
		err = s.replaceFile(indexPath, b)
	} else {
		err = atomicfile.Write(f.o.Cache, b, 0o600)
	}
	if err != nil {
		f.mu.Lock()
		f.notes.add(noteNoIndex, "the index of the folder")
		f.mu.Unlock()
	}
}

// replaceFile writes a file of the state in one step.
func (s *state) replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	if err := s.root.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := s.root.Create(fresh, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(s.root.Write(file, data, 0), file.Close()); err != nil {
		return errors.Join(err, s.root.Remove(fresh))
	}
	return s.root.Rename(fresh, path, 0)
}
