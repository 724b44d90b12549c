// Package docker is the narrow client that kfdev has of a Docker daemon:
// images that are loaded once, containers, volumes and networks, each by name
// or label. It talks the daemon's API (1.24 and later, negotiated), at the
// address that the docker command would use.
package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/kfdev/kfdev/internal/fault"
)

// Client is a connection to one daemon. It is safe for concurrent use.
type Client struct {
	api *client.Client
}

// New makes a client for the daemon that the docker command would talk to:
// DOCKER_HOST, else the current context of the docker command's configuration,
// else the platform's default socket. It does not connect.
func New() (*Client, error) {
	host, err := contextHost()
	if err != nil {
		return nil, &fault.Error{Op: "finding the Docker daemon", Kind: fault.Preflight, Hint: "see `docker context ls`", Err: err}
	}
	if host != "" {
		return connect(client.FromEnv, client.WithHost(host))
	}
	return connect(client.FromEnv)
}

func connect(options ...client.Opt) (*Client, error) {
	options = append(options, client.WithAPIVersionNegotiation())
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, &fault.Error{Op: "finding the Docker daemon", Kind: fault.Preflight, Err: err}
	}
	return &Client{api: api}, nil
}

// Close ends the idle connections.
func (c *Client) Close() error { return c.api.Close() }

// Host is the daemon's address, for messages.
func (c *Client) Host() string { return c.api.DaemonHost() }

// Server is what a daemon says of itself.
type Server struct {
	Version       string
	API           string // version negotiated
	OS            string // "linux"
	Arch          string // as GOARCH names it where Docker does: "x86_64", "aarch64"
	Storage       string // storage driver: "overlay2"
	Root          string // where the daemon keeps its data, on its own machine
	CgroupVersion int    // 1 or 2; 0 where the daemon is too old to say
	CPUs          int
	Memory        int64 // bytes
}

// Server asks the daemon what it is. A daemon that does not answer is a fault
// of kind Preflight.
func (c *Client) Server(ctx context.Context) (Server, error) {
	info, err := c.api.Info(ctx)
	if err != nil {
		return Server{}, c.fail("asking the Docker daemon", c.Host(), err)
	}
	s := Server{
		Version: info.ServerVersion, API: c.api.ClientVersion(), OS: info.OSType, Arch: info.Architecture,
		Storage: info.Driver, Root: info.DockerRootDir, CPUs: info.NCPU, Memory: info.MemTotal,
	}
	if _, err := fmt.Sscanf(info.CgroupVersion, "%d", &s.CgroupVersion); err != nil {
		s.CgroupVersion = 0
	}
	return s, nil
}

// fail turns an error of the API into a fault with the kind that it is.
func (c *Client) fail(op, subject string, err error) error {
	f := &fault.Error{Op: op, Subject: subject, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case client.IsErrConnectionFailed(err):
		f.Kind = fault.Preflight
		f.Hint = "start Docker (in a clone of kfdev: `make setup`), or point DOCKER_HOST at a daemon that runs"
	case errdefs.IsPermissionDenied(err):
		f.Kind = fault.Preflight
		f.Hint = "this user may not talk to the daemon: add it to the group docker"
	case errdefs.IsNotFound(err):
		f.Kind = fault.NotFound
	}
	return f
}
