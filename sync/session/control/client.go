package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// Client speaks to the session of a folder.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient returns a client. Nothing is asked yet. The caller closes it.
func NewClient(dir string) *Client {
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir) },
		DisableKeepAlives: true,
	}}}
}

// Close lets go of connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns what is known of the session.
func (c *Client) Status(ctx context.Context) (session.Status, error) {
	var s session.Status
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

// Holds returns what the pod has, where the session is in sync and clean.
func (c *Client) Holds(ctx context.Context) (_ *tree.Tree, err error) {
	answer, err := c.ask(ctx, http.MethodGet, "/tree", nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	held, err := decodeTree(answer.Body)
	if err != nil {
		return nil, &fault.Error{Op: "asking the session", Subject: filepath.Base(c.dir), Err: err}
	}
	return held, nil
}

// Undo brings back what the last batch that took something away took away.
func (c *Client) Undo(ctx context.Context) (session.Undone, error) {
	var u session.Undone
	return u, c.call(ctx, http.MethodPost, "/undo", nil, &u)
}

// Resolve ends a conflict.
func (c *Client) Resolve(ctx context.Context, path string, keep session.Keep) error {
	return c.call(ctx, http.MethodPost, "/resolve", resolveRequest{Path: []byte(path), Keep: keep}, &struct{}{})
}

// Resume lets a halted session go on.
func (c *Client) Resume(ctx context.Context, how session.Resumption) error {
	return c.call(ctx, http.MethodPost, "/resume", resumeRequest{How: how}, &struct{}{})
}

// stopLook is how often Stop looks whether the process has let go.
const stopLook = 20 * time.Millisecond

// Stop ends the session, and returns when its process has let go of it.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.call(ctx, http.MethodPost, "/stop", nil, &struct{}{}); err != nil {
		return err
	}
	look := time.NewTicker(stopLook)
	defer look.Stop()
	for {
		if _, runs, err := Look(c.dir); err != nil || !runs {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return &fault.Error{Op: "waiting for the session to end", Subject: filepath.Base(c.dir), Kind: fault.KindOf(ctx.Err()), Err: ctx.Err()}
		}
	}
}

// Events calls each with what happens, until the session ends, which is no
// error, each fails, or the context ends.
func (c *Client) Events(ctx context.Context, each func(session.Event) error) (err error) {
	answer, err := c.ask(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, 4096), maxEvent)
	for lines.Scan() {
		var e session.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return &fault.Error{Op: "reading an event", Subject: filepath.Base(c.dir), Err: err}
		}
		if err := each(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // as where its process is killed
		return &fault.Error{Op: "reading the events", Subject: filepath.Base(c.dir), Err: err}
	}
	return nil
}

// call asks and decodes the answer. A newer session may say more than is known.
func (c *Client) call(ctx context.Context, method, path string, in, out any) (err error) {
	answer, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if err := decode(answer.Body, maxAnswer, false, out); err != nil {
		return &fault.Error{Op: "asking the session", Subject: filepath.Base(c.dir), Err: err}
	}
	return nil
}

// ask sends a request. Where the session said no, its error is returned. The
// caller closes the answer's body.
func (c *Client) ask(ctx context.Context, method, path string, in any) (*http.Response, error) {
	fail := func(err error) (*http.Response, error) {
		return nil, &fault.Error{Op: "asking the session", Subject: filepath.Base(c.dir), Err: err}
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fail(err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://session"+path, body)
	if err != nil {
		return fail(err)
	}
	answer, err := c.http.Do(request)
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fail(&fault.Error{Kind: fault.NotFound, Hint: "`kfdev sync ls` lists the sessions that run", Err: errors.New("it does not run")})
	case err != nil:
		return fail(err)
	case answer.StatusCode == http.StatusOK:
		return answer, nil
	}
	var f failure
	if err := decode(answer.Body, maxRequest, false, &f); err != nil {
		f.Error = "it answered " + answer.Status
	}
	return nil, errors.Join(f.fault(), answer.Body.Close())
}
