// Package kind provides clusters with kind: each node is a container of the
// Docker daemon. Clusters are made by kind's own library; they are looked at,
// started, stopped and removed over Docker's API, which knows contexts.
package kind

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// What kind labels its nodes with, and what kfdev writes into the control
// plane's node once the cluster is whole.
const (
	labelCluster = "io.x-k8s.kind.cluster"
	labelRole    = "io.x-k8s.kind.role"
	roleControl  = "control-plane"
	markFile     = "/kind/kfdev.json"
	adminConfig  = "/etc/kubernetes/admin.conf"
	apiPort      = "6443/tcp"
)

// Patience of the steps that have no deadline of their own.
const (
	readyPatience = 3 * time.Minute  // API and nodes, after a start
	stopPatience  = 30 * time.Second // systemd in a node, before it is killed
	sweepPatience = time.Minute      // removing what a failed or canceled making left
)

// Docker is what the adapter needs of a daemon; *docker.Client has it.
type Docker interface {
	Server(ctx context.Context) (docker.Server, error)
	Container(ctx context.Context, name string) (docker.Container, error)
	Containers(ctx context.Context, labels map[string]string) ([]docker.Container, error)
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string, patience time.Duration) error
	Remove(ctx context.Context, name string) error
	RemoveVolume(ctx context.Context, name string) error
	RemoveImage(ctx context.Context, name string) error
	Republish(ctx context.Context, name, image, port string, at netip.AddrPort) error
	Settle(ctx context.Context, name string) error
	Exec(ctx context.Context, name string, command ...string) (string, error)
	ReadFile(ctx context.Context, name, file string) ([]byte, error)
	WriteFile(ctx context.Context, name, file string, mode fs.FileMode, content []byte) error
}

// Provider makes kind clusters. It is safe for concurrent use on different
// names.
type Provider struct {
	docker Docker
	dir    string
	sink   progress.Sink
}

var _ cluster.Provider = (*Provider)(nil)

// New makes a provider. Dir is a folder of this machine that the nodes of every
// cluster mount (read only) and that must stay: the mirror's configuration is
// in it.
func New(d Docker, dir string, sink progress.Sink) *Provider {
	return &Provider{docker: d, dir: dir, sink: sink}
}

// Network is the Docker network that kind puts its nodes into.
func Network() string {
	if name := os.Getenv("KIND_EXPERIMENTAL_DOCKER_NETWORK"); name != "" {
		return name
	}
	return "kind"
}

// mark is what the control plane's node says of its cluster. It is written
// last, so that a cluster without it is known to be half made.
type mark struct {
	Owner string         `json:"owner"`
	Image string         `json:"image"`
	Holds []cluster.Held `json:"holds,omitempty"`
}

// Get looks at a cluster.
func (p *Provider) Get(ctx context.Context, name string) (cluster.State, error) {
	state, _, err := p.get(ctx, name)
	return state, err
}

// get returns the state with the containers it was read from.
func (p *Provider) get(ctx context.Context, name string) (cluster.State, []docker.Container, error) {
	containers, err := p.nodes(ctx, name)
	if err != nil {
		return cluster.State{}, nil, err
	}
	if len(containers) == 0 {
		return cluster.State{}, nil, &fault.Error{
			Op: "looking for the cluster", Subject: cluster.ContextName(name), Kind: fault.NotFound,
			Hint: "`kfdev up` makes it", Err: errors.New("there is none"),
		}
	}
	state := cluster.State{Name: name, Phase: cluster.Running}
	for _, c := range containers {
		state.Nodes = append(state.Nodes, cluster.Node{Name: c.Name, ID: c.ID, Running: c.Running})
		if !c.Running {
			state.Phase = cluster.Stopped
		}
	}
	control := containers[0]
	// Docker takes its time for each file.
	var admin []byte
	var adminErr error
	var reading sync.WaitGroup
	reading.Go(func() { admin, adminErr = p.docker.ReadFile(ctx, control.ID, adminConfig) })
	raw, err := p.docker.ReadFile(ctx, control.ID, markFile)
	reading.Wait()
	if fault.KindOf(err) == fault.NotFound {
		state.Phase = cluster.Incomplete
		return state, containers, nil
	}
	if err != nil {
		return cluster.State{}, nil, err
	}
	var m mark
	if err := json.Unmarshal(raw, &m); err != nil {
		return cluster.State{}, nil, &fault.Error{Op: "reading " + markFile, Subject: control.Name, Err: err}
	}
	state.Owner, state.Image, state.Holds = m.Owner, m.Image, m.Holds
	state.Ports = published(control)
	state.Server = "https://" + control.Ports[apiPort].String()
	if adminErr != nil {
		return state, containers, adminErr
	}
	state.Kubeconfig, err = kubeconfig(admin, control, name, state.Server)
	return state, containers, err
}

// nodes returns the cluster's containers, the control plane first.
func (p *Provider) nodes(ctx context.Context, name string) ([]docker.Container, error) {
	containers, err := p.docker.Containers(ctx, map[string]string{labelCluster: cluster.ContextName(name)})
	containers = slices.DeleteFunc(containers, func(c docker.Container) bool { return docker.Aside(c.Name) })
	slices.SortStableFunc(containers, func(a, b docker.Container) int {
		switch ac, bc := a.Labels[labelRole] == roleControl, b.Labels[labelRole] == roleControl; {
		case ac == bc:
			return strings.Compare(a.Name, b.Name)
		case ac:
			return -1
		}
		return 1
	})
	return containers, err
}

// Ensure has the cluster as spec says.
func (p *Provider) Ensure(ctx context.Context, spec cluster.Spec) (cluster.State, error) {
	if err := spec.Validate(); err != nil {
		return cluster.State{}, err
	}
	if err := p.writeFiles(spec.Mirror); err != nil {
		return cluster.State{}, &fault.Error{Op: "writing what the nodes mount", Subject: p.dir, Err: err}
	}
	if err := p.settle(ctx, spec.Name); err != nil {
		return cluster.State{}, err
	}
	state, containers, err := p.get(ctx, spec.Name)
	if fault.KindOf(err) == fault.NotFound {
		return p.create(ctx, spec)
	}
	if err != nil {
		return cluster.State{}, err
	}
	if state.Phase == cluster.Incomplete {
		progress.Say(p.sink, "the cluster's making was cut short before anything was in it: making it anew")
		if err := p.Delete(ctx, spec.Name); err != nil {
			return cluster.State{}, err
		}
		return p.create(ctx, spec)
	}
	if err := spec.Differs(state); err != nil {
		return cluster.State{}, err
	}
	return p.run(ctx, spec.Name, state, containers)
}

// Start starts a stopped cluster.
func (p *Provider) Start(ctx context.Context, name string) (cluster.State, error) {
	if err := p.settle(ctx, name); err != nil {
		return cluster.State{}, err
	}
	state, containers, err := p.get(ctx, name)
	if err != nil {
		return cluster.State{}, err
	}
	if state.Phase == cluster.Incomplete {
		return cluster.State{}, &fault.Error{
			Op: "starting the cluster", Subject: cluster.ContextName(name), Kind: fault.Preflight,
			Hint: "`kfdev up` makes it anew", Err: errors.New("its making was cut short"),
		}
	}
	return p.run(ctx, name, state, containers)
}

