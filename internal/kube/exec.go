package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
)

// Exec is a command to be run in a container.
type Exec struct {
	Namespace, Pod, Container string
	Command                   []string
	Stdin                     io.Reader // nil: none
	Stdout, Stderr            io.Writer // nil: dropped
}

// Exec runs a command in a container and waits for it. A command that ends
// with another code than 0 is an error of k8s.io/client-go/util/exec.
func (c *Client) Exec(ctx context.Context, e Exec) error {
	if err := c.exec(ctx, e); err != nil {
		return fmt.Errorf("running %q in %s/%s: %w", e.Command, e.Namespace, e.Pod, ended(ctx, err))
	}
	return nil
}

func (c *Client) exec(ctx context.Context, e Exec) error {
	if e.Stdout == nil {
		e.Stdout = io.Discard
	}
	if e.Stderr == nil {
		e.Stderr = io.Discard
	}
	streams, err := c.open(ctx, e.address(c, e.Stdin != nil), e.Stdin != nil, e.Stderr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = streams.Close() })
	defer stop()
	if e.Stdin != nil {
		// It may outlive the command: a reader can't be told to stop.
		go func() {
			if _, err := io.Copy(streams, e.Stdin); err == nil {
				_ = streams.CloseWrite() // where that fails, reading does too
			}
		}()
	}
	_, err = io.Copy(e.Stdout, streams)
	closed := streams.Close()
	if err != nil {
		return errors.Join(err, closed)
	}
	return nil // the server may have closed it first
}

// address returns the path and query of the command.
func (e Exec) address(c *Client, stdin bool) string {
	query := url.Values{"command": e.Command, "container": {e.Container}, "stdout": {"true"}, "stderr": {"true"}}
	if stdin {
		query.Set("stdin", "true")
	}
	return c.url(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/exec?%s", url.PathEscape(e.Namespace), url.PathEscape(e.Pod), query.Encode()))
}
