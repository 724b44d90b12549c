package clustertest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/clustertest"
	"github.com/kfdev/kfdev/internal/fault"
)

func spec() cluster.Spec {
	return cluster.Spec{Name: "demo", Owner: "/home/me/demo", Image: cluster.NodeImage{Ref: "sha256:1", FromSource: true, Repository: "kfdev.internal"}}
}

func TestTheFakePassesTheSuite(t *testing.T) {
	t.Parallel()
	f := clustertest.NewFake()
	clustertest.Run(t, clustertest.Subject{New: func(*testing.T) cluster.Provider { return f }, Spec: spec()})
}

func TestAMakingCutShortIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	f := clustertest.NewFake()
	cut := errors.New("killed")
	f.Inside = func(string) error { return cut }
	_, err := f.Ensure(t.Context(), spec())
	require.ErrorIs(t, err, cut)
	state, err := f.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, cluster.Incomplete, state.Phase)
	_, err = f.Start(t.Context(), "demo")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	f.Inside = nil
	state, err = f.Ensure(t.Context(), spec())
	require.NoError(t, err)
	require.Equal(t, cluster.Running, state.Phase)
	require.Equal(t, 2, f.Made())
	f.Before = func(string) error { return cut }
	require.ErrorIs(t, f.Stop(t.Context(), "demo"), cut)
	require.Equal(t, []string{"ensure", "start", "ensure", "stop"}, f.Calls())
}
