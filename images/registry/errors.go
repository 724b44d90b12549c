package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// errStalled is the cause when a download gave no byte for too long.
var errStalled = errors.New("no byte came for too long")

// passing marks an error whose cause may be gone when the same is tried again
// from the start; images.Copier looks for it.
type passing struct{ error }

// Temporary says that it may pass.
func (passing) Temporary() bool { return true }

// Unwrap returns the cause.
func (p passing) Unwrap() error { return p.error }

// explain turns what went wrong with a registry into a fault.
func explain(op, subject, host string, err error) error {
	if err == nil {
		return nil
	}
	f := &fault.Error{Op: op, Subject: subject, Err: scrub(err)}
	var status *transport.Error
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, images.ErrContent):
	case errors.As(err, &status):
		explainStatus(f, status.StatusCode, host)
	case errors.As(err, &dns), errors.As(err, &dial):
		f.Hint = fmt.Sprintf("is %s reached from this machine? A proxy is taken from HTTPS_PROXY; without a registry, lock with origin: source", host)
	}
	return f
}

func explainStatus(f *fault.Error, code int, host string) {
	switch code {
	case http.StatusNotFound:
		f.Kind = fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Hint = fmt.Sprintf("log in with `docker login %s`; many registries say the same of a repository that does not exist", host)
	case http.StatusTooManyRequests:
		f.Hint = fmt.Sprintf("%s limits how much may be pulled: log in with `docker login %s`, name a mirror, or wait", host, host)
	}
}

// scrub takes queries and credentials out of the addresses in err's text: a
// registry's redirects carry signatures there. The chain stays as it is.
func scrub(err error) error {
	var at *url.Error
	if !errors.As(err, &at) {
		return err
	}
	u, parseErr := url.Parse(at.URL)
	if parseErr != nil {
		return err
	}
	u.RawQuery, u.User = "", nil
	return scrubbed{err, strings.ReplaceAll(err.Error(), at.URL, u.String())}
}

type scrubbed struct {
	error
	text string
}

// Error returns the text without secrets.
func (s scrubbed) Error() string { return s.text }

// Unwrap returns the error as it was.
func (s scrubbed) Unwrap() error { return s.error }

// checkStatus returns an error that carries the registry's own words unless
// the answer has one of the wanted codes. A Retry-After that was too long to
// wait for is part of them.
func checkStatus(resp *http.Response, want ...int) error {
	err := transport.CheckError(resp, want...)
	if err == nil {
		return nil
	}
	if wait := retryAfter(resp.Header.Get("Retry-After"), time.Now()); wait > 0 {
		err = fmt.Errorf("%w (asks to wait %s)", err, wait.Round(time.Second))
	}
	if passingStatus(resp.StatusCode) {
		err = passing{err}
	}
	return err
}
