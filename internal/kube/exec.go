package kube

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

// Exec is a command to be run in a container.
type Exec struct {
	Namespace, Pod, Container string
	Command                   []string
	Stdin                     io.Reader // nil: none
	Stdout, Stderr            io.Writer // nil: dropped; written to at the same time, so two that differ
}

// Exec runs a command in a container and waits for it. A command that ends
// with another code than 0 is an error of k8s.io/client-go/util/exec.
func (c *Client) Exec(ctx context.Context, e Exec) error {
	query := url.Values{"command": e.Command, "container": {e.Container}, "stdout": {"true"}, "stderr": {"true"}}
	if e.Stdin != nil {
		query.Set("stdin", "true")
	}
	address, err := url.Parse(c.url(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/exec", url.PathEscape(e.Namespace), url.PathEscape(e.Pod))))
	if err != nil {
		return err
	}
	address.RawQuery = query.Encode()
	spdy, err := remotecommand.NewSPDYExecutor(c.Config, "POST", address)
	if err != nil {
		return err
	}
	socket, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", address.String())
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	stream := remotecommand.StreamOptions{Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr}
	if stream.Stdout == nil {
		stream.Stdout = io.Discard
	}
	if stream.Stderr == nil {
		stream.Stderr = io.Discard
	}
	if err := executor.StreamWithContext(ctx, stream); err != nil {
		return fmt.Errorf("running %q in %s/%s: %w", e.Command, e.Namespace, e.Pod, err)
	}
	return nil
}
