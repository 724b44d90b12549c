// Package store keeps content by its hash in a folder: image layers, configs
// and manifests, and what images are made of. What is in it was checked on the
// way in; it is written to a temporary file, synced and renamed, so that a
// crash, a full disk or a second process never leaves half of anything.
//
//	blobs/sha256/HEX      content
//	records/KIND/HEX.json small notes that hold as long as their blobs do
//	tmp/                  what is being written
//	lock                  held shared by who works with the store, alone by prune
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/internal/fault"
)

// Store is a folder of content. Its methods may be called from several
// goroutines and several processes at once.
type Store struct {
	dir string
}

// Blob is content in the store.
type Blob struct {
	Digest v1.Hash // sha256
	Size   int64   // bytes
}

// Open returns the store in dir, which is made when it is not there.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	for _, sub := range []string{s.blobs(), s.tmp(), s.records()} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, s.fault("opening the image store", "", err)
		}
	}
	return s, nil
}

// Dir returns the folder the store lies in.
func (s *Store) Dir() string { return s.dir }

func (s *Store) blobs() string   { return filepath.Join(s.dir, "blobs", "sha256") }
func (s *Store) tmp() string     { return filepath.Join(s.dir, "tmp") }
func (s *Store) records() string { return filepath.Join(s.dir, "records") }

func (s *Store) path(digest v1.Hash) string { return filepath.Join(s.blobs(), digest.Hex) }

// Has reports whether content with the hash is there. A hash is written
// algorithm:hex or algorithm-base64, as recipe.Input has it.
func (s *Store) Has(_ context.Context, hash string) (bool, error) {
	_, found, err := s.Find(hash)
	return found, err
}

// Find returns the blob with the hash, and whether there is one.
func (s *Store) Find(hash string) (Blob, bool, error) {
	want, err := parseSum(hash)
	if err != nil {
		return Blob{}, false, err
	}
	digest, ok := want.digest()
	if !ok {
		if found, err := s.Record(aliasKind, want.text, &digest); !found || err != nil {
			return Blob{}, false, err
		}
	}
	info, err := os.Stat(s.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return Blob{}, false, nil
	}
	if err != nil {
		return Blob{}, false, s.fault("looking into the image store", hash, err)
	}
	return Blob{Digest: digest, Size: info.Size()}, true, nil
}

// Open opens the content with the hash for reading and seeking; the caller
// closes it. Content that is not there is a fault of kind NotFound. It was
// checked when it came in; Verify checks it again.
func (s *Store) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	blob, found, err := s.Find(hash)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &fault.Error{Op: "opening content of the image store", Subject: hash, Kind: fault.NotFound, Err: fs.ErrNotExist}
	}
	f, err := os.Open(s.path(blob.Digest))
	if err != nil {
		return nil, s.fault("opening content of the image store", hash, err)
	}
	return f, nil
}

// Put takes in content; it fails, and keeps nothing, unless hash is its hash.
// Content that is there already is not read.
func (s *Store) Put(ctx context.Context, hash string, content io.Reader) error {
	if found, err := s.Has(ctx, hash); found || err != nil {
		return err
	}
	w, err := s.Create(ctx, hash)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, reader{ctx, content}); err != nil {
		return errors.Join(s.fault("writing to the image store", hash, err), w.Close())
	}
	_, err = w.Commit()
	return errors.Join(err, w.Close())
}

// reader ends when its context does.
type reader struct {
	ctx  context.Context // lives for one copy
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// fault wraps err, with the way out where the disk is full.
func (s *Store) fault(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if subject == "" {
		subject = s.dir
	}
	f := &fault.Error{Op: op, Subject: subject, Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		f.Kind = fault.Preflight
		f.Hint = fmt.Sprintf("free space on the disk that holds %s, with kfdev images prune or otherwise; nothing in the store was lost", s.dir)
	}
	return f
}
