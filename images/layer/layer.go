// Package layer writes image layers that depend on nothing but their content:
// entries in a fixed order, with fixed owners, modes and times.
package layer

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Type is what an entry is.
type Type byte

// The types of entries.
const (
	File Type = iota
	Dir
	Symlink
	Hardlink
	// Removed is a name that the layers below have, and that is not there any more.
	Removed
)

// Entry is one name in a layer.
type Entry struct {
	Path string // clean, relative to the root, without a leading slash
	Type Type
	Mode fs.FileMode // permission bits with setuid, setgid and sticky as fs.FileMode has them
	UID  int
	GID  int
	Link string                        // target of a symlink (any text) or hard link (a Path in the same layer)
	Size int64                         // of a file, bytes
	Open func() (io.ReadCloser, error) // content of a file; called once per write of the layer
}

// Tree gathers the entries of one layer. The zero Tree is empty and ready. It
// is not safe for concurrent use. Whoever is done with it calls Close.
type Tree struct {
	entries map[string]Entry
	beneath string // see Beneath
	release []func() error
}

// Beneath says that the folders above dir are those of the image that the layer
// goes on: they are not put in, since a folder in a layer takes the place of the
// owner and the mode that it had (OCI image specification 1.1, layer.md).
func (t *Tree) Beneath(dir string) { t.beneath = dir }

// above reports whether a folder is one that the image below has.
func (t *Tree) above(dir string) bool { return strings.HasPrefix(t.beneath, dir+"/") }

// Add puts an entry in. The same folder may be added again (the last mode and
// owner win); any other name twice is an error, as is a path that is not clean
// or leaves the root.
func (t *Tree) Add(e Entry) error {
	if e.Path == "" || e.Path == "." || path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || e.Path == ".." || strings.HasPrefix(e.Path, "../") {
		return fmt.Errorf("layer path %q is not a clean path below the root", e.Path)
	}
	if old, ok := t.entries[e.Path]; ok && (old.Type != Dir || e.Type != Dir) {
		return fmt.Errorf("layer path %q comes twice", e.Path)
	}
	t.Replace(e)
	return nil
}

// Replace puts an entry in, in place of one of the same path if there is one.
func (t *Tree) Replace(e Entry) {
	if t.entries == nil {
		t.entries = map[string]Entry{}
	}
	t.entries[e.Path] = e
}

// AddBytes adds a file owned by root with the given content.
func (t *Tree) AddBytes(name string, mode fs.FileMode, content []byte) error {
	return t.Add(Entry{Path: name, Type: File, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}})
}

// AddLink adds a symlink owned by root.
func (t *Tree) AddLink(name, target string) error {
	return t.Add(Entry{Path: name, Type: Symlink, Mode: 0o777, Link: target})
}

// Remove takes out the entry at name and everything below it.
func (t *Tree) Remove(name string) {
	for p := range t.entries {
		if p == name || strings.HasPrefix(p, name+"/") {
			delete(t.entries, p)
		}
	}
}

// Get returns the entry at name.
func (t *Tree) Get(name string) (Entry, bool) {
	e, ok := t.entries[name]
	return e, ok
}

// Entries returns every entry in path order, with the parent folders that were
// not added (root's, 0755) put in, but for those of Beneath.
func (t *Tree) Entries() []Entry {
	all := make(map[string]Entry, len(t.entries))
	for p, e := range t.entries {
		all[p] = e
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, ok := t.entries[dir]; ok || t.above(dir) {
				continue
			}
			all[dir] = Entry{Path: dir, Type: Dir, Mode: 0o755}
		}
	}
	out := make([]Entry, 0, len(all))
	for _, e := range all {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return out
}
