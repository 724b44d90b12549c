package wire

import (
	"context"
	"io"
	"sync"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
)

// asked is a part of what the other side wants.
type asked struct {
	wants []endpoint.Want
	last  bool // nothing more is wanted in this exchange
}

// questions holds what the other side wants and has not been answered yet. One
// goroutine receives and calls take, another one answers.
type questions struct {
	codec   codec
	allowed func(endpoint.Want) bool // nil: every want is
	have    []chunk.ID               // of the want to come
	open    bool                     // wants may follow in this exchange
	ready   chan struct{}            // there may be something in list

	mu       sync.Mutex
	list     []asked
	wants    int // in list, or being answered
	chunks   int // named by those
	skipping bool
	stop     context.CancelFunc // ends the answer that is being given; nil: none is
}

func newQuestions(c codec) *questions { return &questions{codec: c, ready: make(chan struct{}, 1)} }

// take enters a message of the asker. Of any other message it says false.
func (q *questions) take(m message) (bool, error) {
	switch m.kind {
	case kindHave:
		return true, q.offered(m.payload)
	case kindWants:
		q.open = true
		wants, err := q.decode(m.payload)
		if err != nil {
			return true, err
		}
		return true, q.put(asked{wants: wants})
	case kindWantsEnd:
		if !q.open {
			return true, protocol("an end of wants without wants")
		}
		q.open = false
		return true, q.put(asked{last: true})
	case kindSkip:
		q.mu.Lock()
		q.skipping = q.open || q.wants > 0 || len(q.list) > 0
		if q.stop != nil {
			q.stop()
		}
		q.mu.Unlock()
		if !q.open {
			return true, nil // the end of wants is in the list already
		}
		q.open = false
		return true, q.put(asked{last: true})
	default:
		return false, nil
	}
}

func (q *questions) offered(ids []byte) error {
	size := len(chunk.ID{})
	if len(ids)%size != 0 || len(q.have)+len(ids)/size > maxHave {
		return protocol("more chunks than a file can have")
	}
	for ; len(ids) > 0; ids = ids[size:] {
		q.have = append(q.have, chunk.ID(ids[:size]))
	}
	return nil
}

func (q *questions) decode(payload []byte) ([]endpoint.Want, error) {
	var wants []endpoint.Want
	err := each(q.codec, payload, func(i *item) error {
		w, err := i.want()
		if err != nil {
			return err
		}
		if len(wants) == batchWants {
			return protocol("more than %d wants at once", batchWants)
		}
		if q.allowed != nil && !q.allowed(w) {
			return protocol("the content of %q is wanted, which is no part of the changes", clean(w.Path, 256))
		}
		w.Have, q.have = q.have, nil
		wants = append(wants, w)
		return nil
	})
	return wants, err
}

// put enters a part. What an asker may have open is limited: two batches, and
// two that were answered a moment ago.
func (q *questions) put(a asked) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, a)
	q.wants += len(a.wants)
	for _, w := range a.wants {
		q.chunks += len(w.Have)
	}
	if q.wants > 2*batchesAhead*batchWants || q.chunks > 2*batchesAhead*batchHave || len(q.list) > 2*batchesAhead*(batchWants+1) {
		return protocol("wants that are too far ahead")
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return nil
}

// next removes the first part, if there is one.
func (q *questions) next() (asked, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return asked{}, false
	}
	a := q.list[0]
	q.list = q.list[1:]
	return a, true
}

// begin makes stop what a skip calls, and says whether there was one before.
func (q *questions) begin(stop context.CancelFunc) (skipping bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = stop
	return q.skipping
}

// finish is called when a part has been answered.
func (q *questions) finish(a asked) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = nil
	q.wants -= len(a.wants)
	for _, w := range a.wants {
		q.chunks -= len(w.Have)
	}
	if a.last {
		q.skipping = false
	}
}

// answerer is the side that has the content.
type answerer struct {
	call      *call
	questions *questions
	from      endpoint.Fetcher
	failed    bool // the exchange's end was sent already, as a failure
}

// answerAll answers what is there to be answered. An error is one of the call.
func (s *answerer) answerAll(ctx context.Context) error {
	for {
		a, ok := s.questions.next()
		if !ok {
			return nil
		}
		if err := s.answer(ctx, a); err != nil {
			return err
		}
	}
}

func (s *answerer) answer(ctx context.Context, a asked) error {
	defer s.questions.finish(a)
	if !s.failed && len(a.wants) > 0 {
		if err := s.fetch(ctx, a.wants); err != nil {
			s.failed = true
			// At once: the asker may wait for this before it asks for more.
			if err := s.call.sendValue(kindContentEnd, failureOf(err)); err != nil {
				return err
			}
		}
	}
	if a.last {
		if !s.failed {
			if err := s.call.send(kindContentEnd, nil); err != nil {
				return err
			}
		}
		s.failed = false
	}
	return s.call.flush()
}

func (s *answerer) fetch(ctx context.Context, wants []endpoint.Want) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.questions.begin(cancel) {
		return context.Canceled
	}
	done := 0
	err := s.from.Fetch(ctx, wants, func(i int, p endpoint.Piece) error {
		if i != done {
			return protocol("the content of want %d where that of %d belongs", i, done)
		}
		if p.Last || p.Err != nil {
			done++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.piece(p)
	})
	if err == nil && done < len(wants) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// piece sends a piece. A long one is sent in parts.
func (s *answerer) piece(p endpoint.Piece) error {
	if p.Err != nil {
		return s.call.sendValue(kindMissing, failureOf(p.Err))
	}
	for len(p.Data) > maxPiece {
		if err := s.call.send(kindData, p.Data[:maxPiece]); err != nil {
			return err
		}
		p.Data = p.Data[maxPiece:]
	}
	if p.Data == nil && p.Chunk != (chunk.ID{}) {
		if err := s.call.send(kindChunk, p.Chunk[:]); err != nil {
			return err
		}
	}
	switch {
	case len(p.Data) > 0 && p.Last:
		return s.call.send(kindDataLast, p.Data)
	case len(p.Data) > 0:
		return s.call.send(kindData, p.Data)
	case p.Last:
		return s.call.send(kindLast, nil)
	}
	return nil
}

// answerUntil answers until the context ends, or the call does.
func (s *answerer) answerUntil(ctx context.Context) error {
	for {
		select {
		case <-s.questions.ready:
			if err := s.answerAll(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
