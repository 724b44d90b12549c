package wire

import (
	"context"
	"sync"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
)

// The exchange of content within a call: the asker sends wants in batches, no
// more than two ahead of what has been answered, and an end. The other side
// answers with the pieces of each want in order, and an end. The asker may skip
// the rest; then the end comes sooner.
const (
	batchWants   = 1024
	batchHave    = maxHave // chunks that the wants of a batch name, all in all
	batchesAhead = 2
)

// asker is the side that wants content: an endpoint.Fetcher over a call.
type asker struct {
	call *call
	next func(context.Context) (message, error)

	mu     sync.Mutex // one Fetch goes on at a time; others wait
	broken error      // why no more can be asked
}

// Fetch implements endpoint.Fetcher.
func (a *asker) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	if len(wants) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return a.broken
	}
	stopped, err := a.exchange(ctx, wants, put)
	if err == nil && stopped != nil {
		err = a.skip(context.WithoutCancel(ctx)) // the call's end ends it
	}
	if err != nil {
		a.broken = err
		return err
	}
	return stopped
}

// exchange asks and takes. It returns apart what ended the exchange on this
// side (put, or the context) and what broke it.
func (a *asker) exchange(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) (stopped, err error) {
	sent := 0
	var ends []int // of the batches that are not answered yet
	more := func() error {
		if sent == len(wants) {
			return nil
		}
		n, err := a.ask(wants[sent:])
		if err != nil {
			return err
		}
		sent += n
		ends = append(ends, sent)
		if sent == len(wants) {
			if err := a.call.send(kindWantsEnd, nil); err != nil {
				return err
			}
		}
		return a.call.flush()
	}
	for range batchesAhead {
		if err := more(); err != nil {
			return nil, err
		}
	}
	for i, want := range wants {
		stopped, err := a.take(ctx, want, func(p endpoint.Piece) error { return put(i, p) })
		if stopped != nil || err != nil {
			return stopped, err
		}
		if i+1 == ends[0] {
			ends = ends[1:]
			if err := more(); err != nil {
				return nil, err
			}
		}
	}
	m, err := a.next(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err(), nil
	case err != nil:
		return nil, err
	case m.kind != kindContentEnd:
		return nil, unexpected(m.kind, "where content ends")
	case len(m.payload) > 0:
		return nil, a.call.failure(m.payload)
	}
	return nil, nil
}

// ask sends one batch of wants and says how many it has.
func (a *asker) ask(wants []endpoint.Want) (int, error) {
	n, all := 0, 0
	for _, w := range wants {
		have := w.Have[:min(len(w.Have), maxHave)]
		if all += len(have); n == batchWants || n > 0 && all > batchHave {
			break
		}
		if err := a.offer(have); err != nil {
			return n, err
		}
		if err := a.call.add(kindWants, wantItem(w)); err != nil {
			return n, err
		}
		n++
	}
	return n, a.call.sendItems(kindWants)
}

// offer names the chunks at hand for the want that comes next.
func (a *asker) offer(have []chunk.ID) error {
	if len(have) == 0 {
		return nil
	}
	// They belong to the first want of the message that follows them.
	if err := a.call.sendItems(kindWants); err != nil {
		return err
	}
	for len(have) > 0 {
		n := min(len(have), maxPiece/len(chunk.ID{}))
		ids := make([]byte, 0, n*len(chunk.ID{}))
		for _, id := range have[:n] {
			ids = append(ids, id[:]...)
		}
		if err := a.call.send(kindHave, ids); err != nil {
			return err
		}
		have = have[n:]
	}
	return nil
}

// take gives the pieces of one want to put.
func (a *asker) take(ctx context.Context, want endpoint.Want, put func(endpoint.Piece) error) (stopped, err error) {
	have := make(map[chunk.ID]bool, len(want.Have))
	for _, id := range want.Have {
		have[id] = true
	}
	size := int64(0)
	for {
		m, err := a.next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err(), nil
		case err != nil:
			return nil, err
		}
		p, err := a.piece(m, have)
		if err != nil {
			return nil, err
		}
		if size += int64(len(p.Data)); size > want.Entry.Size {
			return nil, protocol("more than the %d bytes of a file", want.Entry.Size)
		}
		if err := put(p); err != nil {
			return err, nil
		}
		if p.Last || p.Err != nil {
			return nil, nil
		}
	}
}

// piece decodes a piece.
func (a *asker) piece(m message, have map[chunk.ID]bool) (endpoint.Piece, error) {
	switch m.kind {
	case kindData:
		return endpoint.Piece{Data: m.payload}, nil
	case kindDataLast:
		return endpoint.Piece{Data: m.payload, Last: true}, nil
	case kindLast:
		return endpoint.Piece{Last: true}, nil
	case kindChunk:
		if len(m.payload) != len(chunk.ID{}) || !have[chunk.ID(m.payload)] {
			return endpoint.Piece{}, protocol("a chunk that was not offered")
		}
		return endpoint.Piece{Chunk: chunk.ID(m.payload)}, nil
	case kindMissing:
		var f failure
		if err := a.call.mux.codec.unmarshal(m.payload, &f); err != nil {
			return endpoint.Piece{}, err
		}
		if f == (failure{}) {
			return endpoint.Piece{}, protocol("content that is missing for no reason")
		}
		return endpoint.Piece{Err: f.err()}, nil
	case kindContentEnd:
		if len(m.payload) > 0 {
			return endpoint.Piece{}, a.call.failure(m.payload)
		}
		return endpoint.Piece{}, protocol("less content than was asked for")
	default:
		return endpoint.Piece{}, unexpected(m.kind, "in content")
	}
}

// skip gives up an exchange, and leaves the call ready for the next.
func (a *asker) skip(ctx context.Context) error {
	if err := a.call.send(kindSkip, nil); err != nil {
		return err
	}
	if err := a.call.flush(); err != nil {
		return err
	}
	for {
		m, err := a.next(ctx)
		if err != nil {
			return err
		}
		switch m.kind {
		case kindContentEnd:
			return nil
		case kindData, kindDataLast, kindChunk, kindLast, kindMissing:
		default:
			return unexpected(m.kind, "in content")
		}
	}
}
