package ancestor

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/tree"
)

// contents is the folder of contents that both sides agreed on, by digest: what
// a merge of two notebooks needs.
const contents = "contents"

// Limits of the contents that are kept.
const (
	MaxContent  = 16 << 20  // bytes of one
	maxContents = 256 << 20 // bytes of all; those used longest ago go first
)

// Has reports whether a content is kept.
func (s *Store) Has(d tree.Digest) bool {
	_, err := os.Stat(s.content(d))
	return err == nil
}

// Content returns a content that is kept.
func (s *Store) Content(d tree.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.content(d))
	if err != nil {
		return nil, s.fault(err)
	}
	if sha256.Sum256(b) != d {
		return nil, s.fault(errors.Join(errCorrupt, os.Remove(s.content(d))))
	}
	return b, nil
}

// Keep keeps a content.
func (s *Store) Keep(b []byte) error {
	if len(b) > MaxContent {
		return nil
	}
	if err := atomicfile.Write(s.content(sha256.Sum256(b)), b, 0o600); err != nil {
		return s.fault(err)
	}
	return s.pruneContents()
}

func (s *Store) content(d tree.Digest) string { return filepath.Join(s.dir, contents, d.String()) }

func (s *Store) pruneContents() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, contents))
	if err != nil {
		return s.fault(err)
	}
	var files []fs.FileInfo
	var sum int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
			sum += info.Size()
		}
	}
	if sum <= maxContents {
		return nil
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range files {
		if sum <= maxContents {
			break
		}
		if err := os.Remove(filepath.Join(s.dir, contents, info.Name())); err != nil {
			return s.fault(err)
		}
		sum -= info.Size()
	}
	return nil
}
