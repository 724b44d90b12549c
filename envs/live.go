package envs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/certs"
	"github.com/kfdev/kfdev/stack/ready"
	"github.com/kfdev/kfdev/stack/running"
	"github.com/kfdev/kfdev/stack/seed"
	"github.com/kfdev/kfdev/stack/smoke"
)

// readyWithin is how long a component may take to become ready. Its images are
// pulled in that time, from the local registry.
const readyWithin = 10 * time.Minute

// liveStack is live over a real cluster.
type liveStack struct {
	client  *kube.Client
	applier *apply.Applier
	waiter  *ready.Waiter
	seeder  *seed.Seeder
}

func newLiveStack(client *kube.Client, sink progress.Sink) *liveStack {
	waiter := ready.New(client, sink, readyWithin)
	return &liveStack{
		client: client, waiter: waiter, applier: apply.New(client, waiter, sink), seeder: seed.New(client, time.Now),
	}
}

// Healthy asks the API server whether it is ready to serve.
func (l *liveStack) Healthy(ctx context.Context) error { return l.client.Healthy(ctx) }

// Close drops the connections.
func (l *liveStack) Close() { l.client.Close() }

// setOf returns the part's objects, with the authorities of its certificates
// where the API server looks for them.
func setOf(p part, authorities [][]byte) (apply.Set, error) {
	objects := p.rendered.Objects
	for i, c := range p.Certificates {
		if i >= len(authorities) || authorities[i] == nil {
			continue
		}
		var err error
		if objects, err = certs.Inject(objects, c.Inject, authorities[i]); err != nil {
			return apply.Set{}, err
		}
	}
	return apply.Set{Name: p.Name, Namespace: p.Namespace, Hash: p.hash, Objects: objects, Beside: p.beside}, nil
}

// Plan says what Apply would do.
func (l *liveStack) Plan(ctx context.Context, p part) (apply.ChangeSet, error) {
	seeded, err := l.seeder.Plan(ctx, p.Component)
	if err != nil {
		return nil, err
	}
	set, err := setOf(p, seeded.Authorities)
	if err != nil {
		return nil, err
	}
	changes, err := l.applier.Plan(ctx, set)
	return append(seeded.Changes, changes...), err
}

// Apply brings the part in: what must be there before, then its objects.
func (l *liveStack) Apply(ctx context.Context, p part) (apply.ChangeSet, error) {
	seeded, err := l.seeder.Ensure(ctx, p.Component)
	if err != nil {
		return nil, err
	}
	set, err := setOf(p, seeded.Authorities)
	if err != nil {
		return nil, err
	}
	changes, err := l.applier.Apply(ctx, set)
	return append(seeded.Changes, changes...), err
}

// Current reports whether all of the part is ready now.
func (l *liveStack) Current(ctx context.Context, p part) (bool, string, error) {
	statuses, err := l.waiter.Look(ctx, p.Name, p.rendered.Objects)
	if err != nil {
		return false, "", err
	}
	var why []string
	for _, s := range statuses {
		if s.State != ready.Current {
			why = append(why, fmt.Sprintf("%s is %s: %s", s.Object, s.State, s.Message))
		}
	}
	return len(why) == 0, strings.Join(why, "; "), nil
}

// Ready waits until all of the part is.
func (l *liveStack) Ready(ctx context.Context, p part) error {
	return l.waiter.Wait(ctx, p.Name, p.rendered.Objects)
}

// Sets names the components that the cluster holds.
func (l *liveStack) Sets(ctx context.Context) ([]string, error) {
	all, err := l.applier.Inventories(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all))
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names, nil
}

// Remove deletes a component.
func (l *liveStack) Remove(ctx context.Context, name string) (apply.ChangeSet, error) {
	return l.applier.Remove(ctx, name)
}

// Memory is the working set of all nodes as their kubelets measure it, bytes.
func (l *liveStack) Memory(ctx context.Context) (int64, error) {
	nodes, err := l.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("listing nodes: %w", err)
	}
	var sum int64
	for _, n := range nodes.Items {
		raw, err := l.client.Raw(ctx, "/api/v1/nodes/"+n.GetName()+"/proxy/stats/summary")
		if err != nil {
			return 0, fmt.Errorf("measuring node %s: %w", n.GetName(), err)
		}
		var summary struct {
			Node struct {
				Memory struct {
					WorkingSetBytes int64 `json:"workingSetBytes"`
				} `json:"memory"`
			} `json:"node"`
		}
		if err := json.Unmarshal(raw, &summary); err != nil {
			return 0, fmt.Errorf("measuring node %s: %w", n.GetName(), err)
		}
		sum += summary.Node.Memory.WorkingSetBytes
	}
	return sum, nil
}

// PlanSecret says what EnsureSecret would do. Only what becomes of it counts, and
// not the hashes, which are for plans that are kept.
func (l *liveStack) PlanSecret(ctx context.Context, g seed.Given) (apply.Change, error) {
	change, err := l.seeder.PlanGiven(ctx, g, nil)
	return change.Change, err
}

// EnsureSecret puts exactly the given values into a Secret.
func (l *liveStack) EnsureSecret(ctx context.Context, g seed.Given) (apply.Change, error) {
	change, err := l.seeder.EnsureGiven(ctx, g, nil)
	return change.Change, err
}

// Secret reads one value of a Secret.
func (l *liveStack) Secret(ctx context.Context, namespace, name, key string) (string, error) {
	return l.seeder.Read(ctx, namespace, name, key)
}

// Token issues a token of a service account.
func (l *liveStack) Token(ctx context.Context, namespace, serviceAccount string, life time.Duration) (kube.Token, error) {
	return l.client.Token(ctx, namespace, serviceAccount, life)
}

// Client is the client behind it.
func (l *liveStack) Client() *kube.Client { return l.client }

// Smoke returns what a smoke test runs in, without what is a component's own.
func (l *liveStack) Smoke() (smoke.Env, error) {
	return smoke.Connect(l.client)
}

// allowed is the set of digests that may run: what the lock names, and where
// it locks a published node image, what that brought along. Of a node image
// from source the lock knows what it holds, and nothing else will do.
func allowed(l lock.Lock, held []cluster.Held) running.Allowed {
	set := running.Allowed{}
	for digest, name := range l.Digests() {
		set.Add(name, digest)
	}
	if l.Node.Image.Origin != images.FromRegistry {
		return set
	}
	for _, h := range held {
		for _, text := range h.Digests {
			if digest, ok := running.Digest(text); ok {
				set.Add(h.Name, digest)
			}
		}
	}
	return set
}

func copies(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = o.DeepCopy()
	}
	return out
}
