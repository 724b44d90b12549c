package registry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// client holds the outcome of handshakes: one for a registry that asks for no
// credentials, else one for each repository and scope.
type client struct {
	cfg  Config
	base http.RoundTripper

	mu       sync.Mutex
	sessions map[string]*session
}

// session is the outcome of one handshake. Its lock is held while the
// handshake runs, so that it runs once.
type session struct {
	mu    sync.Mutex
	http  *http.Client
	asked *transport.Challenge // what a registry answered when it was asked first
}

func newClient(cfg Config) *client {
	cfg = cfg.withDefaults()
	return &client{
		cfg:      cfg,
		base:     &retrying{inner: cfg.Transport, retry: cfg.Retry, sink: cfg.Sink, now: time.Now},
		sessions: map[string]*session{},
	}
}

// open returns the client for a repository, after the handshake of its
// registry. Scope is transport.PullScope or transport.PushScope.
func (c *client) open(ctx context.Context, repo name.Repository, scope string) (*http.Client, error) {
	registry := c.session(repo.RegistryStr())
	registry.mu.Lock()
	if registry.asked == nil {
		asked, err := transport.Ping(ctx, repo.Registry, c.base)
		if err != nil {
			registry.mu.Unlock()
			return nil, err
		}
		registry.asked = asked
	}
	if registry.asked.Scheme == "" {
		defer registry.mu.Unlock()
		return c.handshake(ctx, registry, repo, scope)
	}
	registry.mu.Unlock()

	s := c.session(repo.Name() + " " + scope)
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.handshake(ctx, s, repo, scope)
}

func (c *client) session(key string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[key]
	if !ok {
		s = &session{}
		c.sessions[key] = s
	}
	return s
}

// handshake returns the session's client, and makes it first when there is
// none. The caller holds the session's lock.
func (c *client) handshake(ctx context.Context, s *session, repo name.Repository, scope string) (*http.Client, error) {
	if s.http != nil {
		return s.http, nil
	}
	auth, err := authn.Resolve(ctx, c.cfg.Keychain, repo)
	if err != nil {
		return nil, fmt.Errorf("finding credentials for %s: %w", repo.RegistryStr(), err)
	}
	tr, err := transport.NewWithContext(ctx, repo.Registry, auth, c.base, []string{repo.Scope(scope)})
	if err != nil {
		return nil, err
	}
	s.http = &http.Client{Transport: tr}
	return s.http, nil
}

// do sends a request to a repository's registry. The path is below
// /v2/<repository>/. The answer has one of the wanted codes.
func (c *client) do(ctx context.Context, repo name.Repository, scope, method, path string, header http.Header, want ...int) (*http.Response, error) {
	session, err := c.open(ctx, repo, scope)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, address(repo, path), http.NoBody)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := session.Do(req)
	if err != nil {
		return nil, err
	}
	if err := checkStatus(resp, want...); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func address(repo name.Repository, path string) string {
	return fmt.Sprintf("%s://%s/v2/%s/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr(), path)
}

// repository parses a repository's name as this client reaches it.
func (c *client) repository(s string) (name.Repository, error) {
	repo, err := name.NewRepository(s)
	if err != nil {
		return repo, fmt.Errorf("%q is not the name of a repository: %w", s, err)
	}
	if slices.Contains(c.cfg.PlainHTTP, repo.RegistryStr()) {
		return name.NewRepository(s, name.Insecure)
	}
	return repo, nil
}

// candidates returns where a repository is looked for: its mirrors, in order,
// then its own registry.
func (c *client) candidates(s string) ([]name.Repository, error) {
	own, err := c.repository(s)
	if err != nil {
		return nil, err
	}
	host := own.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	mirrors, ok := c.cfg.Mirrors[host]
	if !ok {
		mirrors = c.cfg.Mirrors["*"]
	}
	repos := make([]name.Repository, 0, len(mirrors)+1)
	for _, m := range mirrors {
		repo, err := c.repository(strings.TrimSuffix(m, "/") + "/" + own.RepositoryStr())
		if err != nil {
			return nil, fmt.Errorf("mirror of %s: %w", host, err)
		}
		repos = append(repos, repo)
	}
	return append(repos, own), nil
}
