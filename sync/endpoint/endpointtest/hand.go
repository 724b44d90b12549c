package endpointtest

import (
	"crypto/sha256"
	"testing"

	"github.com/kfdev/kfdev/sync/tree"
)

// Hand is somebody else than a session who changes a folder: a person, a
// program.
type Hand interface {
	// Write makes or replaces a file, with the folders above it.
	Write(tb testing.TB, path string, data []byte, exec bool)
	Mkdir(tb testing.TB, path string)
	Link(tb testing.TB, target, path string)
	// Remove removes a path with all that is below it; "" is the root.
	Remove(tb testing.TB, path string)
	// Look is what really is there, without what is the endpoint's own.
	Look(tb testing.TB) *tree.Tree
	Read(tb testing.TB, path string) []byte
}

// FileEntry is the entry of a file with a content.
func FileEntry(data []byte, exec bool) tree.Entry {
	return tree.Entry{Kind: tree.File, Exec: exec, Size: int64(len(data)), Digest: sha256.Sum256(data)}
}

// Write implements Hand.
func (m *Memory) Write(tb testing.TB, path string, data []byte, exec bool) {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range []byte(path) {
		if b == '/' && m.disk.Get(path[:i]).Kind != tree.Dir {
			m.put(path[:i], tree.Entry{Kind: tree.Dir}, nil)
		}
	}
	m.put(path, FileEntry(data, exec), data)
	m.tell()
}

// Mkdir implements Hand.
func (m *Memory) Mkdir(tb testing.TB, path string) {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(path, tree.Entry{Kind: tree.Dir}, nil)
	m.tell()
}

// Link implements Hand.
func (m *Memory) Link(tb testing.TB, target, path string) {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(path, tree.Entry{Kind: tree.Symlink, Target: target}, nil)
	m.tell()
}

// Remove implements Hand.
func (m *Memory) Remove(tb testing.TB, path string) {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(path, tree.Entry{}, nil)
	m.tell()
}

// Look implements Hand.
func (m *Memory) Look(tb testing.TB) *tree.Tree {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disk.Clone()
}

// Read implements Hand.
func (m *Memory) Read(tb testing.TB, path string) []byte {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data[path]
}
