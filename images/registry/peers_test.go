package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/localregistry"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
)

// TestMain allows for the one goroutine that the library's server leaves when
// it stops; a server stops once in its process's life.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

// peers are real registry servers, in this process.
func peers() map[string]func(*testing.T) http.Handler {
	return map[string]func(*testing.T) http.Handler{
		"go-containerregistry": func(*testing.T) http.Handler {
			return ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
		},
		"distribution": distributionPeer,
	}
}

// distributionPeer serves a folder as the local registry does, and hands
// requests on to it.
func distributionPeer(t *testing.T) http.Handler {
	t.Helper()
	root := t.TempDir() // before the cleanup below, so that it goes after the server
	ready := make(chan net.Addr, 1)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		stopped <- localregistry.Serve(ctx, localregistry.Config{
			Addr: "127.0.0.1:0", Root: root, Ready: func(a net.Addr) { ready <- a },
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-stopped)
	})
	select {
	case addr := <-ready:
		return forward(t, addr.String())
	case err := <-stopped:
		require.NoError(t, err)
	}
	return nil
}

// forward is a plain reverse proxy that keeps the Host header, so that the
// peer's Location headers lead back to the proxy.
func forward(t *testing.T, to string) http.Handler {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.RequestURI = "http", to, ""
		if r.ContentLength == 0 {
			out.Body = http.NoBody
		}
		resp, err := transport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
}

// proxy stands before a peer, keeps a record, and misbehaves as told.
type proxy struct {
	inner http.Handler
	addr  string // host:port

	mu      sync.Mutex
	asked   []string // METHOD path[?query][ Range]
	damage  map[string]func([]byte) []byte
	content map[string][]byte
	meddle  func(w http.ResponseWriter, r *http.Request, n int) bool // true: answered
}

func serve(t *testing.T, inner http.Handler) *proxy {
	t.Helper()
	p := &proxy{inner: inner, damage: map[string]func([]byte) []byte{}, content: map[string][]byte{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.addr = strings.TrimPrefix(server.URL, "http://")
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	line := r.Method + " " + r.URL.RequestURI()
	if rng := r.Header.Get("Range"); rng != "" {
		line += " " + rng
	}
	p.asked = append(p.asked, line)
	n, meddle := len(p.asked), p.meddle
	digest := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	change, content := p.damage[digest], p.content[digest]
	p.mu.Unlock()
	if meddle != nil && meddle(w, r, n) {
		return
	}
	if change != nil && r.Method == http.MethodGet {
		if changed := change(content); changed != nil {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(changed))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}`)
		return
	}
	p.inner.ServeHTTP(w, r)
}

func (p *proxy) requests(containing string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, a := range p.asked {
		if strings.Contains(a, containing) {
			found = append(found, a)
		}
	}
	return found
}

func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

func (p *proxy) meddleWith(f func(w http.ResponseWriter, r *http.Request, n int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meddle = f
}

// fill pushes the fixture and the tag v1 for its index.
func (p *proxy) fill(t *testing.T, f origintest.Fixture) {
	t.Helper()
	target := registry.NewTarget(config(t), registry.MirrorLayout(p.addr))
	_, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: target}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	p.tag(t, f, f.Index.Digest, "v1")
	p.mu.Lock()
	defer p.mu.Unlock()
	for d, b := range f.Blobs {
		p.content[d.String()] = b
	}
	for d, m := range f.Manifests {
		p.content[d.String()] = m.Raw
	}
	p.asked = nil
}

func (p *proxy) tag(t *testing.T, f origintest.Fixture, digest v1.Hash, tag string) {
	t.Helper()
	_, path, _ := strings.Cut(f.Repository, "/")
	url := fmt.Sprintf("http://%s/v2/%s/manifests/%s", p.addr, path, tag)
	m := f.Manifests[digest]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(m.Raw))
	require.NoError(t, err)
	req.Header.Set("Content-Type", string(m.MediaType))
	resp, err := client(t).Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusCreated, resp.StatusCode)
}

func (p *proxy) setDamage(digest v1.Hash, change func([]byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.damage[digest.String()] = change
}

// config returns a configuration whose connections end with the test.
func config(t *testing.T) registry.Config {
	t.Helper()
	return registry.Config{Transport: transport(t), Keychain: noKeys{}}
}

func transport(t *testing.T) *http.Transport {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func client(t *testing.T) *http.Client {
	t.Helper()
	return &http.Client{Transport: transport(t)}
}

// tick makes pauses pass at once and keeps how long they would have been.
type tick struct {
	mu     sync.Mutex
	pauses []time.Duration
}

func (k *tick) sleep(ctx context.Context, d time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pauses = append(k.pauses, d)
	return ctx.Err()
}

func (k *tick) all() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]time.Duration(nil), k.pauses...)
}
