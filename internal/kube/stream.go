package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// Stream is a command under way in a container: writing is its standard input,
// reading its standard output. Read and Write may be called at the same time,
// each by one goroutine.
type Stream struct {
	name    string
	streams streams
	stderr  *tail
}

// streams are a command's. Read ends with io.EOF once the command has ended
// with code 0, and with its error otherwise.
type streams interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Stream starts a command in a container, whose streams are all the Stream's:
// those that e has are not looked at. The context bounds the start; the stream
// lives until Close or until the command ends.
//
// Nothing is sent on a stream that is silent: whoever keeps one open for hours
// has a heartbeat of its own, since kubelets (by default after four hours) and
// proxies (sooner) end silent streams.
func (c *Client) Stream(ctx context.Context, e Exec) (*Stream, error) {
	s := &Stream{name: fmt.Sprintf("running a command in %s/%s", e.Namespace, e.Pod), stderr: &tail{}}
	var err error
	if s.streams, err = c.open(ctx, e.address(c, true), true, s.stderr); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, ended(ctx, err))
	}
	return s, nil
}

// open starts a command over a WebSocket or, where the server or a proxy before
// it does not do that, over SPDY.
func (c *Client) open(ctx context.Context, address string, stdin bool, stderr io.Writer) (streams, error) {
	socket, err := openSocket(ctx, c.Config, address, stderr)
	if err == nil {
		return socket, nil
	}
	if !httpstream.IsUpgradeFailure(err) && !httpstream.IsHTTPSProxyError(err) {
		return nil, err
	}
	spdy, err := openSPDY(ctx, c.Config, address, stdin, stderr)
	if err != nil {
		return nil, err
	}
	return spdy, nil
}

// Read reads what the command writes to its standard output. It ends with
// io.EOF where the command ended with code 0; another code is an error of
// k8s.io/client-go/util/exec, and what it wrote to standard error is told.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.streams.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if said := s.Stderr(); said != "" {
		return n, fmt.Errorf("%s: %w: %s", s.name, err, said)
	}
	return n, fmt.Errorf("%s: %w", s.name, err)
}

// Write writes to the command's standard input.
func (s *Stream) Write(p []byte) (int, error) { return s.streams.Write(p) }

// CloseWrite ends the command's standard input.
func (s *Stream) CloseWrite() error { return s.streams.CloseWrite() }

// Close ends the connection. The command's input ends with it, and what it
// writes goes nowhere; whether it ends is up to it.
func (s *Stream) Close() error { return s.streams.Close() }

// Stderr returns the last of what the command has written to standard error so
// far, trimmed.
func (s *Stream) Stderr() string { return s.stderr.String() }

// tailSize bounds what is kept of a command's standard error, bytes.
const tailSize = 4 << 10

// tail keeps the last that was written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-tailSize):]...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "\uFFFD"))
}

// exitCodeCause is the type of the cause in which a Status carries an exit code
// (k8s.io/apimachinery/pkg/util/remotecommand).
const exitCodeCause = "ExitCode"

// outcome reads the Status that ends a command in version 4 and 5 of the
// protocol. Code 0 is io.EOF.
func outcome(message []byte) error {
	var status metav1.Status
	if err := json.Unmarshal(message, &status); err != nil {
		return fmt.Errorf("the end of a command is not readable: %w", err)
	}
	if status.Status == metav1.StatusSuccess {
		return io.EOF
	}
	text := status.Message
	if text == "" {
		text = "the command failed: " + string(status.Reason)
	}
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			if code, err := strconv.ParseUint(cause.Message, 10, 8); cause.Type == exitCodeCause && err == nil {
				return exec.CodeExitError{Err: errors.New(text), Code: int(code)}
			}
		}
	}
	return errors.New(text)
}
