package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/kfdev/kfdev/sync/wire/record"
)

const (
	// streamWindow is how many bytes of a stream may be on their way, and so how
	// many a peer can make us keep for one.
	streamWindow = 1 << 20
	// maxCalls is how many calls go on at once; more wait.
	maxCalls = 32
	// maxStreams is how many streams there may be, those included whose end the
	// other side has not confirmed.
	maxStreams = 4 * maxCalls
	// largestWrite is how much of one stream goes into the queue at once, so that
	// the others come in between.
	largestWrite = 32 << 10
	never        = 1000 * time.Hour
)

// framed is a record connection as yamux wants it: what yamux writes is sent
// when a frame is whole.
type framed struct {
	conn *record.Conn
	in   frames
	out  frames
	err  error // set by a Read that saw a frame that is not allowed

	mu     sync.Mutex
	corked int
}

// Read implements io.Reader for yamux.
func (f *framed) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.conn.Read(p)
	if wrong := f.in.advance(p[:n]); wrong != nil {
		f.err = wrong
		f.conn.Fail(wrong)
		return 0, wrong
	}
	return n, err
}

// Write implements io.Writer for yamux.
func (f *framed) Write(p []byte) (int, error) {
	n, err := f.conn.Write(p)
	if err == nil {
		err = f.out.advance(p[:n])
	}
	if f.out.whole() {
		f.mu.Lock()
		corked := f.corked > 0
		f.mu.Unlock()
		if !corked {
			f.conn.Flush()
		}
	}
	return n, err
}

// cork keeps what is written in the queue until the function it returns is
// called: what belongs together leaves in one record. Nothing may be waited for
// meanwhile.
func (f *framed) cork() (uncork func()) {
	f.mu.Lock()
	f.corked++
	f.mu.Unlock()
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.corked--
		f.mu.Unlock()
		f.conn.Flush()
	})
}

// Close implements io.Closer for yamux, which closes its connection where a
// frame can't be. Any other end has a cause already.
func (f *framed) Close() error {
	f.conn.Fail(protocol("a stream frame that makes no sense"))
	return nil
}

// mux is a connection with streams.
type mux struct {
	codec   codec
	conn    *record.Conn
	framed  *framed
	session *yamux.Session
	slots   chan struct{} // one for each call that goes on
}

// newMux puts streams on a connection whose two sides have greeted each other.
// Only the caller opens streams.
func newMux(conn *record.Conn, codec codec, caller bool) (*mux, error) {
	m := &mux{
		codec: codec, conn: conn,
		framed: &framed{conn: conn, in: frames{noStreams: caller}},
		slots:  make(chan struct{}, maxCalls),
	}
	config := &yamux.Config{
		AcceptBacklog:          maxCalls,
		EnableKeepAlive:        false, // records have a heartbeat
		KeepAliveInterval:      never,
		ConnectionWriteTimeout: never, // as above
		MaxStreamWindowSize:    streamWindow,
		StreamCloseTimeout:     10 * time.Second,
		LogOutput:              io.Discard,
	}
	var err error
	if caller {
		m.session, err = yamux.Client(m.framed, config)
	} else {
		m.session, err = yamux.Server(m.framed, config)
	}
	return m, err
}

// call opens a stream. It waits where there are too many.
func (m *mux) call(ctx context.Context) (*call, error) {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-m.conn.Done():
		return nil, m.conn.Err()
	}
	// The frame that opens the stream leaves with the first that is sent on it.
	uncork := m.framed.cork()
	stream, err := m.session.OpenStream()
	if err != nil {
		uncork()
		<-m.slots
		return nil, m.cause(err)
	}
	c := newCall(m, stream)
	c.out.uncork = uncork
	return c, nil
}

// accept waits for a call of the other side, as long as there is a slot for it.
func (m *mux) accept() (*call, error) {
	select {
	case m.slots <- struct{}{}:
	case <-m.conn.Done():
		return nil, m.conn.Err()
	}
	stream, err := m.session.AcceptStream()
	if err == nil && m.session.NumStreams() > maxStreams {
		err = protocol("more than %d streams", maxStreams)
		m.conn.Fail(err)
	}
	if err != nil {
		<-m.slots
		return nil, m.cause(err)
	}
	return newCall(m, stream), nil
}

// close ends all streams and the connection.
func (m *mux) close() {
	_ = m.conn.Close() // first, so that nothing waits for the other side
	_ = m.session.Close()
}

// cause is why a stream failed: where the connection ended, the reason of that.
func (m *mux) cause(err error) error {
	if !m.session.IsClosed() && m.conn.Err() == nil {
		return err
	}
	<-m.conn.Done() // a session that ends closes its connection
	if cause := m.conn.Err(); !errors.Is(cause, io.EOF) {
		return cause
	}
	return describe("the other side ended", record.ErrLost)
}
