package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// retrying repeats requests whose failure may pass. It lies under the
// authentication, so that token requests are covered too. A request whose body
// cannot be had again is sent once.
type retrying struct {
	inner http.RoundTripper
	retry Retry
	sink  progress.Sink
	now   func() time.Time
}

// maxDrain bounds what is read of an answer that is thrown away, so that its
// connection can be used again.
const maxDrain = 64 << 10

// RoundTrip sends the request, and again where that may help. When attempts
// run out the last answer is returned as it is.
func (t *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := t.inner.RoundTrip(req)
		passing := passes(resp, err)
		if !passing || attempt >= t.retry.Attempts || !again(req) {
			return resp, err
		}
		pause, asked := t.retry.pause(attempt), time.Duration(0)
		if resp != nil {
			asked = retryAfter(resp.Header.Get("Retry-After"), t.now())
			if asked > t.retry.Longest {
				return resp, nil // longer than anyone wants to sit there; the caller says so
			}
			_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
			_ = resp.Body.Close()
		}
		pause = max(pause, asked)
		progress.Say(t.sink, fmt.Sprintf("%s: %s; trying again in %s (%d of %d)",
			req.URL.Host, why(resp, err), pause.Round(100*time.Millisecond), attempt+1, t.retry.Attempts))
		if err := t.retry.sleep(req.Context(), pause); err != nil {
			return nil, err
		}
		if req, err = rewound(req); err != nil {
			return nil, err
		}
	}
}

func why(resp *http.Response, err error) string {
	if err != nil {
		return scrub(err).Error()
	}
	return resp.Status
}

// again reports whether the request can be sent once more.
func again(req *http.Request) bool {
	return req.Context().Err() == nil && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
}

func rewound(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	fresh := req.Clone(req.Context())
	fresh.Body = body
	return fresh, nil
}

// passes reports whether the outcome is one that may be different next time.
func passes(resp *http.Response, err error) bool {
	if err != nil {
		return passingError(err)
	}
	return passingStatus(resp.StatusCode)
}

func passingStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// passingError tells connections that broke or stalled from hosts that are not
// there, which only cost time when they are asked again.
func passingError(err error) bool {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary && !dns.IsNotFound
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errStalled),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return true
	}
	return errors.As(err, &timeout) && timeout.Timeout()
}

// retryAfter reads the header of that name: seconds, or a date. What cannot be
// read asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
