package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// Aside reports whether a container of that name is one that Republish was
// about to replace.
func Aside(name string) bool { return strings.HasSuffix(name, asideSuffix) }

// asideSuffix is what a container's name gets while another takes its place.
const asideSuffix = "-aside"

// Republish gives a stopped container another address on the host for one of
// its ports, and starts it. Docker cannot change a container's ports, so it is
// made anew, with its files (committed under the name image), its volumes and
// all its settings. What was cut short is finished, or taken back, by Settle.
func (c *Client) Republish(ctx context.Context, name, image, port string, at netip.AddrPort) error {
	op := "giving another port to the container"
	old, err := c.api.ContainerInspect(ctx, name)
	if err != nil {
		return c.fail(op, name, err)
	}
	if old.State.Running {
		return c.fail(op, name, errors.New("it runs"))
	}
	committed, err := c.api.ContainerCommit(ctx, old.ID, container.CommitOptions{Reference: image})
	if err != nil {
		return c.fail(op, name, err)
	}
	config, host := *old.Config, *old.HostConfig
	config.Image = committed.ID
	host.PortBindings = nat.PortMap{}
	for p, bindings := range old.HostConfig.PortBindings {
		host.PortBindings[p] = bindings
	}
	host.PortBindings[nat.Port(port)] = []nat.PortBinding{{HostIP: at.Addr().String(), HostPort: strconv.Itoa(int(at.Port()))}}
	host.Binds = append([]string(nil), host.Binds...)
	for _, m := range old.Mounts {
		if m.Type == mount.TypeVolume && !bound(host, m.Destination) {
			host.Binds = append(host.Binds, m.Name+":"+m.Destination)
		}
	}
	networks := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	for n, e := range old.NetworkSettings.Networks {
		networks.EndpointsConfig[n] = &network.EndpointSettings{Aliases: e.Aliases}
	}
	if err := c.api.ContainerRename(ctx, old.ID, name+asideSuffix); err != nil {
		return c.fail(op, name, err)
	}
	made, err := c.api.ContainerCreate(ctx, &config, &host, networks, nil, name)
	if err == nil {
		err = c.api.ContainerStart(ctx, made.ID, container.StartOptions{})
	}
	// Also what failed is settled: the old one comes back.
	return errors.Join(c.asFault(op, name, err), c.Settle(context.WithoutCancel(ctx), name))
}

func (c *Client) asFault(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return c.fail(op, subject, err)
}

// bound reports whether the settings already say what is mounted at the folder.
func bound(host container.HostConfig, destination string) bool {
	for _, b := range host.Binds {
		if parts := strings.Split(b, ":"); len(parts) > 1 && parts[1] == destination {
			return true
		}
	}
	for _, m := range host.Mounts {
		if m.Target == destination {
			return true
		}
	}
	return false
}

// Settle brings a container that Republish was about to replace to one of the
// two ends: once the new one has run it stays, else the old one comes back. A
// container that was not being replaced is left alone.
func (c *Client) Settle(ctx context.Context, name string) error {
	op := "settling the container"
	aside, err := c.api.ContainerInspect(ctx, name+asideSuffix)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return c.fail(op, name, err)
	}
	there, err := c.Container(ctx, name)
	switch {
	case err == nil && !there.Started.IsZero():
		// Its volumes are the new one's.
		if err := c.api.ContainerRemove(ctx, aside.ID, container.RemoveOptions{}); err != nil {
			return c.fail(op, name, err)
		}
		return nil
	case err == nil:
		if err := c.api.ContainerRemove(ctx, there.ID, container.RemoveOptions{}); err != nil {
			return c.fail(op, name, err)
		}
	case !errdefs.IsNotFound(errors.Unwrap(err)):
		return err
	}
	if err := c.api.ContainerRename(ctx, aside.ID, name); err != nil {
		return c.fail(op, name, fmt.Errorf("taking it back: %w", err))
	}
	return nil
}
