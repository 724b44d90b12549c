package wire

import (
	"context"
	"errors"
	"io"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// watched gives a context that ends when the other side ends the call, or says
// anything more in it. Stop ends the watching.
func (c *call) watched(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := c.listen(func(m message) error { return unexpected(m.kind, "after a request") }, cancel)
	return ctx, func() {
		cancel()
		c.stopListening(ended)
	}
}

// scan sends the tree, and then every batch of changes as soon as there is one,
// until the other side has enough. A new scan ends the one before.
func (s *server) scan(ctx context.Context, c *call, ep endpoint.Endpoint) error {
	ctx, stop := c.watched(ctx)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.endScan != nil {
		s.endScan()
	}
	s.endScan = cancel
	s.mu.Unlock()
	release, err := hold(ctx, s.scans)
	if err != nil {
		return err
	}
	defer release()
	if err := c.sendTree(ctx, ep); err != nil {
		return err
	}
	if err := c.finish(kindEnd, result{Info: infoOf(ep.Info(), s.features)}); err != nil {
		return err
	}
	for {
		updates, err := ep.Next(ctx)
		if err != nil {
			return err
		}
		if err := c.sendUpdates(updates); err != nil {
			return err
		}
		if err := c.finish(kindEnd, result{}); err != nil {
			return err
		}
	}
}

// sendTree looks at the folder and sends its tree without an end.
func (c *call) sendTree(ctx context.Context, ep endpoint.Endpoint) error {
	scanned, err := ep.Scan(ctx)
	if err != nil {
		return err
	}
	if err := scanned.Walk(func(path string, e tree.Entry) error {
		return c.add(kindItems, updateItem(endpoint.Update{Path: path, Entry: e}))
	}); err != nil {
		return err
	}
	return c.sendItems(kindItems)
}

// sendUpdates sends a list of updates without an end.
func (c *call) sendUpdates(updates []endpoint.Update) error {
	for _, u := range updates {
		if err := c.add(kindItems, updateItem(u)); err != nil {
			return err
		}
	}
	return c.sendItems(kindItems)
}

// fetch answers wants until the other side ends the call.
func (s *server) fetch(ctx context.Context, c *call, ep endpoint.Endpoint) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := newQuestions(c.mux.codec)
	ended := c.listen(func(m message) error {
		taken, err := q.take(m)
		if err == nil && !taken {
			err = unexpected(m.kind, "where wants belong")
		}
		return err
	}, cancel)
	err := (&answerer{call: c, questions: q, from: ep}).answerUntil(ctx)
	if ctx.Err() == nil { // the call broke while it was answered
		c.stopListening(ended)
		return err
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// apply takes changes with the content that came along, has them made, and
// returns the outcomes.
func (s *server) apply(ctx context.Context, c *call, ep endpoint.Endpoint) error {
	changes, contents, err := c.receiveChanges()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan message)
	ended := c.listen(func(m message) error {
		select {
		case messages <- m:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, cancel)
	outcomes, err := s.change(ctx, func() ([]endpoint.Outcome, error) {
		rest := &asker{call: c, next: func(fetch context.Context) (message, error) {
			select {
			case m := <-messages:
				return m, nil
			case <-fetch.Done():
				return message{}, fetch.Err()
			case <-ctx.Done():
				return message{}, ctx.Err()
			}
		}}
		return ep.Apply(ctx, changes, &inlined{contents: contents, rest: rest})
	})
	cancel()
	c.stopListening(ended)
	if err != nil {
		return err
	}
	if len(outcomes) != len(changes) {
		return errors.New("the folder gave no outcome for some changes")
	}
	for _, o := range outcomes {
		if err := c.add(kindItems, outcomeItem(o)); err != nil {
			return err
		}
	}
	if err := c.sendItems(kindItems); err != nil {
		return err
	}
	return c.finish(kindEnd, result{})
}

// change does what only one call at a time may do.
func (s *server) change(ctx context.Context, do func() ([]endpoint.Outcome, error)) ([]endpoint.Outcome, error) {
	release, err := hold(ctx, s.changes)
	if err != nil {
		return nil, err
	}
	defer release()
	return do()
}

// receiveChanges reads changes up to their end, with the content that came
// along by path.
func (c *call) receiveChanges() ([]tree.Change, map[string]content, error) {
	var changes []tree.Change
	contents := map[string]content{}
	var b budget
	for {
		k, payload, err := c.receive()
		switch {
		case err != nil:
			return nil, nil, err
		case k == kindEnd:
			return changes, contents, nil
		case k != kindItems:
			return nil, nil, unexpected(k, "where changes belong")
		}
		if err := b.message(len(payload)); err != nil {
			return nil, nil, err
		}
		if err := each(c.mux.codec, payload, func(i *item) error {
			change, data, err := i.change()
			if err != nil {
				return err
			}
			changes = append(changes, change)
			if data != nil {
				contents[change.Path] = content{entry: change.To, data: data}
			}
			return b.item()
		}); err != nil {
			return nil, nil, err
		}
	}
}

func (s *server) undo(ctx context.Context, c *call, ep endpoint.Endpoint) error {
	ctx, stop := c.watched(ctx)
	release, err := hold(ctx, s.changes)
	if err != nil {
		stop()
		return err
	}
	batch, done, err := ep.Undo(ctx)
	release()
	stop()
	if err != nil {
		return err
	}
	if err := c.sendUpdates(done); err != nil {
		return err
	}
	return c.finish(kindEnd, result{Batch: batch, Info: infoOf(ep.Info(), s.features)})
}
