package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/progress"
)

// Blobs returns every blob in the store, by digest.
func (s *Store) Blobs() ([]Blob, error) {
	entries, err := os.ReadDir(s.blobs())
	if err != nil {
		return nil, s.fault("listing the image store", "", err)
	}
	blobs := make([]Blob, 0, len(entries))
	for _, e := range entries {
		digest, err := v1.NewHash("sha256:" + e.Name())
		if err != nil {
			continue // not ours
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, s.fault("listing the image store", "", err)
		}
		blobs = append(blobs, Blob{Digest: digest, Size: info.Size()})
	}
	return blobs, nil
}

// Pruned says what a prune removes or would remove.
type Pruned struct {
	Blobs   int
	Bytes   int64
	Records int // notes about content that is gone
}

// Unkept says what Prune would remove.
func (s *Store) Unkept(keep map[v1.Hash]bool) (Pruned, error) {
	return s.sweep(keep, func(string) error { return nil })
}

// Prune removes every blob that keep does not name, the records about them,
// and what cut-off writes left: in the store, and in the given scratch folders,
// which only those work in who hold the store. While anybody does, it fails and
// removes nothing.
func (s *Store) Prune(ctx context.Context, keep map[v1.Hash]bool, scratch ...string) (_ Pruned, err error) {
	release, err := s.alone()
	if err != nil {
		return Pruned{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, dir := range append([]string{s.tmp()}, scratch...) {
		if err := empty(dir); err != nil {
			return Pruned{}, s.fault("pruning the image store", dir, err)
		}
	}
	return s.sweep(keep, func(path string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return os.Remove(path)
	})
}

// empty removes what is in dir. A folder that nobody may write to, as the go
// command leaves them, is made writable first.
func empty(dir string) error {
	left, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range left {
		name := filepath.Join(dir, e.Name())
		if os.RemoveAll(name) == nil {
			continue
		}
		_ = filepath.WalkDir(name, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = os.Chmod(path, 0o700) //nolint:gosec // about to be removed
			}
			return err
		})
		if again := os.RemoveAll(name); again != nil {
			return again
		}
	}
	return err
}

func (s *Store) sweep(keep map[v1.Hash]bool, remove func(path string) error) (Pruned, error) {
	var done Pruned
	blobs, err := s.Blobs()
	if err != nil {
		return done, err
	}
	there := map[v1.Hash]bool{}
	for _, b := range blobs {
		if there[b.Digest] = keep[b.Digest]; keep[b.Digest] {
			continue
		}
		if err := remove(s.path(b.Digest)); err != nil {
			return done, s.fault("pruning the image store", b.Digest.String(), err)
		}
		done.Blobs++
		done.Bytes += b.Size
	}
	err = filepath.WalkDir(s.records(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || void(path, there) == nil {
			return err
		}
		done.Records++
		return remove(path)
	})
	return done, s.fault("pruning the image store", "", err)
}

// void says why the record at path no longer holds; nil where it does.
func void(path string, there map[v1.Hash]bool) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r, err := decodeRecord(raw)
	if err != nil {
		return err
	}
	for _, b := range r.Blobs {
		if !there[b] {
			return errors.New(b.String() + " is gone")
		}
	}
	return nil
}

// Verify reads every blob again and returns those that are not what their
// digest says. It changes nothing.
func (s *Store) Verify(ctx context.Context, sink progress.Sink) (bad []Blob, err error) {
	release, err := s.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	blobs, err := s.Blobs()
	if err != nil {
		return nil, err
	}
	var total int64
	for _, b := range blobs {
		total += b.Size
	}
	task := progress.Start(sink, "images/store/verify", "reading the image store", total, progress.Bytes)
	defer func() { task.End(err) }()
	for _, b := range blobs {
		err := s.check(ctx, b, task)
		switch {
		case errors.Is(err, images.ErrContent):
			bad = append(bad, b)
		case err != nil:
			return bad, s.fault("reading the image store", b.Digest.String(), err)
		}
	}
	return bad, nil
}

func (s *Store) check(ctx context.Context, b Blob, counter io.Writer) error {
	f, err := os.Open(s.path(b.Digest))
	if err != nil {
		return err
	}
	content := images.Verify(f, v1.Descriptor{Digest: b.Digest, Size: b.Size})
	_, err = io.Copy(counter, reader{ctx, content})
	return errors.Join(err, content.Close())
}

// Discard removes one blob, found to be damaged, so that it is made or fetched
// again.
func (s *Store) Discard(digest v1.Hash) error {
	if strings.ContainsAny(digest.Hex, "/.") || digest.Hex == "" {
		return s.fault("removing from the image store", digest.String(), fs.ErrInvalid)
	}
	err := os.Remove(s.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.fault("removing from the image store", digest.String(), err)
}
