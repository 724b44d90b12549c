package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
)

// Writer takes in content whose hash is not known before it ends. It belongs
// to one goroutine.
type Writer struct {
	store   *Store
	file    *os.File
	release func() error
	sha     hash.Hash
	want    sum
	other   hash.Hash // of want, where it is not a sha256
	size    int64
}

// Create starts new content. Where want is not empty, it must turn out to have
// that hash. Close must be called; without Commit before it, nothing is kept.
func (s *Store) Create(ctx context.Context, want string) (*Writer, error) {
	w := &Writer{store: s, sha: sha256.New()}
	if want != "" {
		var err error
		if w.want, err = parseSum(want); err != nil {
			return nil, err
		}
		if w.want.algorithm != "sha256" {
			w.other = w.want.new()
		}
	}
	release, err := s.Hold(ctx)
	if err != nil {
		return nil, err
	}
	w.release = release
	if w.file, err = os.CreateTemp(s.tmp(), "blob-*"); err != nil {
		return nil, errors.Join(s.fault("writing to the image store", "", err), release())
	}
	return w, nil
}

// Write takes in p.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.sha.Write(p[:n])
	if w.other != nil {
		w.other.Write(p[:n])
	}
	w.size += int64(n)
	if err != nil {
		return n, w.store.fault("writing to the image store", "", err)
	}
	return n, nil
}

// Commit checks what was written, keeps it and returns what it is.
func (w *Writer) Commit() (Blob, error) {
	raw := w.sha.Sum(nil)
	blob := Blob{Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(raw)}, Size: w.size}
	got := raw
	if w.other != nil {
		got = w.other.Sum(nil)
	}
	if w.want.text != "" && !bytes.Equal(got, []byte(w.want.want)) {
		return Blob{}, fmt.Errorf("%w: wanted %s, got %s:%x of %d bytes", images.ErrContent, w.want.text, w.want.algorithm, got, w.size)
	}
	if err := errors.Join(w.file.Chmod(0o444), w.file.Sync()); err != nil {
		return Blob{}, w.store.fault("writing to the image store", blob.Digest.String(), err)
	}
	if err := os.Rename(w.file.Name(), w.store.path(blob.Digest)); err != nil {
		return Blob{}, w.store.fault("writing to the image store", blob.Digest.String(), err)
	}
	if w.other != nil {
		return blob, w.store.SetRecord(aliasKind, w.want.text, blob.Digest, blob.Digest)
	}
	return blob, nil
}

// Close ends the writing and drops what was not committed.
func (w *Writer) Close() error {
	err := w.file.Close()
	if rm := os.Remove(w.file.Name()); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return errors.Join(err, w.release())
}
