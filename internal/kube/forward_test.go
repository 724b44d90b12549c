package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/kfdev/kfdev/internal/fault"
)

// paperCluster serves one Service, its endpoint slice, and port forwarding to
// pods that answer every line with their name and the line.
type paperCluster struct {
	mu          sync.Mutex
	pods        map[string]bool // by name: ready
	connections map[string]httpstream.Connection
	changed     chan struct{} // closed and replaced when the pods change
}

func newPaperCluster(pods ...string) *paperCluster {
	c := &paperCluster{pods: map[string]bool{}, connections: map[string]httpstream.Connection{}, changed: make(chan struct{})}
	for _, p := range pods {
		c.pods[p] = true
	}
	return c
}

// replace makes old go, and its connections with it, and other ready.
func (c *paperCluster) replace(old, other string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pods, old)
	if other != "" {
		c.pods[other] = true
	}
	if open := c.connections[old]; open != nil {
		_ = open.Close()
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *paperCluster) slice() string {
	var endpoints []string
	for name := range c.pods {
		endpoints = append(endpoints, fmt.Sprintf(`{"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":%q}}`, name))
	}
	return `{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"web-1","namespace":"ns"},"addressType":"IPv4","ports":[{"name":"http","port":8080}],"endpoints":[` + strings.Join(endpoints, ",") + `]}`
}

func (c *paperCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/api/v1/namespaces/ns/services/web":
		_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"ns"},"spec":{"ports":[{"name":"http","port":80}]}}`)
	case r.URL.Path == "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices" && r.URL.Query().Get("watch") == "true":
		c.watch(w, r)
	case r.URL.Path == "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices":
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.WriteString(w, `{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList","metadata":{"resourceVersion":"1"},"items":[`+c.slice()+`]}`)
	case strings.HasSuffix(r.URL.Path, "/portforward"):
		c.forward(w, r, strings.Split(r.URL.Path, "/")[6])
	default:
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404, "message": "not found"})
	}
}

func (c *paperCluster) watch(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	changed := c.changed
	c.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	select {
	case <-r.Context().Done():
		return
	case <-changed:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(w, `{"type":"MODIFIED","object":`+c.slice()+"}\n")
}

func (c *paperCluster) forward(w http.ResponseWriter, r *http.Request, pod string) {
	c.mu.Lock()
	alive := c.pods[pod]
	c.mu.Unlock()
	if !alive {
		http.Error(w, "no such pod", http.StatusNotFound)
		return
	}
	if r.Header.Get("Upgrade") == "websocket" {
		http.Error(w, "an old server", http.StatusBadRequest)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{protocol}); err != nil {
		return
	}
	failures := make(chan httpstream.Stream, 64)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
			failures <- stream
			return nil
		}
		failure := <-failures
		go func() {
			defer failure.Close() //nolint:errcheck // a peer of a test
			defer stream.Close()  //nolint:errcheck // as above
			line, err := bufio.NewReader(stream).ReadString('\n')
			if err != nil {
				return
			}
			if line == "fail\n" {
				_, _ = io.WriteString(failure, "nobody listens on "+stream.Headers().Get(corev1.PortHeader))
				return
			}
			_, _ = io.WriteString(stream, pod+" "+stream.Headers().Get(corev1.PortHeader)+" "+line)
		}()
		return nil
	})
	if connection == nil {
		return
	}
	c.mu.Lock()
	c.connections[pod] = connection
	c.mu.Unlock()
	<-connection.CloseChan()
}

// talk sends a line and returns what comes back, or the error that came.
func talk(address, line string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close() //nolint:errcheck // read to its end
	if _, err = io.WriteString(conn, line+"\n"); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(answer))
}

func TestForward(t *testing.T) { //nolint:paralleltest // goleak looks at the whole process
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cluster := newPaperCluster("one")
	server := httptest.NewServer(cluster)
	defer server.Close()
	client, err := Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	defer client.Close()

	f, err := client.Forward(t.Context(), "ns", "web", 80, "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, "one 8080 hello", talk(f.Addr(), "hello"))

	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			line := fmt.Sprintf("line %d", i)
			if got := talk(f.Addr(), line); got != "one 8080 "+line {
				t.Errorf("got %q", got)
			}
		}()
	}
	all.Wait()

	cluster.replace("one", "two")
	require.Equal(t, "two 8080 again", talk(f.Addr(), "again"), "the pod was replaced under the address")

	require.Empty(t, talk(f.Addr(), "fail"))
	require.Eventually(t, func() bool { return f.Err() != nil }, 10*time.Second, 10*time.Millisecond)
	require.ErrorContains(t, f.Err(), "nobody listens on 8080")

	// A connection that comes while no pod is ready waits for the next one.
	cluster.replace("two", "")
	answer := make(chan string, 1)
	go func() { answer <- talk(f.Addr(), "patience") }()
	cluster.replace("", "three")
	require.Equal(t, "three 8080 patience", <-answer)
	require.NoError(t, f.Close())
}

func TestForwardToNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newPaperCluster("one"))
	t.Cleanup(server.Close)
	client, err := Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	_, err = client.Forward(t.Context(), "ns", "nope", 80, "127.0.0.1:0")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = client.Forward(t.Context(), "ns", "web", 81, "127.0.0.1:0")
	require.ErrorContains(t, err, "has no port 81")

	empty := httptest.NewServer(newPaperCluster())
	t.Cleanup(empty.Close)
	client, err = Connect(&rest.Config{Host: empty.URL})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Forward(ctx, "ns", "web", 80, "127.0.0.1:0")
	require.ErrorIs(t, err, context.Canceled)
}
