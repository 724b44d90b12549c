package record

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how a Conn finds out that the other side is gone.
type Config struct {
	// Heartbeat is how often a sign of life is sent where there is nothing else
	// to send. 0: 3 s.
	Heartbeat time.Duration
	// Timeout is how long nothing may arrive, or a write may take, before the
	// connection counts as lost. It is several heartbeats of the other side.
	// 0: 10 s.
	Timeout time.Duration
	// Answers is set on the side that says nothing before the other has spoken.
	// What it sent earlier could be read by a shell.
	Answers bool
}

// Errors of connections.
var (
	// ErrStalled: nothing came, or nothing could be sent, for Config.Timeout.
	ErrStalled = errors.New("no sign of life from the other side")
	// ErrLost: the pipe ended or failed.
	ErrLost = errors.New("the connection was lost")
	// ErrClosed: the connection was closed on this side.
	ErrClosed = errors.New("the connection is closed")
)

// maxQueue is how many bytes wait to be sent before Write waits too. It is
// small: what is urgent stands behind it.
const maxQueue = 2 * MaxPayload

const (
	// farewell is how long Close tries to say that it was one.
	farewell = 500 * time.Millisecond
	// lastWord is how long a failed write waits for what explains it.
	lastWord = 100 * time.Millisecond
)

// Traffic counts the bytes of a connection, on the wire and as they were
// before compression.
type Traffic struct {
	Sent, Received       int64 // on the wire
	SentRaw, ReceivedRaw int64
}

// Conn is one end of a connection over a pipe. Read, Write with Flush, and the
// other methods may each be called by another goroutine. Its own goroutines
// end with it, as soon as the pipe's Read and Write return.
type Conn struct {
	rw     io.ReadWriteCloser
	config Config

	mu    sync.Mutex
	queue []byte        // to be sent
	free  []byte        // the last queue, to be used again
	wake  chan struct{} // there is something to send
	room  chan struct{} // the queue was taken

	in   chan []byte // payloads that arrived
	rest []byte      // of the payload that Read is at

	heard    chan struct{} // closed once the other side has spoken
	leaving  chan struct{} // closed by Close: the end is to be sent
	left     chan struct{} // closed when it was
	leave    sync.Once
	closed   chan struct{}
	close    sync.Once
	cause    error        // set before closed is closed
	arrived  atomic.Int64 // when something last came, in ns since start
	writing  atomic.Int64 // when the write that is going on began; 0: none is
	start    time.Time
	sent     atomic.Int64
	received atomic.Int64
	sentRaw  atomic.Int64
	rcvdRaw  atomic.Int64
}

// New begins a connection over a pipe, which it owns from then on.
func New(rw io.ReadWriteCloser, config Config) (*Conn, error) {
	if config.Heartbeat == 0 {
		config.Heartbeat = 3 * time.Second
	}
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	encoder, err := newEncoder()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		rw: rw, config: config, start: time.Now(),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		in: make(chan []byte), heard: make(chan struct{}),
		leaving: make(chan struct{}), left: make(chan struct{}), closed: make(chan struct{}),
	}
	go c.send(encoder)
	go c.receive()
	go c.watch()
	return c, nil
}

// Read implements io.Reader. After the connection's end it gives the cause.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		select {
		case c.rest = <-c.in:
		case <-c.closed:
			return 0, c.cause
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write puts bytes into the queue. They are sent with the next Flush, or when
// they fill a record.
func (c *Conn) Write(p []byte) (int, error) {
	for {
		select {
		case <-c.closed:
			return 0, c.cause
		default:
		}
		c.mu.Lock()
		if len(c.queue) < maxQueue {
			c.queue = append(c.queue, p...)
			full := len(c.queue) >= MaxPayload
			c.mu.Unlock()
			if full {
				notify(c.wake)
			}
			return len(p), nil
		}
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.closed:
		}
	}
}

// Flush has what is in the queue sent now.
func (c *Conn) Flush() { notify(c.wake) }

// Close sends what is in the queue and says goodbye, as far as that can be done
// at once, ends the connection and closes the pipe.
func (c *Conn) Close() error {
	c.leave.Do(func() { close(c.leaving) })
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-c.left:
	case <-c.closed:
	case <-late.C:
	}
	c.Fail(ErrClosed)
	return nil
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.closed }

// Err is why the connection ended; nil while it has not. It is io.EOF where
// the other side closed it.
func (c *Conn) Err() error {
	select {
	case <-c.closed:
		return c.cause
	default:
		return nil
	}
}

// Heard is closed when the other side has spoken.
func (c *Conn) Heard() <-chan struct{} { return c.heard }

// Traffic is what has been sent and received so far.
func (c *Conn) Traffic() Traffic {
	return Traffic{
		Sent: c.sent.Load(), Received: c.received.Load(),
		SentRaw: c.sentRaw.Load(), ReceivedRaw: c.rcvdRaw.Load(),
	}
}

// Fail ends the connection for a reason, and closes the pipe. The first one counts.
func (c *Conn) Fail(cause error) {
	select {
	case <-c.leaving: // that the other side lets go too is no news
		cause = ErrClosed
	default:
	}
	c.close.Do(func() {
		c.cause = cause
		close(c.closed)
		_ = c.rw.Close() // the cause says more than this could
	})
}
