package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// kind is what a message is.
type kind uint8

// The kinds of messages. The numbers are part of the protocol.
const (
	kindRequest    kind = 1  // of the caller, the first: a request
	kindItems      kind = 2  // entries, updates, changes or outcomes, one CBOR item after the other
	kindEnd        kind = 3  // the end of a list, or of the call: a result
	kindError      kind = 4  // the end of the call: a failure
	kindHave       kind = 5  // chunks that the asker has, 32 bytes each, of the first want to come
	kindWants      kind = 6  // wants, one CBOR item after the other
	kindWantsEnd   kind = 7  // no more wants
	kindSkip       kind = 8  // the content is no longer wanted, what is left of it
	kindData       kind = 9  // bytes of content
	kindDataLast   kind = 10 // the last bytes of a file's content
	kindChunk      kind = 11 // one of the chunks that the asker has, by its ID
	kindLast       kind = 12 // the end of a file's content
	kindMissing    kind = 13 // the end of a file's content: a failure
	kindContentEnd kind = 14 // the end of all content that was asked for: a failure, or empty
	kindRules      kind = 15 // a part of the rules that belong to the request
	kindStdout     kind = 16 // output of a command
	kindStderr     kind = 17
)

// limit is how long a payload of a kind may be.
func (k kind) limit() int {
	switch k {
	case kindRequest, kindEnd, kindError, kindMissing, kindContentEnd:
		return 256 << 10
	case kindItems, kindWants:
		return maxMessage
	case kindData, kindDataLast, kindHave, kindRules, kindStdout, kindStderr:
		return maxPiece
	case kindChunk:
		return 32
	default:
		return 0
	}
}

const (
	// maxMessage is how long a payload may be at all.
	maxMessage = 1 << 20
	// goodMessage is how long a message of many items is made.
	goodMessage   = 128 << 10
	messageHeader = 4 // kind (1 byte), length of the payload (3)
)

// call is one call, as either side sees it: messages over a stream. One
// goroutine sends and one receives.
type call struct {
	mux    *mux
	stream *yamux.Stream
	r      *bufio.Reader
	w      *bufio.Writer
	out    *parts       // what w writes to
	buf    []byte       // of receive
	items  bytes.Buffer // of a message in the making
	end    sync.Once
}

func newCall(m *mux, stream *yamux.Stream) *call {
	out := &parts{stream: stream, uncork: func() {}}
	return &call{
		mux: m, stream: stream, out: out,
		r: bufio.NewReaderSize(stream, 16<<10),
		w: bufio.NewWriterSize(out, largestWrite),
	}
}

// parts writes to a stream, in parts of at most largestWrite bytes.
type parts struct {
	stream *yamux.Stream
	uncork func() // called after the first part, which no window holds up
}

// Write implements io.Writer.
func (s *parts) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := s.stream.Write(p[written:min(len(p), written+largestWrite)])
		written += n
		s.uncork()
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// close ends the call. The other side sees it, and stops what it does for it.
func (c *call) close() {
	c.end.Do(func() {
		c.out.uncork()
		_ = c.stream.SetDeadline(past()) // ends what waits for it
		_ = c.stream.Close()             // it can only fail with the connection
		<-c.mux.slots
	})
}

// closeWith closes the call when the context ends, unless stop is called
// before.
func (c *call) closeWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, c.close)
}

// send puts a message into the writer.
func (c *call) send(k kind, payload []byte) error {
	var header [messageHeader]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(payload))) //nolint:gosec // at most maxMessage
	header[0] = byte(k)
	if _, err := c.w.Write(header[:]); err != nil {
		return c.mux.cause(err)
	}
	if _, err := c.w.Write(payload); err != nil {
		return c.mux.cause(err)
	}
	return nil
}

// sendValue sends a message whose payload is one CBOR item.
func (c *call) sendValue(k kind, v any) error {
	payload, err := c.mux.codec.marshal(v)
	if err != nil {
		return err
	}
	return c.send(k, payload)
}

