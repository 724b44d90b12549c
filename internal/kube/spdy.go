package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/rest"
	transport "k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// spdyStreams carries a command's streams over SPDY, for servers and proxies
// that do no WebSockets.
type spdyStreams struct {
	connection            httpstream.Connection
	stdin, stdout, failed httpstream.Stream
	others                sync.WaitGroup

	once   sync.Once
	status error
	result chan error
}

func openSPDY(ctx context.Context, config *rest.Config, address string, stdin bool, stderr io.Writer) (*spdyStreams, error) {
	tripper, upgrader, err := transport.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return nil, err
	}
	connection, _, err := transport.NegotiateStreaming(upgrader, &http.Client{Transport: tripper}, request, remotecommand.StreamProtocolV4Name)
	if err != nil {
		return nil, err
	}
	// The streams are made at once or not at all: a server waits for each.
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	s := &spdyStreams{connection: connection, result: make(chan error, 1)}
	streams := map[string]httpstream.Stream{}
	names := []string{corev1.StreamTypeError, corev1.StreamTypeStdout, corev1.StreamTypeStderr}
	if stdin {
		names = append(names, corev1.StreamTypeStdin)
	}
	for _, name := range names {
		if streams[name], err = connection.CreateStream(http.Header{corev1.StreamType: {name}}); err != nil {
			return nil, errors.Join(err, connection.Close())
		}
	}
	s.stdin, s.stdout, s.failed = streams[corev1.StreamTypeStdin], streams[corev1.StreamTypeStdout], streams[corev1.StreamTypeError]
	s.others.Add(2)
	go func() {
		defer s.others.Done()
		_, _ = io.Copy(stderr, streams[corev1.StreamTypeStderr]) // its end shows on the others
	}()
	go func() {
		defer s.others.Done()
		s.result <- s.await()
	}()
	return s, nil
}

// await reads how the command ended.
func (s *spdyStreams) await() error {
	raw, err := io.ReadAll(io.LimitReader(s.failed, maxOutcome))
	switch {
	case err != nil:
		return err
	case len(raw) == 0:
		return io.ErrUnexpectedEOF
	}
	return outcome(raw)
}

func (s *spdyStreams) Read(p []byte) (int, error) {
	n, err := s.stdout.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	s.once.Do(func() {
		s.others.Wait() // all of standard error has come too then
		s.status = <-s.result
	})
	return n, s.status
}

func (s *spdyStreams) Write(p []byte) (int, error) { return s.stdin.Write(p) }

func (s *spdyStreams) CloseWrite() error { return s.stdin.Close() }

func (s *spdyStreams) Close() error {
	_ = s.connection.Close() // its goodbye may come too late for the other side
	s.others.Wait()
	return nil
}
