// Package registry keeps the one local registry of a user: a container of the
// Docker daemon that all of the user's clusters pull from, made from the kfdev
// program itself, bound to loopback, with its content in a volume that outlives
// container and clusters.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Names and places.
const (
	// DefaultName is the container's and the volume's name, and its host name in
	// the clusters' network.
	DefaultName = "kfdev-registry"
	// LabelOwned marks what is kfdev's own in the daemon.
	LabelOwned = "kfdev.dev/owned"
	// DefaultPort is asked for first on the host.
	DefaultPort = 5735
	// inside is the port in the container, and dataDir what the volume is mounted at.
	inside  = 5000
	dataDir = "/var/lib/registry"
)

// Patience and pace of waiting for the registry's first answer.
const (
	answerPatience = 20 * time.Second
	answerEvery    = 20 * time.Millisecond
	stopPatience   = 5 * time.Second
)

// Docker is what the registry needs of a daemon; *docker.Client has it.
type Docker interface {
	EnsureImage(ctx context.Context, archive docker.Archive) (docker.Image, bool, error)
	Container(ctx context.Context, name string) (docker.Container, error)
	Create(ctx context.Context, spec docker.ContainerSpec) (string, error)
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string, patience time.Duration) error
	Remove(ctx context.Context, name string) error
	Logs(ctx context.Context, name string, n int) (string, error)
	EnsureVolume(ctx context.Context, name string, labels map[string]string) (bool, error)
	RemoveVolume(ctx context.Context, name string) error
	NetworkExists(ctx context.Context, name string) (bool, error)
	Connect(ctx context.Context, network, container string, aliases ...string) error
}

// Options say which registry.
type Options struct {
	Name string // DefaultName when empty; tests have others
	Port int    // to be asked for first; DefaultPort when 0
	// Image is the registry's. It serves at port 5000, and keeps its content in
	// /var/lib/registry.
	Image docker.Archive
	// Network is the clusters' network, which need not be there yet.
	Network string
}

// Registry is the local registry. It is safe for concurrent use; two processes
// that ensure it at once may see each other's failures, and converge when they
// repeat.
type Registry struct {
	docker  Docker
	options Options
	sink    progress.Sink
}

// State is what the registry is.
type State struct {
	ID      string         // of the container
	Addr    netip.AddrPort // on this machine: 127.0.0.1:5735
	Running bool
	Image   string // ID of the image that the container runs
	// Empty is true when the volume had to be made: what was in it, if there
	// was one, is gone and has to be copied again.
	Empty bool
	// Connected is true where it is in the clusters' network, so that nodes reach
	// it. That network is made with the first cluster.
	Connected bool
}

// New describes the registry; nothing is done yet.
func New(d Docker, options Options, sink progress.Sink) *Registry {
	if options.Name == "" {
		options.Name = DefaultName
	}
	if options.Port == 0 {
		options.Port = DefaultPort
	}
	return &Registry{docker: d, options: options, sink: sink}
}

// NodeURL is where the nodes of clusters reach the registry. The name ends in
// .svc because kind tells its nodes not to take that way through a proxy.
func (r *Registry) NodeURL() string { return fmt.Sprintf("http://%s:%d", r.alias(), inside) }

func (r *Registry) alias() string { return r.options.Name + ".svc" }

// Get looks at the registry; none is a fault of kind NotFound.
func (r *Registry) Get(ctx context.Context) (State, error) {
	c, err := r.docker.Container(ctx, r.options.Name)
	if err != nil {
		return State{}, err
	}
	_, connected := c.Networks[r.options.Network]
	return State{
		ID: c.ID, Addr: c.Ports[portName()], Running: c.Running, Image: c.Image, Connected: connected || r.options.Network == "",
	}, nil
}

func portName() string { return fmt.Sprintf("%d/tcp", inside) }

// Ensure has the registry running, from the given image, answering, and in the
// clusters' network where there is one. It keeps its port unless another
// program has taken it; then the next free one is chosen, and said.
func (r *Registry) Ensure(ctx context.Context) (State, error) {
	image, _, err := r.docker.EnsureImage(ctx, r.options.Image)
	if err != nil {
		return State{}, err
	}
	empty, err := r.docker.EnsureVolume(ctx, r.options.Name, r.labels())
	if err != nil {
		return State{}, err
	}
	state, err := r.Get(ctx)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		state = State{Addr: loopback(r.options.Port)}
	case err != nil:
		return State{}, err
	}
	state.Empty = empty
	if state.ID != "" && (state.Image != image.ID || empty) {
		// Another kfdev's program, or a container whose volume was taken away
		// under it: the container holds nothing of its own.
		if err := r.docker.Remove(ctx, state.ID); err != nil {
			return State{}, err
		}
		state.ID, state.Running = "", false
	}
	if !state.Running {
		if state, err = r.start(ctx, state, image); err != nil {
			return State{}, err
		}
	}
	if state.Connected, err = r.connect(ctx); err != nil {
		return State{}, err
	}
	return state, r.awaitAnswer(ctx, state.Addr)
}