// add puts an item into the message of many items that is in the making, and
// sends that when it is long enough.
func (c *call) add(k kind, v any) error {
	if err := c.mux.codec.append(&c.items, v); err != nil {
		return err
	}
	if c.items.Len() < goodMessage {
		return nil
	}
	return c.sendItems(k)
}

// sendItems sends what add has gathered.
func (c *call) sendItems(k kind) error {
	if c.items.Len() == 0 {
		return nil
	}
	err := c.send(k, c.items.Bytes())
	c.items.Reset()
	return err
}

// flush hands what was sent to the connection.
func (c *call) flush() error {
	if err := c.w.Flush(); err != nil {
		return c.mux.cause(err)
	}
	return nil
}

// finish sends the last message of a call.
func (c *call) finish(k kind, v any) error {
	if err := c.sendValue(k, v); err != nil {
		return err
	}
	return c.flush()
}

// receive returns the next message. Its payload is valid until the next one. A
// call that the other side ended gives io.EOF.
func (c *call) receive() (kind, []byte, error) { return c.receiveIn(&c.buf) }

// receiveIn is receive with a buffer of the caller.
func (c *call) receiveIn(buf *[]byte) (kind, []byte, error) {
	var header [messageHeader]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, c.broken(err)
	}
	k := kind(header[0])
	header[0] = 0
	length := int(binary.BigEndian.Uint32(header[:]))
	if length > k.limit() {
		return 0, nil, protocol("a message of kind %d with %d bytes", k, length)
	}
	if cap(*buf) < length {
		*buf = make([]byte, length)
	}
	payload := (*buf)[:length]
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, c.broken(err)
	}
	return k, payload, nil
}

// broken is why a stream could not be read.
func (c *call) broken(err error) error {
	cause := c.mux.cause(err)
	if cause == err && errors.Is(err, io.ErrUnexpectedEOF) { //nolint:errorlint // whether the stream itself says so
		return protocol("a call that ends within a message")
	}
	return cause
}

// answer receives a message that may only be of one kind, or an error of the
// other side, which is returned as such.
func (c *call) answer(want kind) ([]byte, error) {
	k, payload, err := c.receive()
	switch {
	case errors.Is(err, io.EOF):
		return nil, protocol("a call that ends without an answer")
	case err != nil:
		return nil, err
	case k == want:
		return payload, nil
	case k == kindError:
		return nil, c.failure(payload)
	}
	return nil, unexpected(k, "as an answer")
}

// failure decodes an error of the other side.
func (c *call) failure(payload []byte) error {
	var f failure
	if err := c.mux.codec.unmarshal(payload, &f); err != nil {
		return err
	}
	if f == (failure{}) {
		return protocol("a failure that is none")
	}
	return f.err()
}

// message is a kind with its payload.
type message struct {
	kind    kind
	payload []byte
}

// listen receives in a goroutine of its own, so that the end of a call is seen
// while something else is being done. It calls take with each message, which is
// valid until the next call of take returns, and ends with the first error: of
// take, or of the call, where io.EOF is the end that the other side made. Then it
// calls end and leaves the error in the channel.
func (c *call) listen(take func(message) error, end func()) <-chan error {
	ended := make(chan error, 1)
	go func() {
		var bufs [2][]byte
		for i := 0; ; i = 1 - i {
			k, payload, err := c.receiveIn(&bufs[i])
			if err == nil {
				err = take(message{kind: k, payload: payload})
			}
			if err != nil {
				if !errors.Is(err, yamux.ErrTimeout) && !errors.Is(err, context.Canceled) {
					_ = c.stream.SetWriteDeadline(past()) // nobody waits for what is being sent
				}
				ended <- err
				end()
				return
			}
		}
	}()
	return ended
}

// stopListening ends what receives, and leaves the call open for sending.
func (c *call) stopListening(ended <-chan error) {
	_ = c.stream.SetReadDeadline(past()) // it can't fail
	<-ended
}

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }
