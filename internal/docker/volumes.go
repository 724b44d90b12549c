package docker

import (
	"context"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// EnsureVolume has a volume of the name, and makes it with the labels when
// there is none. Made says whether it had to be.
func (c *Client) EnsureVolume(ctx context.Context, name string, labels map[string]string) (made bool, err error) {
	if _, err := c.api.VolumeInspect(ctx, name); err == nil {
		return false, nil
	} else if !errdefs.IsNotFound(err) {
		return false, c.fail("looking at the volume", name, err)
	}
	if _, err := c.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels}); err != nil {
		return false, c.fail("making the volume", name, err)
	}
	return true, nil
}

// RemoveVolume removes a volume with all that is in it. One that is not there
// is no error.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	if err := c.api.VolumeRemove(ctx, name, false); err != nil && !errdefs.IsNotFound(err) {
		return c.fail("removing the volume", name, err)
	}
	return nil
}

// NetworkExists reports whether there is a network of exactly that name.
func (c *Client) NetworkExists(ctx context.Context, name string) (bool, error) {
	// The API finds by ID and prefix too.
	listed, err := c.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return false, c.fail("looking for the network", name, err)
	}
	return slices.ContainsFunc(listed, func(n network.Summary) bool { return n.Name == name }), nil
}

// Connect puts a container into a network, where it is found under its name and
// the aliases too; one that is in it already is no error.
func (c *Client) Connect(ctx context.Context, networkName, containerName string, aliases ...string) error {
	got, err := c.Container(ctx, containerName)
	if err != nil {
		return err
	}
	if _, in := got.Networks[networkName]; in {
		return nil
	}
	if err := c.api.NetworkConnect(ctx, networkName, got.ID, &network.EndpointSettings{Aliases: aliases}); err != nil {
		return c.fail("connecting "+containerName+" to the network", networkName, err)
	}
	return nil
}
