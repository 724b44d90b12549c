package wire

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// Remote is the helper's folder, as the laptop has it. It implements
// endpoint.Endpoint. What comes from the helper is checked before it is
// returned: paths, kinds, sizes and counts are what they may be, and its words
// can be shown to people.
type Remote struct {
	mux     *mux
	version string

	mu    sync.Mutex
	info  endpoint.Info
	watch *watch // what the last Scan began; nil before the first
}

// Dial is the laptop's side of a connection over a pipe, which it owns from
// then on. It greets the helper and has it open a folder. The context is that
// of the beginning; Close ends the connection.
func Dial(ctx context.Context, rw io.ReadWriteCloser, open Open, o Options) (*Remote, error) {
	codec, err := newCodec()
	if err != nil {
		return nil, errors.Join(err, rw.Close())
	}
	conn, err := record.New(rw, o.record(true))
	if err != nil {
		return nil, errors.Join(err, rw.Close())
	}
	g, err := greet(ctx, conn, codec, o, true)
	if err != nil {
		return nil, err
	}
	m, err := newMux(conn, codec, true)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	r := &Remote{mux: m, version: g.version}
	req := request{
		Method: methodOpen, Session: open.Session, Root: []byte(open.Root),
		Caps: &caps{FileBytes: open.Caps.FileBytes, Paths: open.Caps.Paths, Depth: open.Caps.Depth},
	}
	res, err := r.ask(ctx, req, open.Rules)
	if err == nil {
		err = r.setInfo(res.Info)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return r, nil
}

// Version is the helper's, for messages.
func (r *Remote) Version() string { return r.version }

// Traffic counts the bytes of the connection so far.
func (r *Remote) Traffic() record.Traffic { return r.mux.conn.Traffic() }

// Done is closed when the connection has ended; Err says why then.
func (r *Remote) Done() <-chan struct{} { return r.mux.conn.Done() }

// Err is why the connection ended; nil while it has not.
func (r *Remote) Err() error { return r.mux.conn.Err() }

// Close implements endpoint.Endpoint: it ends the connection, and with it the
// helper.
func (r *Remote) Close() error {
	r.mu.Lock()
	w := r.watch
	r.watch = nil
	r.mu.Unlock()
	r.mux.close()
	if w != nil {
		w.end()
	}
	return nil
}

// Info implements endpoint.Endpoint. It is as of the last Scan or Undo.
func (r *Remote) Info() endpoint.Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.info
}

func (r *Remote) setInfo(w *info) error {
	i, err := w.info()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info = i
	return nil
}

// Undo implements endpoint.Endpoint.
func (r *Remote) Undo(ctx context.Context) (string, []endpoint.Update, error) {
	var batch string
	var done []endpoint.Update
	err := r.do(ctx, request{Method: methodUndo}, nil, func(c *call) error {
		var res result
		var err error
		done, res, err = c.receiveUpdates()
		batch = clean(res.Batch, 128)
		if err == nil {
			err = r.setInfo(res.Info)
		}
		return err
	})
	return batch, done, err
}

// Sync implements endpoint.Endpoint.
func (r *Remote) Sync(ctx context.Context) error {
	_, err := r.ask(ctx, request{Method: methodSync}, nil)
	return err
}

// SetRules changes what is ignored in the helper's folder.
func (r *Remote) SetRules(ctx context.Context, rules []byte) error {
	_, err := r.ask(ctx, request{Method: methodRules}, rules)
	return err
}

// Fetch implements endpoint.Fetcher.
func (r *Remote) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	if len(wants) == 0 {
		return nil
	}
	return r.do(ctx, request{Method: methodFetch}, nil, func(c *call) error {
		a := &asker{call: c, next: func(context.Context) (message, error) {
			k, payload, err := c.receive()
			if err == nil && k == kindError {
				err = c.failure(payload)
			}
			return message{kind: k, payload: payload}, err
		}}
		// What put says ends the call; there is nothing to be skipped for another.
		stopped, err := a.exchange(ctx, wants, put)
		return errors.Join(stopped, err)
	})
}

// do makes a call. The context's end ends it on both sides.
func (r *Remote) do(ctx context.Context, req request, rules []byte, use func(*call) error) error {
	c, err := r.begin(ctx, req, rules, nil)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.closeWith(ctx)()
	if err := use(c); err != nil {
		return inTime(ctx, err)
	}
	return nil
}

// begin opens a call and sends the request with what more belongs to it.
func (r *Remote) begin(ctx context.Context, req request, rules []byte, more func(*call) error) (*call, error) {
	if len(rules) > MaxRules {
		return nil, errors.New("rules that are too long")
	}
	req.Rules = len(rules)
	c, err := r.mux.call(ctx)
	if err != nil {
		return nil, err
	}
	err = c.sendValue(kindRequest, req)
	for err == nil && len(rules) > 0 {
		n := min(len(rules), maxPiece)
		err = c.send(kindRules, rules[:n])
		rules = rules[n:]
	}
	if err == nil && more != nil {
		err = more(c)
	}
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// ask makes a call that is answered by a result alone.
func (r *Remote) ask(ctx context.Context, req request, rules []byte) (result, error) {
	var res result
	err := r.do(ctx, req, rules, func(c *call) error {
		payload, err := c.answer(kindEnd)
		if err != nil {
			return err
		}
		return c.mux.codec.unmarshal(payload, &res)
	})
	return res, err
}

// inTime is the context's end where that is why something failed.
func inTime(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// receiveUpdates reads a batch up to its end.
func (c *call) receiveUpdates() ([]endpoint.Update, result, error) {
	var updates []endpoint.Update
	res, err := c.receiveList(func(i *item) error {
		u, err := i.update()
		updates = append(updates, u)
		return err
	})
	return updates, res, err
}

// receiveTree reads a tree up to its end.
func (c *call) receiveTree() (*tree.Tree, result, error) {
	t := &tree.Tree{}
	res, err := c.receiveList(func(i *item) error {
		path, e, err := i.place()
		if err != nil {
			return err
		}
		if e.Kind == tree.Absent {
			return protocol("a tree with something that is not there")
		}
		if t.Put(path, e) != nil {
			return protocol("a tree with a path that is in no folder")
		}
		return nil
	})
	return t, res, err
}

// receiveList reads items up to the result that ends them.
func (c *call) receiveList(take func(*item) error) (result, error) {
	var b budget
	var res result
	for {
		k, payload, err := c.receive()
		if err != nil {
			return res, err
		}
		switch k {
		case kindItems:
			if err := b.message(len(payload)); err != nil {
				return res, err
			}
			if err := each(c.mux.codec, payload, func(i *item) error {
				if err := b.item(); err != nil {
					return err
				}
				return take(i)
			}); err != nil {
				return res, err
			}
		case kindEnd:
			err := c.mux.codec.unmarshal(payload, &res)
			return res, err
		case kindError:
			return res, c.failure(payload)
		default:
			return res, unexpected(k, "in a list")
		}
	}
}
