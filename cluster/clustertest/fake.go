// Package clustertest has a provider of clusters in memory, and the suite that
// it and every real provider pass.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/fault"
)

// Fake provides clusters in memory. It outlives the providers of a test that
// plays a restart of the program: what is in it is the world, not the program.
// Its methods may be called from several goroutines.
type Fake struct {
	mu       sync.Mutex
	clusters map[string]*cluster.State
	made     int
	calls    []string
	// Before, when set, is called at the start of every method that changes
	// something, with its name ("ensure", "start", "stop", "delete"); an error
	// ends the call before anything is done. Inside runs when a new cluster is
	// half made; its error leaves it so.
	Before, Inside func(call string) error
}

var _ cluster.Provider = (*Fake)(nil)

// NewFake returns one without clusters.
func NewFake() *Fake { return &Fake{clusters: map[string]*cluster.State{}} }

// Calls returns the changing calls so far, in order.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Made is how many clusters were made so far.
func (f *Fake) Made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

func (f *Fake) begin(ctx context.Context, call string) error {
	f.calls = append(f.calls, call)
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.Before != nil {
		return f.Before(call)
	}
	return nil
}

// Ensure has the cluster running.
func (f *Fake) Ensure(ctx context.Context, spec cluster.Spec) (cluster.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, "ensure"); err != nil {
		return cluster.State{}, err
	}
	if err := spec.Validate(); err != nil {
		return cluster.State{}, err
	}
	if state, there := f.clusters[spec.Name]; there && state.Phase != cluster.Incomplete {
		if err := spec.Differs(*state); err != nil {
			return cluster.State{}, err
		}
		return f.run(state), nil
	}
	f.made++
	state := &cluster.State{Name: spec.Name, Phase: cluster.Incomplete}
	for i := range max(spec.Nodes, 1) {
		name := cluster.ContextName(spec.Name) + "-control-plane"
		if i > 0 {
			name = fmt.Sprintf("%s-worker%d", cluster.ContextName(spec.Name), i)
		}
		state.Nodes = append(state.Nodes, cluster.Node{Name: name, ID: fmt.Sprintf("node-%d-%d", f.made, i), Running: true})
	}
	f.clusters[spec.Name] = state
	if f.Inside != nil {
		if err := f.Inside("ensure"); err != nil {
			return cluster.State{}, err
		}
	}
	port := spec.APIPort
	if port == 0 {
		port = 40000 + f.made
	}
	state.Owner, state.Image, state.Server = spec.Owner, spec.Image.Ref, fmt.Sprintf("https://127.0.0.1:%d", port)
	state.Ports = slices.Clone(spec.Ports)
	state.Kubeconfig = adminConfig(spec.Name, state.Server)
	return f.run(state), nil
}

func (f *Fake) run(state *cluster.State) cluster.State {
	state.Phase = cluster.Running
	for i := range state.Nodes {
		state.Nodes[i].Running = true
	}
	return copied(state)
}

func copied(state *cluster.State) cluster.State {
	out := *state
	out.Nodes = slices.Clone(state.Nodes)
	out.Ports, out.Holds = slices.Clone(state.Ports), slices.Clone(state.Holds)
	out.Kubeconfig = slices.Clone(state.Kubeconfig)
	return out
}

func none(name string) error {
	return &fault.Error{Op: "looking for the cluster", Subject: cluster.ContextName(name), Kind: fault.NotFound, Err: errors.New("there is none")}
}

// Get looks at a cluster.
func (f *Fake) Get(ctx context.Context, name string) (cluster.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return cluster.State{}, err
	}
	state, there := f.clusters[name]
	if !there {
		return cluster.State{}, none(name)
	}
	return copied(state), nil
}

// Start starts a stopped cluster.
func (f *Fake) Start(ctx context.Context, name string) (cluster.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, "start"); err != nil {
		return cluster.State{}, err
	}
	state, there := f.clusters[name]
	if !there {
		return cluster.State{}, none(name)
	}
	if state.Phase == cluster.Incomplete {
		return cluster.State{}, &fault.Error{Op: "starting the cluster", Subject: name, Kind: fault.Preflight, Err: errors.New("its making was cut short")}
	}
	return f.run(state), nil
}

// Stop stops a cluster.
func (f *Fake) Stop(ctx context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, "stop"); err != nil {
		return err
	}
	state, there := f.clusters[name]
	if !there {
		return none(name)
	}
	if state.Phase == cluster.Running {
		state.Phase = cluster.Stopped
	}
	for i := range state.Nodes {
		state.Nodes[i].Running = false
	}
	return nil
}

// Delete removes a cluster.
func (f *Fake) Delete(ctx context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, "delete"); err != nil {
		return err
	}
	delete(f.clusters, name)
	return nil
}

// adminConfig is one that nothing answers at.
func adminConfig(name, server string) []byte {
	context := cluster.ContextName(name)
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: %[2]q}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
users:
- name: %[1]s
  user: {token: none}
current-context: %[1]s
`, context, server)
}
