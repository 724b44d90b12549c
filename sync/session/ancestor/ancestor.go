// Package ancestor keeps on disk what the two sides of a sync session last
// agreed on: the third tree of a three-way merge. A file holds it as records, a
// snapshot's and then what came after; a record counts only when it is whole.
// What is on disk may be older than the truth, never newer: whoever adds to it
// has made durable what it says first.
package ancestor

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/tree"
)

// Pair names two folders that agree.
type Pair struct {
	Local, Remote string // their identities; see endpoint.Info
	Place         string // the container that the remote one was in
	Where         string // whose pod that was, and which folder: as a person said it
}

// Agreed is what the two folders of a pair agreed on.
type Agreed struct {
	Tree *tree.Tree
	// Gone are paths that both have deleted: where they come back with a new
	// container's image, they are old.
	Gone map[string]bool
}

// MaxGone is how many paths are remembered as deleted: those of a large branch
// that another one was switched to, and of no more than maxGoneBytes each, so that
// a pod can't have this machine remember what it likes.
const (
	MaxGone      = 100_000
	maxGoneBytes = 256
)

// Put makes a path hold an entry. It is false where its folder is not there.
func (a *Agreed) Put(path string, e tree.Entry) bool {
	was := a.Tree.Get(path)
	if a.Tree.Put(path, e) != nil {
		return false
	}
	switch {
	case e.Kind != tree.Absent:
		delete(a.Gone, path)
	case was.Kind != tree.Absent:
		a.gone(path)
	}
	return true
}

// gone remembers a path as deleted.
func (a *Agreed) gone(path string) {
	if len(a.Gone) < MaxGone && len(path) <= maxGoneBytes {
		a.Gone[path] = true
	}
}

// Clone returns a copy of its own.
func (a *Agreed) Clone() *Agreed { return &Agreed{Tree: a.Tree.Clone(), Gone: maps.Clone(a.Gone)} }

// Ever is the tree with what is gone, which counts as folders.
func (a *Agreed) Ever() *tree.Tree {
	t := a.Tree.Clone()
	for path := range a.Gone {
		for i := range len(path) + 1 {
			if (i == len(path) || path[i] == '/') && t.Get(path[:i]).Kind == tree.Absent {
				_ = t.Put(path[:i], tree.Entry{Kind: tree.Dir}) // below a file nothing is
			}
		}
	}
	return t
}

// Nothing is what two folders agreed on that never met.
func Nothing() *Agreed { return &Agreed{Tree: &tree.Tree{}, Gone: map[string]bool{}} }

// Names of what is in the store's folder.
const (
	suffix  = ".ancestor"
	current = "current" // holds the name of the file that was used last
	keep    = 16        // files of pairs that are remembered
)

// Store is a folder with the ancestors of one session, one for each pair of
// folders that it joined. Begin, Add, Long and Close are called by one goroutine
// at a time.
type Store struct {
	dir string

	pair Pair
	name string
	file *os.File // to append to
	size int64    // of the file
	base int64    // of its snapshot
}

// Open opens the store in a folder, which it makes.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, contents), 0o700); err != nil {
		return nil, &fault.Error{Op: "opening what the session knows", Subject: dir, Err: err}
	}
	return &Store{dir: dir}, nil
}

// Load returns what the two folders of a pair agreed on; false where nothing is
// known of them. A file that can't be read counts as none.
func (s *Store) Load(p Pair) (*Agreed, bool) {
	got, t, err := read(filepath.Join(s.dir, nameOf(p)))
	if err != nil || got.Local != p.Local || got.Remote != p.Remote {
		return nil, false
	}
	return t, true
}

// Last returns the pair that the session used last, and what it agreed on.
func (s *Store) Last() (Pair, *Agreed, bool) {
	name, err := os.ReadFile(filepath.Join(s.dir, current))
	if err != nil || strings.ContainsRune(string(name), filepath.Separator) {
		return Pair{}, nil, false
	}
	p, t, err := read(filepath.Join(s.dir, string(name)))
	return p, t, err == nil
}

// Begin makes a pair the one that Add is about, with what it agrees on now.
func (s *Store) Begin(p Pair, t *Agreed) error {
	if err := s.Close(); err != nil {
		return err
	}
	s.pair, s.name = p, nameOf(p)
	if err := s.snapshot(t); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.dir, current), []byte(s.name), 0o600); err != nil {
		return s.fault(err)
	}
	return s.prune()
}

// Add writes down what the pair agrees on since. After an error, Begin must be
// called again.
func (s *Store) Add(changes []tree.Change) error {
	if s.file == nil {
		return s.fault(errors.New("nothing was begun"))
	}
	var b bytes.Buffer
	if err := writeEntries(&b, func(put func(string, tree.Entry) error) error {
		for _, c := range changes {
			if err := put(c.Path, c.To); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return s.fault(err)
	}
	n, err := s.file.Write(b.Bytes())
	s.size += int64(n)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// What is behind half a record would never be read.
		return s.fault(errors.Join(err, s.Close()))
	}
	return nil
}

// Long reports whether so much was added that Begin should be called again.
func (s *Store) Long() bool { return s.size > 2*s.base+1<<20 }

// Close lets go of the file.
func (s *Store) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if err != nil {
		return s.fault(err)
	}
	return nil
}

// snapshot writes the file anew.
func (s *Store) snapshot(t *Agreed) error {
	if err := s.Close(); err != nil {
		return err
	}
	path := filepath.Join(s.dir, s.name)
	err := atomicfile.WriteFrom(path, 0o600, func(w io.Writer) error {
		to := bufio.NewWriterSize(w, 1<<16)
		if err := writeHead(to, s.pair); err != nil {
			return err
		}
		if err := writeEntries(to, t.walk); err != nil {
			return err
		}
		return to.Flush()
	})
	if err == nil {
		s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // a file of this store
	}
	if err != nil {
		return s.fault(err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return s.fault(err)
	}
	s.size, s.base = info.Size(), info.Size()
	return nil
}

func (s *Store) fault(err error) error {
	return &fault.Error{Op: "writing down what both sides agreed on", Subject: s.dir, Err: err}
}

// prune forgets the pairs that were not used for longest.
func (s *Store) prune() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return s.fault(err)
	}
	var files []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasSuffix(e.Name(), suffix) && e.Name() != s.name {
			files = append(files, info)
		}
	}
	if len(files) < keep {
		return nil
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range files[keep-1:] {
		if err := os.Remove(filepath.Join(s.dir, info.Name())); err != nil {
			return s.fault(err)
		}
	}
	return nil
}

func nameOf(p Pair) string {
	sum := sha256.Sum256([]byte(p.Local + "\x00" + p.Remote))
	return hex.EncodeToString(sum[:16]) + suffix
}

// read reads a file up to the first record that is not whole.
func read(path string) (Pair, *Agreed, error) {
	f, err := os.Open(path) //nolint:gosec // a file of this store
	if err != nil {
		return Pair{}, nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	p, t, err := decode(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return Pair{}, nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return p, t, nil
}
