package envs

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/clustertest"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
)

// errCut is what a program sees of its own end.
var errCut = errors.New("cut off")

// gate is passed before and after every write to the world. At the point that
// it is set to, the program that writes dies: nothing that it does after that
// comes through.
type gate struct {
	mu     sync.Mutex
	writes []string // begun
	points []string
	cutAt  int // the point to die at, from 1; 0: never
	dead   bool
}

func (g *gate) pass(point string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return errCut
	}
	g.points = append(g.points, point)
	if g.dead = len(g.points) == g.cutAt; g.dead {
		return errCut
	}
	return nil
}

func (g *gate) write(what string, do func() error) error {
	if err := g.pass("before " + what); err != nil {
		return err
	}
	g.mu.Lock()
	g.writes = append(g.writes, what)
	g.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	return g.pass("after " + what)
}

// revive starts a new program, to die at a point of its own.
func (g *gate) revive(cutAt int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes, g.points, g.cutAt, g.dead = nil, nil, cutAt, false
}

func (g *gate) written() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.writes)
}

// outside is a world in memory. It outlives engines, as the real one does.
type outside struct {
	gate
	clusters *clustertest.Fake
	content  *origintest.Memory // of the local registry
	remote   *fakeRemote

	mu       sync.Mutex
	loaded   map[string]docker.Image // by name
	registry endpoint
	contexts map[string]string // context → server
	current  string
	stacks   map[string]map[string]*fakeSet // node's id → component
	secrets  map[string]map[string][]byte   // node's id and name → values
	pods     []corev1.Pod
	starting bool   // the cluster's API does not answer yet
	disk     space  // free, wherever one looks
	asked    int    // for what the cluster holds
	removing func() // called before the registry goes
}

type fakeSet struct {
	hash  string
	ready bool
}

func newOutside() *outside {
	o := &outside{
		clusters: clustertest.NewFake(), content: origintest.NewMemory(), remote: &fakeRemote{Memory: origintest.NewMemory(), err: errors.New("no route to host")},
		loaded: map[string]docker.Image{}, contexts: map[string]string{}, stacks: map[string]map[string]*fakeSet{}, secrets: map[string]map[string][]byte{},
	}
	o.disk = space{everybody: unknown, root: unknown}
	o.clusters.Inside = func(string) error { return o.pass("inside cluster") }
	return o
}

// world is what an engine gets of it.
func (o *outside) world() world {
	return world{
		Daemon: fakeDaemon{o}, Clusters: fakeClusters{o.clusters, o},
		Registry:   func(image *docker.Archive) localRegistry { return fakeRegistry{o, image} },
		Target:     func(netip.AddrPort) images.Target { return fakeTarget{o.content, o} },
		Connect:    func(kubeconfig []byte) (live, error) { return o.connect(kubeconfig) },
		Kubeconfig: fakeContexts{o},
		Disk:       func(string) space { return o.disk },
	}
}

type fakeDaemon struct{ *outside }

func (d fakeDaemon) Server(context.Context) (docker.Server, error) {
	return docker.Server{Version: "28", OS: "linux", Arch: "x86_64", CgroupVersion: 2}, nil
}

func (d fakeDaemon) Image(_ context.Context, name string) (docker.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	img, ok := d.loaded[name]
	if !ok {
		return img, &fault.Error{Op: "looking at the image", Subject: name, Kind: fault.NotFound, Err: errors.New("no such image")}
	}
	return img, nil
}

func (d fakeDaemon) EnsureImage(ctx context.Context, a docker.Archive) (docker.Image, bool, error) {
	img := docker.Image{ID: a.Config, Names: []string{a.Name}, DiffIDs: a.DiffIDs}
	return img, true, d.write("load "+a.Name, func() error {
		if err := a.Write(ctx, io.Discard); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.loaded[a.Name] = img
		return nil
	})
}

type fakeClusters struct {
	*clustertest.Fake
	outside *outside
}

func (c fakeClusters) Ensure(ctx context.Context, spec cluster.Spec) (state cluster.State, err error) {
	err = c.outside.write("cluster", func() error {
		state, err = c.Fake.Ensure(ctx, spec)
		c.outside.mu.Lock()
		defer c.outside.mu.Unlock()
		c.outside.starting = false // Ensure waits for the API
		return err
	})
	return state, err
}

func (c fakeClusters) Delete(ctx context.Context, name string) error {
	return c.outside.write("delete cluster", func() error { return c.Fake.Delete(ctx, name) })
}

type fakeRegistry struct {
	*outside
	image *docker.Archive
}

func (r fakeRegistry) Get(context.Context) (endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.registry.ID == "" {
		return endpoint{}, &fault.Error{Op: "looking at the container", Subject: "registry", Kind: fault.NotFound, Err: errors.New("no such container")}
	}
	return r.registry, nil
}

func (r fakeRegistry) Ensure(ctx context.Context) (endpoint, error) {
	err := r.write("registry", func() error {
		if r.image == nil {
			return errors.New("without an image it can only be looked at")
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.registry.ID, r.registry.Running, r.registry.Addr = "registry-1", true, netip.MustParseAddrPort("127.0.0.1:5735")
		// The network is made with the first cluster.
		r.registry.Connected = r.registry.Connected || r.clusters.Made() > 0
		return r.image.Write(ctx, io.Discard)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registry, err
}

func (r fakeRegistry) Connect(context.Context) error {
	return r.write("connect the registry", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.registry.Connected = true
		return nil
	})
}

func (r fakeRegistry) Remove(context.Context) error {
	if r.removing != nil {
		r.removing()
	}
	return r.write("remove the registry", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.registry = endpoint{}
		return nil
	})
}

func (fakeRegistry) NodeURL() string { return "http://kfdev-registry.svc:5000" }

type fakeTarget struct {
	*origintest.Memory
	outside *outside
}

func (t fakeTarget) PutBlob(ctx context.Context, repository string, desc v1.Descriptor, content io.Reader) error {
	return t.outside.write("blob "+repository+"@"+desc.Digest.Hex[:6], func() error {
		return t.Memory.PutBlob(ctx, repository, desc, content)
	})
}

func (t fakeTarget) PutManifest(ctx context.Context, ref images.Ref, m images.Manifest) error {
	return t.outside.write("manifest "+ref.Repository, func() error { return t.Memory.PutManifest(ctx, ref, m) })
}

type fakeContexts struct{ *outside }

func (c fakeContexts) Lacks(s cluster.State, current bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := cluster.ContextName(s.Name)
	return c.contexts[name] != s.Server || current && c.current != name, nil
}

func (c fakeContexts) Merge(s cluster.State, current bool) (string, error) {
	return "merged", c.write("context", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.contexts[cluster.ContextName(s.Name)] = s.Server
		if current {
			c.current = cluster.ContextName(s.Name)
		}
		return nil
	})
}

func (c fakeContexts) Remove(name string) (removed bool, err error) {
	err = c.write("remove context", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, removed = c.contexts[name]
		delete(c.contexts, name)
		return nil
	})
	return removed, err
}
