package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"
)

// send is the goroutine that writes: the magic number, and then records as the
// queue fills, or a beat.
func (c *Conn) send(e *encoder) {
	defer e.close()
	defer close(c.left)
	if !c.begin() {
		return
	}
	beat := time.NewTimer(c.config.Heartbeat)
	defer beat.Stop()
	for {
		least := 0
		select {
		case <-c.wake:
		case <-beat.C:
			least = 1
		case <-c.leaving:
			if _, ok := c.sendQueue(e, c.take(), 0); ok {
				c.put(e.encodeEnd())
			}
			return
		case <-c.closed:
			return
		}
		n, ok := c.sendQueue(e, c.take(), least)
		if !ok {
			return
		}
		if n > 0 {
			beat.Reset(c.config.Heartbeat)
		}
	}
}

// begin sends the magic number, when it is time for it.
func (c *Conn) begin() bool {
	if c.config.Answers {
		select {
		case <-c.heard:
		case <-c.leaving:
			select {
			case <-c.heard:
			default:
				return false // nobody is there to say goodbye to
			}
		case <-c.closed:
			return false
		}
	}
	return c.put([]byte(magic))
}

// sendQueue sends a queue as records, and says how many. An empty record is a
// beat; one is sent where the queue makes fewer than least.
func (c *Conn) sendQueue(e *encoder, queue []byte, least int) (n int, ok bool) {
	defer c.giveBack(queue)
	for ; n < least || len(queue) > 0; n++ {
		payload := queue[:min(len(queue), MaxPayload)]
		queue = queue[len(payload):]
		record, err := e.encode(payload)
		if err != nil {
			c.Fail(err)
			return n, false
		}
		c.sentRaw.Add(int64(len(payload)))
		if !c.put(record) {
			return n, false
		}
	}
	return n, true
}

// take empties the queue.
func (c *Conn) take() []byte {
	c.mu.Lock()
	queue := c.queue
	c.queue, c.free = c.free[:0], nil
	c.mu.Unlock()
	notify(c.room)
	return queue
}

// giveBack lets a queue's memory be used again, unless it has become large.
func (c *Conn) giveBack(queue []byte) {
	if cap(queue) <= 2*maxQueue {
		c.mu.Lock()
		c.free = queue
		c.mu.Unlock()
	}
}

// put writes to the pipe.
func (c *Conn) put(b []byte) bool {
	c.writing.Store(int64(time.Since(c.start)))
	n, err := c.rw.Write(b)
	c.writing.Store(0)
	c.sent.Add(int64(n))
	if err == nil {
		return true
	}
	// What the other side said last is on its way to the reader, and may say more.
	late := time.NewTimer(lastWord)
	defer late.Stop()
	select {
	case <-c.closed:
	case <-late.C:
		c.Fail(fmt.Errorf("%w: %w", ErrLost, err))
	}
	return false
}

// receive is the goroutine that reads. Two buffers are enough: when one is
// taken, the one before has been read to its end.
func (c *Conn) receive() {
	r := bufio.NewReaderSize(pulse{c}, MaxPayload)
	if err := findMagic(r); err != nil {
		c.Fail(err)
		return
	}
	close(c.heard)
	d := newDecoder(r)
	defer d.close()
	var bufs [2][MaxPayload]byte
	for i := 0; ; {
		payload, err := d.decode(&bufs[i])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, ErrCorrupt):
			c.Fail(err)
			return
		case err != nil:
			c.Fail(fmt.Errorf("%w: %w", ErrLost, err))
			return
		case len(payload) == 0:
			continue
		}
		c.rcvdRaw.Add(int64(len(payload)))
		select {
		case c.in <- payload:
			i = 1 - i
		case <-c.closed:
			return
		}
	}
}

// pulse is the pipe's reader, which notes when something came.
type pulse struct{ c *Conn }

// Read implements io.Reader.
func (p pulse) Read(b []byte) (int, error) {
	n, err := p.c.rw.Read(b)
	if n > 0 {
		p.c.received.Add(int64(n))
		p.c.arrived.Store(int64(time.Since(p.c.start)))
	}
	return n, err
}

// watch is the goroutine that ends a connection on which nothing moves. Until
// the other side has spoken it may take its time to start.
func (c *Conn) watch() {
	select {
	case <-c.heard:
	case <-c.closed:
		return
	}
	ticks := time.NewTicker(c.config.Timeout / 4)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-c.closed:
			return
		}
		now := time.Since(c.start)
		since := time.Duration(c.arrived.Load())
		if began := time.Duration(c.writing.Load()); began > 0 {
			since = min(since, began)
		}
		if now-since > c.config.Timeout {
			c.Fail(fmt.Errorf("%w for %v", ErrStalled, c.config.Timeout))
			return
		}
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