// start starts the container, and makes it anew with another port when its own
// is taken.
func (r *Registry) start(ctx context.Context, state State, image docker.Image) (_ State, err error) {
	task := progress.Start(r.sink, "registry/start", "starting the local registry", 0, progress.None)
	defer func() { task.End(err) }()
	if state.ID != "" {
		if err = r.docker.Start(ctx, state.ID); err == nil {
			state.Running = true
			return state, nil
		}
		if !portTaken(err) {
			return State{}, err
		}
		if err := r.docker.Remove(ctx, state.ID); err != nil {
			return State{}, err
		}
	}
	wanted := state.Addr
	for attempt := range 5 {
		if attempt > 0 || !free(ctx, state.Addr) {
			if state.Addr, err = freeAddr(ctx); err != nil {
				return State{}, err
			}
		}
		if state.ID, err = r.create(ctx, state.Addr, image); err != nil {
			return State{}, err
		}
		if err = r.docker.Start(ctx, state.ID); err == nil {
			break
		}
		if removeErr := r.docker.Remove(ctx, state.ID); removeErr != nil || !portTaken(err) {
			return State{}, errors.Join(err, removeErr)
		}
	}
	if err != nil {
		return State{}, err
	}
	if state.Addr != wanted {
		progress.Warn(r.sink, fmt.Sprintf("port %d is taken by another program: the local registry is at %s", wanted.Port(), state.Addr))
	}
	state.Running, state.Image = true, image.ID
	return state, nil
}

func (r *Registry) create(ctx context.Context, at netip.AddrPort, image docker.Image) (string, error) {
	return r.docker.Create(ctx, docker.ContainerSpec{
		Name: r.options.Name, Image: image.ID, Labels: r.labels(),
		Volumes: map[string]string{r.options.Name: dataDir},
		Publish: map[string]netip.AddrPort{portName(): at},
		Restart: true,
	})
}

func (r *Registry) labels() map[string]string { return map[string]string{LabelOwned: "registry"} }

// Connect puts the registry into the clusters' network, if there is one yet.
func (r *Registry) Connect(ctx context.Context) error {
	_, err := r.connect(ctx)
	return err
}

// connect is Connect; it reports whether there is a network.
func (r *Registry) connect(ctx context.Context) (bool, error) {
	if r.options.Network == "" {
		return true, nil
	}
	there, err := r.docker.NetworkExists(ctx, r.options.Network)
	if err != nil || !there {
		return false, err
	}
	return true, r.docker.Connect(ctx, r.options.Network, r.options.Name, r.alias())
}

// Stop stops the registry; its content stays. None is no error.
func (r *Registry) Stop(ctx context.Context) error {
	return r.docker.Stop(ctx, r.options.Name, stopPatience)
}

// Remove removes the registry with its content. None is no error.
func (r *Registry) Remove(ctx context.Context) error {
	if err := r.docker.Remove(ctx, r.options.Name); err != nil {
		return err
	}
	return r.docker.RemoveVolume(ctx, r.options.Name)
}

// awaitAnswer waits until the registry answers: before it listens there is
// nothing to watch, so it is asked until it does.
func (r *Registry) awaitAnswer(ctx context.Context, at netip.AddrPort) error {
	waiting, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for {
		err := answers(waiting, at)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			words, logErr := r.docker.Logs(context.WithoutCancel(ctx), r.options.Name, 10)
			if logErr != nil {
				words = logErr.Error()
			}
			f := &fault.Error{Op: "waiting for the local registry", Subject: at.String(), Kind: fault.Timeout, Err: fmt.Errorf("%w; its last words:\n%s", err, words)}
			if ctx.Err() != nil {
				f.Kind = fault.KindOf(ctx.Err())
			}
			return f
		}
	}
}

// answers asks for the root of the registry's API, and never over a proxy.
func answers(ctx context.Context, at netip.AddrPort) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/v2/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)) //nolint:gosec // a port
}

func free(ctx context.Context, at netip.AddrPort) bool {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func freeAddr(ctx context.Context) (netip.AddrPort, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	return at, errors.Join(err, l.Close())
}

// portTaken reads Docker's messages, which have no code of their own.
func portTaken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use")
}
