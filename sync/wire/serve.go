package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// Serve is the helper's side of a connection over a pipe, until it ends. The
// folder that the laptop names is opened with open, and closed in the end, with
// the pipe. It returns nil when the laptop closed the connection.
func Serve(ctx context.Context, rw io.ReadWriteCloser, open Opener, o Options) error {
	codec, err := newCodec()
	if err != nil {
		return errors.Join(err, rw.Close())
	}
	conn, err := record.New(rw, o.record(false))
	if err != nil {
		return errors.Join(err, rw.Close())
	}
	stop := context.AfterFunc(ctx, func() { conn.Fail(ctx.Err()) })
	defer stop()
	greeting, err := greet(ctx, conn, codec, o, false)
	if err != nil {
		return err
	}
	m, err := newMux(conn, codec, false)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer m.close()
	s := &server{
		open: open, options: o, began: time.Now(), features: greeting.features,
		scans: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	// Calls end after the connection has: that they were ended is not an answer.
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err = s.serve(calls, m)
	if errors.Is(conn.Err(), io.EOF) {
		err = nil
	}
	cancel()
	s.calls.Wait()
	return errors.Join(s.close(), err)
}

// server answers calls with an endpoint.
type server struct {
	open     Opener
	options  Options
	began    time.Time
	features uint64 // that both sides have
	calls    sync.WaitGroup
	scans    chan struct{} // held by the one call that scans and watches
	changes  chan struct{} // held by the one call that changes the folder

	mu       sync.Mutex
	opened   bool
	endpoint endpoint.Endpoint
	refused  error              // why it could not be opened
	endScan  context.CancelFunc // ends the call that watches
}

// serve takes calls until the connection ends, and says why it did.
func (s *server) serve(ctx context.Context, m *mux) error {
	for {
		c, err := m.accept()
		if err != nil {
			return err
		}
		s.calls.Go(func() {
			defer c.close()
			s.handle(ctx, c)
		})
	}
}

// close lets go of the folder. Where it could not be opened it says why.
func (s *server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint == nil {
		return s.refused
	}
	return s.endpoint.Close()
}

// handle answers one call.
func (s *server) handle(ctx context.Context, c *call) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, rules, err := s.request(c)
	if err == nil {
		err = s.dispatch(ctx, c, req, rules)
	}
	if err != nil {
		// Where the call is over already, nobody waits for this.
		_ = c.finish(kindError, failureOf(err))
	}
}

// request reads the request with the rules that follow it.
func (s *server) request(c *call) (request, []byte, error) {
	var req request
	k, payload, err := c.receive()
	switch {
	case err != nil:
		return req, nil, err
	case k != kindRequest:
		return req, nil, unexpected(k, "where a request belongs")
	}
	if err := c.mux.codec.unmarshal(payload, &req); err != nil {
		return req, nil, err
	}
	if err := req.check(); err != nil {
		return req, nil, err
	}
	var rules []byte
	for len(rules) < req.Rules {
		k, payload, err := c.receive()
		switch {
		case err != nil:
			return req, nil, err
		case k != kindRules || len(payload) == 0 || len(rules)+len(payload) > req.Rules:
			return req, nil, unexpected(k, "where rules belong")
		}
		rules = append(rules, payload...)
	}
	return req, rules, nil
}

// dispatch does what a request asks for.
func (s *server) dispatch(ctx context.Context, c *call, req request, rules []byte) error {
	if req.Method == methodOpen {
		return s.alone(ctx, c, func(ctx context.Context) (result, error) { return s.openRoot(ctx, req, rules) })
	}
	if req.Method == methodUsage {
		return c.finish(kindEnd, result{Usage: ownUsage(s.began)})
	}
	s.mu.Lock()
	ep := s.endpoint
	s.mu.Unlock()
	if ep == nil {
		return protocol("a call before the folder is open")
	}
	switch req.Method {
	case methodScan:
		return s.scan(ctx, c, ep)
	case methodFetch:
		return s.fetch(ctx, c, ep)
	case methodApply:
		return s.apply(ctx, c, ep)
	case methodUndo:
		return s.undo(ctx, c, ep)
	case methodSync:
		return s.alone(ctx, c, func(ctx context.Context) (result, error) { return result{}, ep.Sync(ctx) })
	case methodRun:
		return s.run(ctx, c, req)
	case methodRules:
		return s.alone(ctx, c, func(ctx context.Context) (result, error) { return result{}, setRules(ctx, ep, rules) })
	default:
		return protocol("a request of method %d", req.Method)
	}
}

// alone does what needs no message but the result. The call's end on the other
// side ends it.
func (s *server) alone(ctx context.Context, c *call, do func(context.Context) (result, error)) error {
	ctx, stop := c.watched(ctx)
	defer stop()
	r, err := do(ctx)
	if err != nil {
		return err
	}
	return c.finish(kindEnd, r)
}

func (s *server) openRoot(ctx context.Context, req request, rules []byte) (result, error) {
	s.mu.Lock()
	if s.opened {
		s.mu.Unlock()
		return result{}, protocol("a second request to open a folder")
	}
	s.opened = true
	s.mu.Unlock()
	o := Open{Session: clean(req.Session, 256), Root: string(req.Root), Rules: rules}
	if req.Caps != nil {
		o.Caps = Caps(*req.Caps)
	}
	ep, err := s.open(ctx, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused = err
		return result{}, err
	}
	s.endpoint = ep
	return result{Info: infoOf(ep.Info(), s.features)}, nil
}

func setRules(ctx context.Context, ep endpoint.Endpoint, rules []byte) error {
	taker, ok := ep.(RuleTaker)
	if !ok {
		return errors.New("the rules of this folder can't be changed")
	}
	return taker.SetRules(ctx, rules)
}

// hold waits for a slot that one call at a time has.
func hold(ctx context.Context, slot chan struct{}) (release func(), err error) {
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
