package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/kfdev/kfdev/internal/fault"
)

// protocol is the sub-protocol of port forwarding.
const protocol = "portforward.k8s.io"

// backendWithin bounds how long a connection waits for a pod that is ready.
const backendWithin = 30 * time.Second

// Forward is a local address that leads to a port of a Service: each connection
// to a pod that is ready then, so that a pod may be replaced under it.
type Forward struct {
	client    *Client
	namespace string
	service   string
	port      int
	listener  net.Listener
	cancel    context.CancelFunc
	done      sync.WaitGroup
	requests  atomic.Int64

	mu       sync.Mutex
	pods     map[string]httpstream.Connection // by name; those in use
	lastFail error
}

// Forward listens on the local address ("127.0.0.1:0" takes a free port) and
// forwards to a port of the Service, until Close. It returns once a pod behind
// the Service is ready and answers; where there is none, it says so.
func (c *Client) Forward(ctx context.Context, namespace, service string, port int, local string) (*Forward, error) {
	fail := func(err error) (*Forward, error) {
		return nil, &fault.Error{Op: "opening a connection", Subject: namespace + "/" + service, Err: err}
	}
	f := &Forward{client: c, namespace: namespace, service: service, port: port, pods: map[string]httpstream.Connection{}}
	to, err := f.backend(ctx)
	if err != nil {
		return fail(err)
	}
	if _, err := f.connection(to.pod); err != nil {
		return fail(err)
	}
	if f.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", local); err != nil {
		return fail(err)
	}
	// It lives until Close, not as long as the request that opened it.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	f.done.Add(1)
	go f.accept(life)
	return f, nil
}

// Addr returns the local address: "127.0.0.1:40321".
func (f *Forward) Addr() string { return f.listener.Addr().String() }

// Err returns why the last connection that failed did, or nil.
func (f *Forward) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastFail
}

// Close ends the forward and every connection through it.
func (f *Forward) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.mu.Lock()
	for _, connection := range f.pods {
		err = errors.Join(err, connection.Close())
	}
	f.pods = map[string]httpstream.Connection{}
	f.mu.Unlock()
	f.done.Wait()
	return err
}

func (f *Forward) accept(ctx context.Context) {
	defer f.done.Done()
	for {
		local, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.done.Add(1)
		go func() {
			defer f.done.Done()
			defer local.Close() //nolint:errcheck // nobody is left to be told
			if err := f.serve(ctx, local); err != nil && ctx.Err() == nil {
				f.mu.Lock()
				f.lastFail = err
				f.mu.Unlock()
			}
		}()
	}
}

// serve carries one connection. A pod that cannot be reached is forgotten, and
// another is tried once.
func (f *Forward) serve(ctx context.Context, local net.Conn) error {
	var problems []error
	for range 2 {
		to, err := f.backend(ctx)
		if err != nil {
			return errors.Join(append(problems, err)...)
		}
		connection, err := f.connection(to.pod)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		data, failure, err := f.streams(connection, to.port)
		if err != nil {
			f.forget(to.pod, connection)
			problems = append(problems, err)
			continue
		}
		err = carry(ctx, local, data, failure)
		connection.RemoveStreams(data, failure)
		if err != nil {
			f.forget(to.pod, connection)
		}
		return err
	}
	return errors.Join(problems...)
}

// streams opens the two streams that one connection consists of.
func (f *Forward) streams(connection httpstream.Connection, port int) (data, failure httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(f.requests.Add(1), 10))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if failure, err = connection.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	if err := failure.Close(); err != nil { // nothing is written to it
		return nil, nil, err
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	if data, err = connection.CreateStream(headers); err != nil {
		connection.RemoveStreams(failure)
		return nil, nil, err
	}
	return data, failure, nil
}

// carry copies both ways until the pod's side ends, or either fails.
func carry(ctx context.Context, local net.Conn, data, failure httpstream.Stream) error {
	failed := make(chan error, 1)
	go func() {
		message, err := io.ReadAll(failure)
		if err == nil && len(message) > 0 {
			err = errors.New(string(message))
		}
		failed <- err
	}()
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(data, local) // its end shows on the other copy
		_ = data.Close()
	}()
	down := make(chan struct{})
	go func() {
		defer close(down)
		_, _ = io.Copy(local, data)
	}()
	select {
	case <-down:
	case <-ctx.Done():
	}
	// Both are cut, so that neither copy outlives the connection.
	_ = local.Close()
	_ = data.Reset()
	<-up
	<-down
	return <-failed
}

// connection returns a connection to the pod, a new one where there is none.
func (f *Forward) connection(pod string) (httpstream.Connection, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if open, ok := f.pods[pod]; ok {
		select {
		case <-open.CloseChan():
			delete(f.pods, pod)
		default:
			return open, nil
		}
	}
	opened, err := f.client.dial(f.namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("connecting to the pod %s: %w", pod, err)
	}
	f.pods[pod] = opened
	return opened, nil
}

func (f *Forward) forget(pod string, connection httpstream.Connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pods[pod] == connection {
		delete(f.pods, pod)
	}
	_ = connection.Close() // it failed already
}

// dial opens a connection to a pod over a WebSocket, or over SPDY where the
// server, or a proxy before it, does not do that.
func (c *Client) dial(namespace, pod string) (httpstream.Connection, error) {
	address, err := url.Parse(c.url(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/portforward", url.PathEscape(namespace), url.PathEscape(pod))))
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return nil, err
	}
	socket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(address, c.Config)
	if err != nil {
		return nil, err
	}
	dialer := portforward.NewFallbackDialerForStreaming(socket, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, address),
		func(err error) bool { return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) })
	connection, _, err := dialer.Dial(protocol)
	return connection, err
}
