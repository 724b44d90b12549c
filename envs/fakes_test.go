package envs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/clustertest"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
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
	pods     []corev1.Pod
}

type fakeSet struct {
	hash  string
	ready bool
}

func newOutside() *outside {
	o := &outside{
		clusters: clustertest.NewFake(), content: origintest.NewMemory(), remote: &fakeRemote{Memory: origintest.NewMemory(), err: errors.New("no route to host")},
		loaded: map[string]docker.Image{}, contexts: map[string]string{}, stacks: map[string]map[string]*fakeSet{},
	}
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

// fakeLive is the stack in one cluster.
type fakeLive struct {
	*outside
	node string
}

// connect finds the cluster by what its kubeconfig says.
func (o *outside) connect(kubeconfig []byte) (live, error) {
	got, err := o.clusters.Get(context.Background(), "demo")
	if err != nil || string(got.Kubeconfig) != string(kubeconfig) || got.Phase != cluster.Running {
		return nil, fmt.Errorf("nothing answers there: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	node := got.Nodes[0].ID
	if o.stacks[node] == nil {
		o.stacks[node] = map[string]*fakeSet{}
	}
	return fakeLive{o, node}, nil
}

// set returns a copy of what the cluster has of a component.
func (l fakeLive) set(name string) fakeSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.stacks[l.node][name]; s != nil {
		return *s
	}
	return fakeSet{}
}

func (l fakeLive) put(name string, s *fakeSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == nil {
		delete(l.stacks[l.node], name)
		return
	}
	l.stacks[l.node][name] = s
}

func (l fakeLive) Plan(_ context.Context, p part) (apply.ChangeSet, error) {
	change := apply.Created
	if l.set(p.Name).hash == p.hash {
		change = apply.Unchanged
	}
	var changes apply.ChangeSet
	for _, o := range p.rendered.Objects {
		changes = append(changes, apply.Entry{Object: apply.ObjectOf(o), Change: change})
	}
	return changes, nil
}

func (l fakeLive) Apply(ctx context.Context, p part) (apply.ChangeSet, error) {
	changes, err := l.Plan(ctx, p)
	if err != nil {
		return nil, err
	}
	return changes, l.write("apply "+p.Name, func() error {
		if err := l.pass("inside apply " + p.Name); err != nil {
			return err
		}
		// What it runs must be there to be pulled, and within reach.
		if !l.outside.registry.Connected {
			return errors.New("nodes don't reach the registry")
		}
		for _, ref := range p.refs {
			if _, err := l.content.Manifest(ctx, ref); err != nil {
				return err
			}
		}
		l.put(p.Name, &fakeSet{hash: p.hash})
		return nil
	})
}

func (l fakeLive) Current(_ context.Context, p part) (bool, string, error) {
	if l.set(p.Name).ready {
		return true, "", nil
	}
	return false, "its pod is Pending", nil
}

func (l fakeLive) Ready(_ context.Context, p part) error {
	if err := l.pass("waiting for " + p.Name); err != nil {
		return err
	}
	l.put(p.Name, &fakeSet{hash: l.set(p.Name).hash, ready: true})
	return nil
}

func (l fakeLive) Sets(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.stacks[l.node])), nil
}

func (l fakeLive) Remove(_ context.Context, name string) (apply.ChangeSet, error) {
	return nil, l.write("remove "+name, func() error {
		l.put(name, nil)
		return nil
	})
}

func (l fakeLive) Pods(context.Context) ([]corev1.Pod, error) { return l.pods, nil }
func (l fakeLive) Memory(context.Context) (int64, error)      { return 1 << 20, nil }
func (l fakeLive) Secret(context.Context, string, string, string) (string, error) {
	return "", errors.New("there is none")
}
func (l fakeLive) Smoke() (smoke.Env, error) { return smoke.Env{}, errors.New("there is no cluster") }
func (l fakeLive) Client() *kube.Client      { return nil }
func (l fakeLive) Close()                    {}

// fakeRemote has the published images: every tag is there, as images that are
// made of its name, unless it is lost.
type fakeRemote struct {
	*origintest.Memory
	err  error // of every registry
	mu   sync.Mutex
	says map[string]registry.Resolved
	asks int
}

func (r *fakeRemote) Answers(context.Context, []string, time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asks++
	return r.err
}

func (r *fakeRemote) Resolve(_ context.Context, name string, _ []v1.Platform) (registry.Resolved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return registry.Resolved{}, r.err
	}
	got, ok := r.says[name]
	if !ok {
		return got, &fault.Error{Op: "resolving", Subject: name, Kind: fault.NotFound, Err: errors.New("there is no such tag")}
	}
	return got, nil
}

// publish puts an image of two platforms behind a tag.
func (r *fakeRemote) publish(t *testing.T, repository, tag string, seed uint64) {
	t.Helper()
	f := origintest.NewFixtureOf(t, repository, seed)
	r.Fill(f)
	r.tag(repository+":"+tag, f.Index, types.OCIImageIndex, f.Children["linux/amd64"], f.Config.Digest)
}

func (r *fakeRemote) tag(name string, ref images.Ref, media types.MediaType, child images.Ref, config v1.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.says == nil {
		r.says = map[string]registry.Resolved{}
	}
	r.says[name] = registry.Resolved{Name: name, Ref: ref, MediaType: media, Size: 1 << 20, Children: []registry.Child{{
		Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Ref: child, MediaType: types.OCIManifestSchema1, Size: 1 << 20, Config: config,
	}}}
}

// publishNode puts the node image behind its tag: one platform, one layer.
func (r *fakeRemote) publishNode(t *testing.T) {
	t.Helper()
	const repository = "docker.io/kindest/node"
	layer := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, layer)
	configDigest, size, err := v1.SHA256(bytes.NewReader(config))
	require.NoError(t, err)
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		types.OCIManifestSchema1, types.OCIConfigJSON, configDigest, size)
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	require.NoError(t, err)
	r.Fill(origintest.Fixture{
		Repository: repository, Blobs: map[v1.Hash][]byte{configDigest: config},
		Manifests: map[v1.Hash]images.Manifest{digest: {MediaType: types.OCIManifestSchema1, Raw: raw}},
	})
	ref := images.Ref{Repository: repository, Digest: digest}
	r.tag(repository+":"+KubernetesVersion, ref, types.OCIManifestSchema1, ref, configDigest)
}
