package session

import (
	"context"
	"sync/atomic"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// pieceSize is how much of a content that is at hand is given at once, bytes.
const pieceSize = 128 << 10

// source gives the content of files that go to one side: what is at hand, and
// for the rest what the other side has. It counts what was given.
type source struct {
	from   endpoint.Fetcher
	atHand map[string]content
	alias  map[string]string // where on the other side the content of a path is

	files atomic.Int64
	bytes atomic.Int64
}

// Fetch implements endpoint.Fetcher.
func (s *source) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	counted := func(i int, p endpoint.Piece) error {
		s.bytes.Add(int64(len(p.Data)))
		if p.Last {
			s.files.Add(1)
		}
		return put(i, p)
	}
	for at := 0; at < len(wants); {
		if c, ok := s.atHand[wants[at].Path]; ok && same(c.entry, wants[at].Entry) {
			if err := give(at, c.data, counted); err != nil {
				return err
			}
			at++
			continue
		}
		end := at
		var others []endpoint.Want
		for ; end < len(wants); end++ {
			w := wants[end]
			if c, ok := s.atHand[w.Path]; ok && same(c.entry, w.Entry) {
				break
			}
			if path, ok := s.alias[w.Path]; ok {
				w.Path = path
			}
			others = append(others, w)
		}
		first := at
		if err := s.from.Fetch(ctx, others, func(i int, p endpoint.Piece) error { return counted(first+i, p) }); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// same is true for files of the same content.
func same(a, b tree.Entry) bool { return a.Kind == b.Kind && a.Size == b.Size && a.Digest == b.Digest }

// give puts a content in pieces.
func give(i int, data []byte, put func(int, endpoint.Piece) error) error {
	for len(data) > pieceSize {
		if err := put(i, endpoint.Piece{Data: data[:pieceSize]}); err != nil {
			return err
		}
		data = data[pieceSize:]
	}
	return put(i, endpoint.Piece{Data: data, Last: true})
}