// run starts what does not run, and waits until everything is ready.
func (p *Provider) run(ctx context.Context, name string, state cluster.State, containers []docker.Container) (_ cluster.State, err error) {
	if state.Phase == cluster.Stopped {
		task := progress.Start(p.sink, "cluster/start", "starting "+cluster.ContextName(name), 0, progress.None)
		defer func() { task.End(err) }()
		for _, c := range containers {
			if c.Running {
				continue
			}
			if err := p.start(ctx, c); err != nil {
				return cluster.State{}, err
			}
		}
		if state, containers, err = p.get(ctx, name); err != nil {
			return cluster.State{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	if err := waitReady(ctx, state.Kubeconfig, since(containers)); err != nil {
		return cluster.State{}, err
	}
	return state, nil
}

// since is what each node must have reported after to count as ready: a
// stopped cluster's own records say that all was ready.
func since(containers []docker.Container) map[string]time.Time {
	out := map[string]time.Time{}
	for _, c := range containers {
		out[c.Name] = c.Started
	}
	return out
}

// Stop stops the cluster's nodes, the control plane last.
func (p *Provider) Stop(ctx context.Context, name string) (err error) {
	state, containers, err := p.get(ctx, name)
	if err != nil {
		return err
	}
	if state.Phase == cluster.Stopped && !slices.ContainsFunc(containers, func(c docker.Container) bool { return c.Running }) {
		return nil
	}
	task := progress.Start(p.sink, "cluster/stop", "stopping "+cluster.ContextName(name), 0, progress.None)
	defer func() { task.End(err) }()
	slices.Reverse(containers)
	for _, c := range containers {
		p.quiesce(ctx, c)
		if err := p.docker.Stop(ctx, c.ID, stopPatience); err != nil {
			return err
		}
	}
	return nil
}

// quiescence is how long a node may take to come to rest, and the command that
// brings it there: the kubelet starts nothing any more, and what runc was
// starting has started. Should nobody come to stop the node after all, because
// whoever was about to was killed, its kubelet starts again by itself.
const (
	quiescence = 10 * time.Second
	quiesce    = `systemd-run --quiet --on-active=` + again + ` systemctl start kubelet; systemctl stop kubelet; n=0; ` +
		`while [ $n -lt 50 ] && grep -qs '^runc' /proc/[0-9]*/comm; do n=$((n+1)); sleep 0.1; done`
	again = "60s" // more than quiescence and stopPatience together
)

// quiesce lets a running node come to rest before it is stopped or removed. On
// cgroup v1, runc freezes a container for a moment while it makes it; a node
// that is shut down in that moment has a frozen process that nothing can kill
// any more, and its container never ends. A node that can't be asked (it has
// no kubelet yet) has nothing to wait for.
func (p *Provider) quiesce(ctx context.Context, c docker.Container) {
	if !c.Running {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, quiescence)
	defer cancel()
	_, _ = p.docker.Exec(ctx, c.ID, "sh", "-c", quiesce)
}

// Delete removes the cluster's nodes with their volumes.
func (p *Provider) Delete(ctx context.Context, name string) (err error) {
	containers, err := p.docker.Containers(ctx, map[string]string{labelCluster: cluster.ContextName(name)})
	if err != nil || len(containers) == 0 {
		return err
	}
	task := progress.Start(p.sink, "cluster/delete", "removing "+cluster.ContextName(name), 0, progress.None)
	defer func() { task.End(err) }()
	return p.remove(ctx, containers)
}

func (p *Provider) remove(ctx context.Context, containers []docker.Container) error {
	var problems []error
	for _, c := range containers {
		p.quiesce(ctx, c)
		problems = append(problems, p.docker.Remove(ctx, c.ID))
	}
	// What a node that was given another port has beside its container.
	for _, c := range containers {
		for _, volume := range c.Volumes {
			problems = append(problems, p.docker.RemoveVolume(ctx, volume))
		}
		problems = append(problems, p.docker.RemoveImage(ctx, movedImage(c.Name)))
	}
	return errors.Join(problems...)
}

// kindProvider is kind's library, reporting to the sink.
func (p *Provider) kindProvider(log *logger) *kindcluster.Provider {
	return kindcluster.NewProvider(kindcluster.ProviderWithDocker(), kindcluster.ProviderWithLogger(log))
}

// The folders that nodes mount, below the provider's.
func (p *Provider) certsDir() string    { return filepath.Join(p.dir, "certs.d") }
func (p *Provider) storageFile() string { return filepath.Join(p.dir, "default-storage.yaml") }
