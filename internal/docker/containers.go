package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// Container is a container in the daemon.
type Container struct {
	ID       string
	Name     string
	Image    string // ID of its image
	Labels   map[string]string
	Running  bool
	State    string                    // the daemon's word: created, running, exited, …
	Started  time.Time                 // when it was last started; zero where it never was
	ExitCode int                       // of one that has ended
	Networks map[string]string         // network's name → address in it, empty while stopped
	Ports    map[string]netip.AddrPort // "5000/tcp" → address on the host that it is asked to be bound to
	Volumes  []string                  // names of the volumes that it has mounted
}

// ContainerSpec is a container to be made.
type ContainerSpec struct {
	Name    string
	Image   string // ID or name of a loaded image; never pulled
	Args    []string
	Env     map[string]string
	Labels  map[string]string
	Volumes map[string]string // volume's name → folder in the container
	// Publish binds a port of the container ("5000/tcp") to an address of the host.
	Publish map[string]netip.AddrPort
	// Restart keeps it running after a failure and after the daemon's restart,
	// until it is stopped.
	Restart bool
}

// Container returns the container of a name or ID, a fault of kind NotFound
// where there is none.
func (c *Client) Container(ctx context.Context, name string) (Container, error) {
	got, err := c.api.ContainerInspect(ctx, name)
	if err != nil {
		return Container{}, c.fail("looking at the container", name, err)
	}
	out := Container{
		ID: got.ID, Name: strings.TrimPrefix(got.Name, "/"), Image: got.Image,
		Networks: map[string]string{}, Ports: map[string]netip.AddrPort{},
	}
	for _, m := range got.Mounts {
		if m.Type == mount.TypeVolume {
			out.Volumes = append(out.Volumes, m.Name)
		}
	}
	if got.Config != nil {
		out.Labels = got.Config.Labels
	}
	if got.State != nil {
		out.Running, out.State, out.ExitCode = got.State.Running, got.State.Status, got.State.ExitCode
		if at, err := time.Parse(time.RFC3339Nano, got.State.StartedAt); err == nil && at.Year() > 1 {
			out.Started = at
		}
	}
	if got.NetworkSettings != nil {
		for name, endpoint := range got.NetworkSettings.Networks {
			out.Networks[name] = endpoint.IPAddress
		}
	}
	if got.HostConfig != nil {
		for port, bindings := range got.HostConfig.PortBindings {
			for _, b := range bindings {
				if at, err := netip.ParseAddrPort(b.HostIP + ":" + b.HostPort); err == nil {
					out.Ports[string(port)] = at
				}
			}
		}
	}
	return out, nil
}

// Containers returns the containers that have all the labels (an empty value
// matches any), running or not, in the order of their names.
func (c *Client) Containers(ctx context.Context, labels map[string]string) ([]Container, error) {
	query := filters.NewArgs()
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if labels[key] == "" {
			query.Add("label", key)
		} else {
			query.Add("label", key+"="+labels[key])
		}
	}
	listed, err := c.api.ContainerList(ctx, container.ListOptions{All: true, Filters: query})
	if err != nil {
		return nil, c.fail("listing containers", "", err)
	}
	var out []Container
	for _, l := range listed {
		got, err := c.Container(ctx, l.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	slices.SortFunc(out, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Create makes a container without starting it, and returns its ID.
func (c *Client) Create(ctx context.Context, spec ContainerSpec) (string, error) {
	config := &container.Config{Image: spec.Image, Cmd: spec.Args, Labels: spec.Labels, ExposedPorts: nat.PortSet{}}
	for _, key := range slices.Sorted(maps.Keys(spec.Env)) {
		config.Env = append(config.Env, key+"="+spec.Env[key])
	}
	host := &container.HostConfig{PortBindings: nat.PortMap{}}
	for _, name := range slices.Sorted(maps.Keys(spec.Volumes)) {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: name, Target: spec.Volumes[name]})
	}
	for port, at := range spec.Publish {
		config.ExposedPorts[nat.Port(port)] = struct{}{}
		host.PortBindings[nat.Port(port)] = []nat.PortBinding{{HostIP: at.Addr().String(), HostPort: strconv.Itoa(int(at.Port()))}}
	}
	if spec.Restart {
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	}
	made, err := c.api.ContainerCreate(ctx, config, host, nil, nil, spec.Name)
	if err != nil {
		return "", c.fail("making the container", spec.Name, err)
	}
	return made.ID, nil
}

// Start starts a container; one that runs is left as it is.
func (c *Client) Start(ctx context.Context, name string) error {
	if err := c.api.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return c.fail("starting the container", name, err)
	}
	return nil
}

// Stop stops a container, and kills it when it has not stopped after patience.
// One that is stopped or not there is no error.
func (c *Client) Stop(ctx context.Context, name string, patience time.Duration) error {
	seconds := int(patience.Seconds())
	if err := c.api.ContainerStop(ctx, name, container.StopOptions{Timeout: &seconds}); err != nil && !errdefs.IsNotFound(err) {
		return c.fail("stopping the container", name, err)
	}
	return nil
}

// Remove kills and removes a container with its anonymous volumes. One that is
// not there is no error; one that is being removed is waited for.
func (c *Client) Remove(ctx context.Context, name string) error {
	err := c.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return nil
	case !errdefs.IsConflict(err):
		return c.fail("removing the container", name, err)
	}
	gone, failed := c.api.ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-gone:
		return nil
	case err := <-failed:
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		return c.fail("removing the container", name, err)
	}
}

// Logs returns the last lines that a container wrote, at most n.
func (c *Client) Logs(ctx context.Context, name string, n int) (string, error) {
	stream, err := c.api.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return "", c.fail("reading the log of the container", name, err)
	}
	defer stream.Close() //nolint:errcheck // only read
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, stream); err != nil {
		return out.String(), c.fail("reading the log of the container", name, err)
	}
	return out.String(), nil
}

// Exec runs a command in a running container and returns what it wrote to both
// its outputs. An exit code other than 0 is an error that carries its output.
func (c *Client) Exec(ctx context.Context, name string, command ...string) (string, error) {
	op := "running " + command[0] + " in the container"
	made, err := c.api.ContainerExecCreate(ctx, name, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", c.fail(op, name, err)
	}
	attached, err := c.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", c.fail(op, name, err)
	}
	defer attached.Close()
	// The hijacked connection does not know the context.
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, attached.Reader); err != nil && !errors.Is(err, io.EOF) {
		return out.String(), c.fail(op, name, errors.Join(ctx.Err(), err))
	}
	done, err := c.api.ContainerExecInspect(ctx, made.ID)
	if err != nil {
		return out.String(), c.fail(op, name, err)
	}
	if done.ExitCode != 0 {
		return out.String(), c.fail(op, name, fmt.Errorf("exit code %d: %s", done.ExitCode, strings.TrimSpace(out.String())))
	}
	return out.String(), nil
}
