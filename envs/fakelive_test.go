package envs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
	"github.com/kfdev/kfdev/stack/smoke"
)

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
		if !l.registry.Connected {
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
	l.asked++
	return slices.Sorted(maps.Keys(l.stacks[l.node])), nil
}

func (l fakeLive) Remove(_ context.Context, name string) (apply.ChangeSet, error) {
	return nil, l.write("remove "+name, func() error {
		l.put(name, nil)
		return nil
	})
}

func (l fakeLive) Pods(context.Context) ([]corev1.Pod, error) { return l.pods, nil }
func (l fakeLive) FollowPods(ctx context.Context, all func([]corev1.Pod) (bool, error), _ func(corev1.Pod, bool) (bool, error)) error {
	if done, err := all(l.pods); done || err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
func (l fakeLive) Owners(context.Context, string, metav1.OwnerReference) ([]metav1.OwnerReference, error) {
	return nil, nil
}
func (l fakeLive) Log(_ context.Context, _, pod string, _ kube.LogOptions) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("2026-03-04T05:06:07Z " + pod + " speaks\n")), nil
}
func (l fakeLive) Memory(context.Context) (int64, error) { return 1 << 20, nil }

func (l fakeLive) PlanSecret(_ context.Context, g seed.Given) (apply.Change, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, found := l.secrets[l.node+" "+g.Namespace+"/"+g.Name]
	switch {
	case !found && g.There:
		return apply.Unchanged, &fault.Error{Kind: fault.Preflight, Err: errors.New("it is not there")}
	case !found:
		return apply.Created, nil
	case g.There || maps.EqualFunc(have, g.Data, bytes.Equal):
		return apply.Unchanged, nil
	}
	return apply.Configured, nil
}

func (l fakeLive) EnsureSecret(ctx context.Context, g seed.Given) (apply.Change, error) {
	change, err := l.PlanSecret(ctx, g)
	if err != nil || change == apply.Unchanged {
		return change, err
	}
	return change, l.write("secret "+g.Name, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.secrets[l.node+" "+g.Namespace+"/"+g.Name] = g.Data
		return nil
	})
}

func (l fakeLive) Secret(_ context.Context, namespace, name, key string) (string, error) {
	if name != "login" {
		return "", errors.New("there is none")
	}
	return namespace + "/" + key, nil
}
func (l fakeLive) Token(_ context.Context, namespace, serviceAccount string, life time.Duration) (kube.Token, error) {
	if serviceAccount != "server" {
		return kube.Token{}, errors.New("there is none")
	}
	return kube.Token{Value: "token of " + namespace, Expires: time.Unix(0, 0).Add(life)}, nil
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

func (r *fakeRemote) Resolve(_ context.Context, name string, platforms []v1.Platform) (registry.Resolved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return registry.Resolved{}, r.err
	}
	got, ok := r.says[name]
	if !ok {
		return got, &fault.Error{Op: "resolving", Subject: name, Kind: fault.NotFound, Err: errors.New("there is no such tag")}
	}
	one := got.Children[0] // it does for every platform
	got.Children = nil
	for _, p := range platforms {
		one.Platform = p
		got.Children = append(got.Children, one)
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

// Healthy fails until a provider has waited for the API.
func (l fakeLive) Healthy(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.starting {
		return errors.New("not ready")
	}
	return nil
}
