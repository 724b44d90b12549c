package folder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// Fetch implements endpoint.Fetcher. Only what is part of the tree can be had.
func (f *Folder) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	root := f.root()
	if root == nil {
		return &fetchFault{endpoint.ErrRootGone}
	}
	var buffer []byte
	for i, w := range wants {
		if err := ctx.Err(); err != nil {
			return err
		}
		if buffer == nil {
			buffer = make([]byte, block)
		}
		r := &reading{f: f, root: root, want: w, buffer: buffer, put: func(p endpoint.Piece) error { return put(i, p) }}
		err := r.all(ctx)
		var stopped *stop
		switch {
		case errors.As(err, &stopped):
			return stopped.err
		case err != nil:
			if err := put(i, endpoint.Piece{Err: err}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchFault is an error of all of a Fetch.
type fetchFault struct{ err error }

func (e *fetchFault) Error() string { return "reading files: " + e.err.Error() }
func (e *fetchFault) Unwrap() error { return e.err }

// stop is put's error, which ends it.
type stop struct{ err error }

func (s *stop) Error() string { return s.err.Error() }

// reading is the reading of one file.
type reading struct {
	f      *Folder
	root   *beneath.Root
	want   endpoint.Want
	buffer []byte
	put    func(endpoint.Piece) error
}

func (r *reading) send(p endpoint.Piece) error {
	if err := r.put(p); err != nil {
		return &stop{err}
	}
	return nil
}

// all sends the file. It looks at the file before and after, so that what was
// sent is what was wanted; the other side makes sure of it, too.
func (r *reading) all(ctx context.Context) error {
	w := r.want
	if w.Entry.Kind != tree.File {
		return fmt.Errorf("%w: the content of a %v", endpoint.ErrRefused, w.Entry.Kind)
	}
	if w.Path == "" {
		return endpoint.ErrRefused
	}
	if err := r.f.allowed(w.Path, false); err != nil {
		return err
	}
	file, before, err := r.root.Open(w.Path)
	switch {
	case gone(err) || errors.Is(err, beneath.ErrNotRegular):
		return fmt.Errorf("%w: %w", endpoint.ErrChanged, err)
	case err != nil:
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if before.Size > r.f.o.Caps.FileBytes {
		return fmt.Errorf("%w: %d bytes are more than the %d that are allowed", endpoint.ErrRefused, before.Size, r.f.o.Caps.FileBytes)
	}
	if before.Size != w.Entry.Size {
		return endpoint.ErrChanged
	}
	stamp := stampOf(before, time.Now())
	r.f.mu.Lock()
	known, was := r.f.known.Get(w.Path), r.f.stamps[w.Path]
	r.f.mu.Unlock()
	sure := was.sure && was.same(stamp)
	if sure && (known.Digest != w.Entry.Digest) {
		return endpoint.ErrChanged
	}
	if w.Entry.Size >= chunk.Threshold && len(w.Have) > 0 {
		return r.chunks(ctx, file, stamp, sure)
	}
	return r.stream(ctx, file, stamp, sure)
}

// stream sends all of it.
func (r *reading) stream(ctx context.Context, file *os.File, stamp stamp, sure bool) error {
	var sum hash.Hash
	if !sure {
		sum = sha256.New()
	}
	for left := r.want.Entry.Size; ; {
		if err := ctx.Err(); err != nil {
			return &stop{err}
		}
		n, err := io.ReadFull(file, r.buffer[:min(left, int64(len(r.buffer)))])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return endpoint.ErrChanged
		}
		if err != nil {
			return err
		}
		if sum != nil {
			sum.Write(r.buffer[:n])
		}
		if left -= int64(n); left == 0 {
			if err := r.same(file, stamp, sum); err != nil {
				return err
			}
			return r.send(endpoint.Piece{Data: r.buffer[:n], Last: true})
		}
		if err := r.send(endpoint.Piece{Data: r.buffer[:n]}); err != nil {
			return err
		}
	}
}

// same makes sure that what was read is what was wanted.
func (r *reading) same(file *os.File, stamp stamp, sum hash.Hash) error {
	after, err := beneath.StatFile(file)
	if err != nil {
		return err
	}
	if !stamp.is(after) || sum != nil && tree.Digest(sum.Sum(nil)) != r.want.Entry.Digest {
		return endpoint.ErrChanged
	}
	return nil
}

// chunks sends what the asker lacks, and names the rest.
func (r *reading) chunks(ctx context.Context, file *os.File, stamp stamp, sure bool) error {
	there := make(map[chunk.ID]bool, len(r.want.Have))
	for _, id := range r.want.Have {
		there[id] = true
	}
	send := func(c chunk.Chunk, data []byte) error {
		if err := ctx.Err(); err != nil {
			return &stop{err}
		}
		if there[c.ID] {
			return r.send(endpoint.Piece{Chunk: c.ID})
		}
		return r.send(endpoint.Piece{Data: data})
	}
	if list := r.f.lists.get(r.want.Entry.Digest); list != nil && sure {
		buffer := make([]byte, chunk.MaxSize)
		for _, c := range list {
			data := buffer[:c.Size]
			if !there[c.ID] {
				if _, err := file.ReadAt(data, c.Offset); err != nil && !errors.Is(err, io.EOF) {
					return err
				}
			}
			if err := send(c, data); err != nil {
				return err
			}
		}
		return r.last(file, stamp, nil)
	}
	sum := sha256.New()
	var list []chunk.Chunk
	if err := chunk.Cut(io.TeeReader(file, sum), func(c chunk.Chunk, data []byte) error {
		list = append(list, c)
		return send(c, data)
	}); err != nil {
		return err
	}
	if tree.Digest(sum.Sum(nil)) == r.want.Entry.Digest {
		r.f.lists.put(r.want.Entry.Digest, list)
	}
	return r.last(file, stamp, sum)
}

func (r *reading) last(file *os.File, stamp stamp, sum hash.Hash) error {
	if err := r.same(file, stamp, sum); err != nil {
		return err
	}
	return r.send(endpoint.Piece{Last: true})
}
