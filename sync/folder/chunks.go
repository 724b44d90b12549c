package folder

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// lists remembers how large files are cut.
type lists struct {
	mu    sync.Mutex
	of    map[tree.Digest][]chunk.Chunk
	order []tree.Digest // least lately made first
	total int           // chunks
}

// maxListed is how many chunks are remembered: of 16 GiB of content, in 12 MiB
// of memory.
const maxListed = 1 << 18

func (l *lists) get(d tree.Digest) []chunk.Chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[d]
}

func (l *lists) put(d tree.Digest, list []chunk.Chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.of[d]; known || len(list) > maxListed {
		return
	}
	if l.of == nil {
		l.of = map[tree.Digest][]chunk.Chunk{}
	}
	l.of[d] = list
	l.order = append(l.order, d)
	for l.total += len(list); l.total > maxListed; {
		oldest := l.order[0]
		l.total -= len(l.of[oldest])
		delete(l.of, oldest)
		l.order = slices.Delete(l.order, 0, 1)
	}
}

// have is a file here whose chunks need not be fetched.
type have struct {
	file   *os.File
	list   []chunk.Chunk
	chunks map[chunk.ID]chunk.Chunk
	buffer []byte
}

// have opens what a change replaces, where that is large; nil where it is not,
// or can't be read.
func (a *apply) have(ctx context.Context, c tree.Change) *have {
	if c.From.Kind != tree.File || c.From.Size < chunk.Threshold || c.To.Size < chunk.Threshold {
		return nil
	}
	file, _, err := a.state.root.Open(c.Path)
	if err != nil {
		return nil
	}
	list := a.f.lists.get(c.From.Digest)
	if list == nil {
		err = chunk.Cut(file, func(c chunk.Chunk, _ []byte) error {
			list = append(list, c)
			return ctx.Err()
		})
		if err != nil {
			_ = file.Close()
			return nil
		}
		// Where the file has changed it is not the list of this digest, which costs
		// transfers and harms nothing else: the digest of the whole is checked.
		a.f.lists.put(c.From.Digest, list)
	}
	h := &have{file: file, list: list, chunks: make(map[chunk.ID]chunk.Chunk, len(list))}
	for _, c := range list {
		h.chunks[c.ID] = c
	}
	return h
}

func (h *have) ids() []chunk.ID {
	ids := make([]chunk.ID, 0, len(h.chunks))
	for _, c := range h.list {
		if h.chunks[c.ID].Offset == c.Offset {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// read returns a chunk's bytes, valid until the next call. Whether they still are
// those of the chunk is seen by the digest of the whole.
func (h *have) read(id chunk.ID) ([]byte, error) {
	if h == nil {
		return nil, fmt.Errorf("%w: a chunk of a file that has none", endpoint.ErrRefused)
	}
	c, ok := h.chunks[id]
	if !ok {
		return nil, fmt.Errorf("%w: a chunk that was not offered", endpoint.ErrRefused)
	}
	if h.buffer == nil {
		h.buffer = make([]byte, chunk.MaxSize)
	}
	data := h.buffer[:c.Size]
	if _, err := h.file.ReadAt(data, c.Offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
}

// cutting hashes a file and cuts it, each on a core of its own.
func cutting(ctx context.Context, sum hash.Hash, file io.Reader) (list []chunk.Chunk, n int64, err error) {
	const ahead = 4
	free, full := make(chan []byte, ahead), make(chan []byte, ahead)
	for range ahead {
		free <- make([]byte, 0, block)
	}
	var hashing sync.WaitGroup
	hashing.Go(func() {
		for b := range full {
			sum.Write(b)
			free <- b[:0]
		}
	})
	err = chunk.Cut(io.TeeReader(file, writerFunc(func(b []byte) {
		n += int64(len(b))
		for len(b) > 0 {
			part := b[:min(len(b), block)]
			b = b[len(part):]
			full <- append(<-free, part...)
		}
	})), func(c chunk.Chunk, _ []byte) error {
		list = append(list, c)
		return ctx.Err()
	})
	close(full)
	hashing.Wait()
	return list, n, err
}

// writerFunc is a writer that does not fail.
type writerFunc func(b []byte)

// Write implements io.Writer.
func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
