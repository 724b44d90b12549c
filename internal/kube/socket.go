package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/rest"
	transport "k8s.io/client-go/transport/websocket"
)

// maxMessage is how much of a write goes into one message, bytes. API servers
// read a message's first frame only, so that a message has to be one frame, and
// frames are of the size of the connection's buffer (33 KiB, as client-go makes
// it) at most.
const maxMessage = 32 << 10

// maxOutcome bounds the Status that ends a command, bytes.
const maxOutcome = 64 << 10

// socket carries a command's streams over a WebSocket, in version 5 of the
// protocol v5.channel.k8s.io: binary messages whose first byte is the stream's
// number; 255 and a number closes that stream. It is done here rather than by
// client-go's executor, which knows no moment at which the command has begun,
// copies through two more goroutines in each direction, and leaves a goroutine
// behind for seconds.
type socket struct {
	conn   *websocket.Conn
	stderr io.Writer

	message io.Reader // what is left of a message of standard output
	status  error     // how the command ended, once that has come

	write sync.Mutex // one writer at a time
}

func openSocket(ctx context.Context, config *rest.Config, address string, stderr io.Writer) (*socket, error) {
	tripper, holder, err := transport.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	conn, err := transport.Negotiate(tripper, holder, request, remotecommand.StreamProtocolV5Name)
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, stderr: stderr}, nil
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.message != nil {
			n, err := s.message.Read(p)
			if errors.Is(err, io.EOF) {
				s.message, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, err
			}
			continue
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
}

// next takes in one message.
func (s *socket) next() error {
	kind, message, err := s.conn.NextReader()
	if err != nil {
		return s.ended(err)
	}
	var stream [1]byte
	if _, err := io.ReadFull(message, stream[:]); err != nil || kind != websocket.BinaryMessage {
		return errors.Join(errors.New("the server sent what is not of the protocol"), err)
	}
	switch stream[0] {
	case remotecommand.StreamStdOut:
		s.message = message
	case remotecommand.StreamStdErr:
		_, err = io.Copy(s.stderr, message)
	case remotecommand.StreamErr:
		var raw []byte
		// An empty message opens the stream.
		if raw, err = io.ReadAll(io.LimitReader(message, maxOutcome)); err == nil && len(raw) > 0 {
			// More of the output may come after it.
			s.status = outcome(raw)
		}
	}
	return err
}

// ended says how the command ended where it did, and else how the connection.
func (s *socket) ended(err error) error {
	switch {
	case s.status != nil:
		return s.status
	case websocket.IsCloseError(err, websocket.CloseNormalClosure):
		return fmt.Errorf("the connection ended before the command did: %w", io.ErrUnexpectedEOF)
	default:
		return fmt.Errorf("the connection broke: %w", err)
	}
}

func (s *socket) Write(p []byte) (int, error) {
	s.write.Lock()
	defer s.write.Unlock()
	written := 0
	for written < len(p) {
		part := p[written:min(written+maxMessage, len(p))]
		message, err := s.conn.NextWriter(websocket.BinaryMessage)
		if err != nil {
			return written, err
		}
		_, err = message.Write([]byte{remotecommand.StreamStdIn})
		if err == nil {
			_, err = message.Write(part)
		}
		if err := errors.Join(err, message.Close()); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

func (s *socket) CloseWrite() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.conn.WriteMessage(websocket.BinaryMessage, []byte{remotecommand.StreamClose, remotecommand.StreamStdIn})
}

func (s *socket) Close() error { return s.conn.Close() }
