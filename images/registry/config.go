// Package registry reaches container registries: it resolves tags to digests,
// serves verified bytes as an images.Origin, and takes them as an
// images.Target. It waits out limits and passing failures, goes on with a
// download where it broke off, and tries mirrors before the registry itself.
//
// The protocol is the OCI distribution specification 1.1; the authentication
// handshake and the credentials (~/.docker/config.json and its helpers) are
// go-containerregistry's.
package registry

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/kfdev/kfdev/internal/progress"
)

// Config is how registries are reached. The zero Config is ready: Docker's
// credentials, no mirrors, the proxy of the environment, nothing reported.
type Config struct {
	// Mirrors are tried, in order, before the registry of the given host
	// ("docker.io"; "*" is for every host that is not named). A mirror is a
	// host with, where needed, a path before the repository: "mirror.example/hub".
	Mirrors map[string][]string
	// PlainHTTP names hosts that are reached without TLS. Loopback and private
	// addresses are tried both ways without being named.
	PlainHTTP []string
	// Keychain gives credentials; nil means Docker's configuration file.
	Keychain authn.Keychain
	// Transport carries the requests; nil means one of its own with the
	// proxies of the environment.
	Transport http.RoundTripper
	// Sink is told of waits and of downloads that go on after a break; nil
	// drops every event.
	Sink progress.Sink
	// Retry says how failures that may pass are met; the zero Retry is ready.
	Retry Retry
	// Chunk is how much of a large blob is sent at once, bytes; 0 means 16 MiB.
	Chunk int64
}

func (c Config) chunk() int64 {
	if c.Chunk > 0 {
		return c.Chunk
	}
	return defaultChunk
}

// Retry is the policy for failures that may pass: 408, 429, 500, 502, 503 and
// 504, and broken connections.
type Retry struct {
	Attempts int           // of one request, all counted; 0 means 6
	First    time.Duration // the first pause; it doubles each time; 0 means 500 ms
	Longest  time.Duration // the longest pause of kfdev's own, and the longest that a registry's Retry-After may ask; 0 means 60 s
	Stall    time.Duration // a download that gives no byte for so long is broken; 0 means 60 s

	sleep func(context.Context, time.Duration) error // for tests
}

// The timeouts of connections of this package's own transport. The header
// timeout is long, since a registry hashes a whole layer before it answers.
const (
	dialTimeout   = 15 * time.Second
	headerTimeout = 3 * time.Minute
	idleTimeout   = 90 * time.Second
	maxIdle       = 16
)

func (c Config) withDefaults() Config {
	if c.Keychain == nil {
		c.Keychain = authn.DefaultKeychain
	}
	if c.Sink == nil {
		c.Sink = progress.Discard
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       idleTimeout,
			MaxIdleConnsPerHost:   maxIdle,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true, // bytes are what their digest says, as they are
		}
	}
	c.Retry = c.Retry.withDefaults()
	return c
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 6
	}
	if r.First <= 0 {
		r.First = 500 * time.Millisecond
	}
	if r.Longest <= 0 {
		r.Longest = time.Minute
	}
	if r.Stall <= 0 {
		r.Stall = time.Minute
	}
	if r.sleep == nil {
		r.sleep = sleep
	}
	return r
}

// pause returns how long to wait before the attempt that follows failures
// ones: doubling, capped, and drawn from the upper half so that many clients
// do not come back at once.
func (r Retry) pause(failures int) time.Duration {
	d := r.Longest
	if shift := failures - 1; shift < 20 {
		d = min(r.First<<shift, r.Longest)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter, not a secret
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
