package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/kubeconfig"
	"github.com/kfdev/kfdev/internal/fault"
)

// Subject is a provider to be tested.
type Subject struct {
	// New returns the provider. It is called again to play a restart of the
	// program: what it returns then sees the same clusters.
	New func(t *testing.T) cluster.Provider
	// Spec is a cluster that the provider can make, under a name that no other
	// test uses.
	Spec cluster.Spec
	// Running, when set, is called with the cluster once it runs.
	Running func(t *testing.T, state cluster.State)
	// Canceled is how long after its start an Ensure is canceled.
	Canceled time.Duration
}

// Run runs the suite. It makes clusters one after the other, and leaves none.
func Run(t *testing.T, s Subject) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, s.New(t).Delete(ctx, s.Spec.Name))
	})
	s.nothing(t)
	s.refused(t)
	first := s.made(t)
	s.unchanged(t, first)
	if s.Running != nil {
		s.Running(t, first)
	}
	s.different(t, first)
	s.stopped(t, first)
	s.deleted(t)
	s.canceled(t)
}

// nothing: what is not there is not found, and may be deleted.
func (s Subject) nothing(t *testing.T) {
	t.Helper()
	p, ctx := s.New(t), t.Context()
	require.NoError(t, p.Delete(ctx, s.Spec.Name))
	_, err := p.Get(ctx, s.Spec.Name)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "Get: %v", err)
	_, err = p.Start(ctx, s.Spec.Name)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "Start: %v", err)
	require.Equal(t, fault.NotFound, fault.KindOf(p.Stop(ctx, s.Spec.Name)), "Stop")
}

// refused: what cannot be is said before anything is done.
func (s Subject) refused(t *testing.T) {
	t.Helper()
	p, ctx := s.New(t), t.Context()
	bad := s.Spec
	bad.Name = "Not A Name"
	_, err := p.Ensure(ctx, bad)
	require.Equal(t, fault.Usage, fault.KindOf(err), "%v", err)
}

func (s Subject) made(t *testing.T) cluster.State {
	t.Helper()
	state, err := s.New(t).Ensure(t.Context(), s.Spec)
	require.NoError(t, err)
	require.Equal(t, cluster.Running, state.Phase)
	require.Equal(t, s.Spec.Name, state.Name)
	require.Equal(t, s.Spec.Owner, state.Owner)
	require.Equal(t, s.Spec.Image.Ref, state.Image)
	require.Len(t, state.Nodes, max(1, s.Spec.Nodes))
	for _, n := range state.Nodes {
		require.True(t, n.Running)
		require.NotEmpty(t, n.ID)
	}
	require.Contains(t, state.Server, "https://127.0.0.1:")
	require.Contains(t, string(state.Kubeconfig), state.Server)
	_, err = kubeconfig.Rename(state.Kubeconfig, "another")
	require.NoError(t, err, "it is a kubeconfig of one context")
	return state
}

// unchanged: another program, and another Ensure, find the cluster as it is.
func (s Subject) unchanged(t *testing.T, first cluster.State) {
	t.Helper()
	p, ctx := s.New(t), t.Context()
	got, err := p.Get(ctx, s.Spec.Name)
	require.NoError(t, err)
	require.Equal(t, first, got)
	again, err := p.Ensure(ctx, s.Spec)
	require.NoError(t, err)
	require.Equal(t, first, again)
	started, err := p.Start(ctx, s.Spec.Name)
	require.NoError(t, err)
	require.Equal(t, first, started)
}

// different: what cannot be changed in place is told, and nothing is done.
func (s Subject) different(t *testing.T, first cluster.State) {
	t.Helper()
	p, ctx := s.New(t), t.Context()
	for name, change := range map[string]func(*cluster.Spec){
		"owner": func(c *cluster.Spec) { c.Owner += "-other" },
		"image": func(c *cluster.Spec) { c.Image.Ref += "0" },
		"nodes": func(c *cluster.Spec) { c.Nodes, c.Image.FromSource = max(c.Nodes, 1)+1, false },
	} {
		other := s.Spec
		change(&other)
		_, err := p.Ensure(ctx, other)
		require.Equal(t, fault.Drift, fault.KindOf(err), "%s: %v", name, err)
		require.NotEmpty(t, fault.Hint(err), name)
	}
	got, err := p.Get(ctx, s.Spec.Name)
	require.NoError(t, err)
	require.Equal(t, first, got)
}

// stopped: a cluster that is stopped keeps its nodes, and is started by Start
// and by Ensure.
func (s Subject) stopped(t *testing.T, first cluster.State) {
	t.Helper()
	ctx := t.Context()
	for name, start := range map[string]func(p cluster.Provider) (cluster.State, error){
		"start":  func(p cluster.Provider) (cluster.State, error) { return p.Start(ctx, s.Spec.Name) },
		"ensure": func(p cluster.Provider) (cluster.State, error) { return p.Ensure(ctx, s.Spec) },
	} {
		p := s.New(t)
		require.NoError(t, p.Stop(ctx, s.Spec.Name))
		require.NoError(t, p.Stop(ctx, s.Spec.Name), "twice")
		got, err := p.Get(ctx, s.Spec.Name)
		require.NoError(t, err)
		require.Equal(t, cluster.Stopped, got.Phase, name)
		require.Equal(t, first.Nodes[0].ID, got.Nodes[0].ID)
		require.False(t, got.Nodes[0].Running)
		require.Equal(t, first.Kubeconfig, got.Kubeconfig)
		got, err = start(p)
		require.NoError(t, err)
		require.Equal(t, first, got, name)
	}
}

func (s Subject) deleted(t *testing.T) {
	t.Helper()
	p, ctx := s.New(t), t.Context()
	require.NoError(t, p.Delete(ctx, s.Spec.Name))
	require.NoError(t, p.Delete(ctx, s.Spec.Name), "twice")
	_, err := p.Get(ctx, s.Spec.Name)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// canceled: a making that is canceled says so, and leaves nothing that is in
// the way of the next.
func (s Subject) canceled(t *testing.T) {
	t.Helper()
	p := s.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	if s.Canceled == 0 {
		cancel()
	} else {
		defer time.AfterFunc(s.Canceled, cancel).Stop()
	}
	_, err := p.Ensure(ctx, s.Spec)
	cancel()
	require.Equal(t, fault.Canceled, fault.KindOf(err), "%v", err)
	_, err = p.Get(t.Context(), s.Spec.Name)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "nothing is left: %v", err)
}
