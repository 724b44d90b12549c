// Package dockertest has a Docker daemon in memory, for tests of what uses
// internal/docker. A container that is started really listens on the ports it
// publishes, and answers every request over HTTP with 200.
package dockertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
)

// Fake is a daemon in memory. Its methods may be called from several
// goroutines. It has the methods of docker.Client.
type Fake struct {
	mu         sync.Mutex
	next       int
	images     map[string]docker.Image // by name
	containers map[string]*box         // by name
	volumes    map[string]bool
	networks   map[string]bool
	loads      int
	// Told is what the daemon says of itself.
	Told docker.Server
}

type box struct {
	docker.Container
	files   map[string][]byte
	servers []*http.Server
}

// New returns an empty daemon, which is closed with the test.
func New(cleanup func(func())) *Fake {
	f := &Fake{
		images: map[string]docker.Image{}, containers: map[string]*box{}, volumes: map[string]bool{}, networks: map[string]bool{},
		Told: docker.Server{Version: "0", OS: "linux", CgroupVersion: 2},
	}
	cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, b := range f.containers {
			b.halt()
		}
	})
	return f
}

// Loads is how many images were loaded.
func (f *Fake) Loads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads
}

// AddNetwork makes a network.
func (f *Fake) AddNetwork(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks[name] = true
}

func (b *box) halt() {
	for _, s := range b.servers {
		_ = s.Close()
	}
	b.servers = nil
	b.Running, b.State = false, "exited"
}

func missing(what, name string) error {
	return &fault.Error{Op: "looking at the " + what, Subject: name, Kind: fault.NotFound, Err: errors.New("no such " + what)}
}

// find takes a name or an ID.
func (f *Fake) find(name string) (*box, error) {
	for _, b := range f.containers {
		if b.Name == name || b.ID == name {
			return b, nil
		}
	}
	return nil, missing("container", name)
}

// Server says what the daemon is.
func (f *Fake) Server(context.Context) (docker.Server, error) { return f.Told, nil }

// EnsureImage loads an image that is not there.
func (f *Fake) EnsureImage(ctx context.Context, archive docker.Archive) (docker.Image, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if img, ok := f.images[archive.Name]; ok && img.ID == archive.Config {
		return img, false, nil
	}
	if err := archive.Write(ctx, io.Discard); err != nil {
		return docker.Image{}, false, err
	}
	img := docker.Image{ID: archive.Config, Names: []string{archive.Name}}
	f.images[archive.Name] = img
	f.loads++
	return img, true, nil
}

// Container returns the container of a name or ID.
func (f *Fake) Container(_ context.Context, name string) (docker.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(name)
	if err != nil {
		return docker.Container{}, err
	}
	c := b.Container
	c.Networks = maps.Clone(c.Networks)
	return c, nil
}

// Containers returns the containers with the labels.
func (f *Fake) Containers(_ context.Context, labels map[string]string) ([]docker.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []docker.Container
	for _, b := range f.containers {
		match := true
		for k, v := range labels {
			got, ok := b.Labels[k]
			match = match && ok && (v == "" || v == got)
		}
		if match {
			out = append(out, b.Container)
		}
	}
	slices.SortFunc(out, func(a, b docker.Container) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Create makes a container.
func (f *Fake) Create(_ context.Context, spec docker.ContainerSpec) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.containers[spec.Name]; taken {
		return "", fmt.Errorf("the name %s is in use", spec.Name)
	}
	for volume := range spec.Volumes {
		f.volumes[volume] = true
	}
	f.next++
	f.containers[spec.Name] = &box{
		Container: docker.Container{
			ID: fmt.Sprintf("id-%d", f.next), Name: spec.Name, Image: spec.Image, Labels: spec.Labels, State: "created",
			Networks: map[string]string{"bridge": ""}, Ports: maps.Clone(spec.Publish),
		},
		files: map[string][]byte{},
	}
	return f.containers[spec.Name].ID, nil
}

// Start starts a container, and fails as Docker does where a port is taken.
func (f *Fake) Start(ctx context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(name)
	if err != nil || b.Running {
		return err
	}
	for _, at := range b.Ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
		if err != nil {
			b.halt()
			return fmt.Errorf("driver failed programming external connectivity: Bind for %s failed: port is already allocated", at)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Second}
		b.servers = append(b.servers, s)
		go func() { _ = s.Serve(l) }()
	}
	b.Running, b.State, b.Started = true, "running", time.Now()
	return nil
}

// Stop stops a container.
func (f *Fake) Stop(_ context.Context, name string, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, err := f.find(name); err == nil {
		b.halt()
	}
	return nil
}

// Remove removes a container.
func (f *Fake) Remove(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, err := f.find(name); err == nil {
		b.halt()
		delete(f.containers, b.Name)
	}
	return nil
}

// Logs returns nothing.
func (f *Fake) Logs(context.Context, string, int) (string, error) { return "", nil }

// Exec runs nothing.
func (f *Fake) Exec(context.Context, string, ...string) (string, error) { return "", nil }

// ReadFile returns what WriteFile wrote.
func (f *Fake) ReadFile(_ context.Context, name, file string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(name)
	if err != nil {
		return nil, err
	}
	content, ok := b.files[file]
	if !ok {
		return nil, missing("file", file)
	}
	return content, nil
}

// WriteFile keeps a file.
func (f *Fake) WriteFile(_ context.Context, name, file string, _ fs.FileMode, content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(name)
	if err != nil {
		return err
	}
	b.files[file] = content
	return nil
}

// EnsureVolume makes a volume that is not there.
func (f *Fake) EnsureVolume(_ context.Context, name string, _ map[string]string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := !f.volumes[name]
	f.volumes[name] = true
	return made, nil
}

// RemoveVolume removes a volume.
func (f *Fake) RemoveVolume(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.volumes, name)
	return nil
}

// NetworkExists reports whether the network was made.
func (f *Fake) NetworkExists(_ context.Context, name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.networks[name], nil
}

// Connect puts a container into a network.
func (f *Fake) Connect(_ context.Context, network, container string, _ ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(container)
	if err != nil {
		return err
	}
	if !f.networks[network] {
		return missing("network", network)
	}
	b.Networks[network] = netip.IPv4Unspecified().String()
	return nil
}

// RemoveImage removes an image's name.
func (f *Fake) RemoveImage(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.images, name)
	return nil
}

// Republish gives a container another address for a port, and starts it.
func (f *Fake) Republish(ctx context.Context, name, image, port string, at netip.AddrPort) error {
	f.mu.Lock()
	b, err := f.find(name)
	if err == nil {
		b.Ports[port] = at
		b.ID += "-moved"
		f.images[image] = docker.Image{ID: image, Names: []string{image}}
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.Start(ctx, name)
}

// Settle has nothing to settle: nothing is ever cut short here.
func (f *Fake) Settle(context.Context, string) error { return nil }
