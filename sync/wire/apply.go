package wire

import (
	"context"
	"errors"
	"io"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// errAnswered ends the listening for an answer that is there.
var errAnswered = errors.New("answered")

// Apply implements endpoint.Endpoint. The content of small files goes along
// with the changes, so that an edit is one message there and one back; what
// else the helper lacks it asks for within the call.
func (r *Remote) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	contents, err := inline(ctx, changes, from)
	if err != nil {
		return nil, err
	}
	c, err := r.begin(ctx, request{Method: methodApply}, nil, func(c *call) error { return c.sendChanges(changes, contents) })
	if err != nil {
		return nil, inTime(ctx, err)
	}
	defer c.close()
	defer c.closeWith(ctx)()
	outcomes, err := c.applied(ctx, changes, from)
	if err != nil {
		return nil, inTime(ctx, err)
	}
	return outcomes, nil
}

// sendChanges sends changes with the contents that there are, by index.
func (c *call) sendChanges(changes []tree.Change, contents map[int][]byte) error {
	for i, change := range changes {
		if err := c.add(kindItems, changeItem(change, contents[i])); err != nil {
			return err
		}
	}
	if err := c.sendItems(kindItems); err != nil {
		return err
	}
	return c.sendValue(kindEnd, result{})
}

// applied answers what the helper wants, until it has the outcomes. It may want
// what the changes bring and nothing else, whatever else the folder has.
func (c *call) applied(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var outcomes []endpoint.Outcome
	n := len(changes)
	brought := make(map[string]tree.Entry, n)
	for _, change := range changes {
		brought[change.Path] = change.To
	}
	q := newQuestions(c.mux.codec)
	q.allowed = func(w endpoint.Want) bool { return brought[w.Path] == w.Entry }
	ended := c.listen(func(m message) error {
		if taken, err := q.take(m); taken {
			return err
		}
		switch m.kind {
		case kindItems:
			return each(c.mux.codec, m.payload, func(i *item) error {
				o, err := i.outcome()
				outcomes = append(outcomes, o)
				if len(outcomes) > n {
					return protocol("more outcomes than changes")
				}
				return err
			})
		case kindEnd:
			return errAnswered
		case kindError:
			return c.failure(m.payload)
		default:
			return unexpected(m.kind, "where outcomes belong")
		}
	}, cancel)
	broken := (&answerer{call: c, questions: q, from: from}).answerUntil(ctx)
	if ctx.Err() == nil {
		c.stopListening(ended)
		return nil, broken
	}
	switch err := <-ended; {
	case errors.Is(err, io.EOF):
		return nil, protocol("a call that ends without an answer")
	case !errors.Is(err, errAnswered):
		return nil, err
	case len(outcomes) != n:
		return nil, protocol("%d outcomes for %d changes", len(outcomes), n)
	}
	return outcomes, nil
}

// inline gets the content of what is small enough to go along, by index in
// changes. What can't be had now is left for the helper to ask for.
func inline(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) (map[int][]byte, error) {
	contents := map[int][]byte{}
	var wants []endpoint.Want
	var index []int
	total := int64(0)
	for i, change := range changes {
		to := change.To
		if to.Kind != tree.File || to.Size == 0 || to.Size > inlineFile || total+to.Size > inlineTotal ||
			change.From.Kind == tree.File && change.From.Digest == to.Digest {
			continue
		}
		total += to.Size
		wants, index = append(wants, endpoint.Want{Path: change.Path, Entry: to}), append(index, i)
	}
	if len(wants) == 0 {
		return nil, nil //nolint:nilnil // an empty map
	}
	err := from.Fetch(ctx, wants, func(j int, p endpoint.Piece) error {
		i, size := index[j], wants[j].Entry.Size
		data := append(contents[i], p.Data...)
		contents[i] = data[:min(int64(len(data)), size+1)] // one too many says it all
		if p.Err != nil || p.Last && int64(len(data)) != size {
			delete(contents, i)
		}
		return nil
	})
	return contents, err
}
