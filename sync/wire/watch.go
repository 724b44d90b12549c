package wire

import (
	"context"
	"errors"
	"io"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// watch is the call that Scan began and that goes on with what changes.
type watch struct {
	call    *call
	batches chan []endpoint.Update
	stop    chan struct{} // closed by end
	done    chan struct{} // closed when nothing more comes
	err     error         // why; set before done is closed
}

// Scan implements endpoint.Endpoint. The same call goes on to bring what Next
// returns; the helper sends it unasked.
func (r *Remote) Scan(ctx context.Context) (*tree.Tree, error) {
	r.mu.Lock()
	old := r.watch
	r.watch = nil
	r.mu.Unlock()
	if old != nil {
		old.end() // what it still holds is older than the tree to come
	}
	c, err := r.begin(ctx, request{Method: methodScan}, nil, nil)
	if err != nil {
		return nil, err
	}
	stop := c.closeWith(ctx)
	t, res, err := c.receiveTree()
	if err == nil {
		err = r.setInfo(res.Info)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return nil, inTime(ctx, err)
	}
	w := &watch{call: c, batches: make(chan []endpoint.Update), stop: make(chan struct{}), done: make(chan struct{})}
	go w.receive()
	r.mu.Lock()
	r.watch = w
	r.mu.Unlock()
	return t, nil
}

// Next implements endpoint.Endpoint. An error stays until the next Scan.
func (r *Remote) Next(ctx context.Context) ([]endpoint.Update, error) {
	r.mu.Lock()
	w := r.watch
	r.mu.Unlock()
	if w == nil {
		return nil, errors.New("the folder has not been looked at")
	}
	select {
	case updates := <-w.batches:
		return updates, nil
	case <-w.done:
		return nil, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// receive reads batches until the call ends.
func (w *watch) receive() {
	defer close(w.done)
	defer w.call.close()
	for {
		updates, _, err := w.call.receiveUpdates()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = protocol("a watch that ends without a word")
			}
			w.err = err
			return
		}
		select {
		case w.batches <- updates:
		case <-w.stop:
			w.err = context.Canceled
			return
		case <-w.call.mux.conn.Done():
			w.err = w.call.mux.cause(nil)
			return
		}
	}
}

// end ends the call and waits until nothing more comes of it.
func (w *watch) end() {
	close(w.stop)
	w.call.close()
	<-w.done
}
