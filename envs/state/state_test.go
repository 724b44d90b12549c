package state_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func full() state.Record {
	return state.Record{
		Cluster:    state.Cluster{Name: "kfdev-a", Node: "abc", Context: "kfdev-a", APIPort: 6443},
		Registry:   state.Registry{Container: "kfdev-registry", Port: 5000},
		Lock:       "sha256:1",
		Components: []state.Component{{Name: "storage", Rendered: "sha256:2"}},
	}
}

func TestARecordIsKept(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := state.Open(root, "a", "/projects/a")
	empty, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, state.Record{Version: state.Version, Project: "a", Folder: "/projects/a"}, empty)

	require.NoError(t, s.Save(full()))
	got, err := s.Load()
	require.NoError(t, err)
	require.False(t, got.Updated.IsZero())
	want := full()
	want.Version, want.Project, want.Folder, want.Updated = state.Version, "a", "/projects/a", got.Updated
	require.Equal(t, want, got)

	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), "kubeconfig"), []byte("x"), 0o600))
	require.NoError(t, s.Forget())
	got, err = s.Load()
	require.NoError(t, err)
	require.Empty(t, got.Cluster)
	require.NoFileExists(t, filepath.Join(s.Dir(), "kubeconfig"))
	require.NoError(t, state.Open(root, "never", "/x").Forget())
}

func TestARecordThatCannotBeReadIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		kind fault.Kind
		want string
	}{
		"broken":   {"{", fault.Failure, "unexpected end"},
		"newer":    {`{"version": 99, "future": true}`, fault.Preflight, "a newer kfdev wrote it"},
		"unknown":  {`{"version": 1, "clutser": {}}`, fault.Failure, "clutser"},
		"no state": {`{}`, fault.Failure, "version 0 is none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := state.Open(t.TempDir(), "a", "/a")
			path := filepath.Join(s.Dir(), "state.json")
			require.NoError(t, os.MkdirAll(s.Dir(), 0o700))
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			_, err := s.Load()
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, tc.kind, fault.KindOf(err))
			require.NotEmpty(t, fault.Hint(err))
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, tc.text, string(data))
		})
	}
}

func TestTwoProjectsOfOneName(t *testing.T) {
	t.Parallel()
	root, first, second := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(first, "kfdev.yaml"), nil, 0o600))
	require.NoError(t, state.Open(root, "a", first).Save(full()))
	_, err := state.Open(root, "a", second).Load()
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, first)

	require.NoError(t, os.Remove(filepath.Join(first, "kfdev.yaml")))
	moved, err := state.Open(root, "a", second).Load()
	require.NoError(t, err, "a project that was moved keeps its cluster")
	require.Equal(t, second, moved.Folder)
	require.Equal(t, "kfdev-a", moved.Cluster.Name)
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	s := state.Open(t.TempDir(), "a", "/a")
	release, err := s.Acquire(t.Context(), "kfdev up", false, progress.Discard)
	require.NoError(t, err)
	_, err = s.Acquire(t.Context(), "kfdev down", false, progress.Discard)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, `"kfdev up" (process`)

	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan progress.Event, 10)
	done := make(chan error)
	go func() {
		_, err := s.Acquire(ctx, "kfdev down", true, sinkOf(waits))
		done <- err
	}()
	require.Contains(t, (<-waits).Text, `waiting for "kfdev up"`)
	cancel()
	err = <-done
	require.Equal(t, fault.Canceled, fault.KindOf(err))

	require.NoError(t, release())
	release, err = s.Acquire(t.Context(), "kfdev down", true, progress.Discard)
	require.NoError(t, err)
	require.NoError(t, s.Forget())
	_, err = s.Acquire(t.Context(), "kfdev up", false, progress.Discard)
	require.Error(t, err, "forgetting does not give the lock away")
	require.NoError(t, release())
}

func TestWhatProjectsShareIsOnesAtATime(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	release, err := state.AcquireShared(t.Context(), root, "kfdev down", progress.Discard)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan progress.Event, 10)
	done := make(chan error)
	go func() {
		_, err := state.AcquireShared(ctx, root, "kfdev up", sinkOf(waits))
		done <- err
	}()
	require.Contains(t, (<-waits).Text, `waiting for "kfdev down"`)
	cancel()
	require.Equal(t, fault.Canceled, fault.KindOf(<-done))
	require.NoError(t, release())
	all, err := state.List(root)
	require.NoError(t, err)
	require.Empty(t, all, "the lock is no project")
	release, err = state.AcquireShared(t.Context(), root, "kfdev up", progress.Discard)
	require.NoError(t, err)
	require.NoError(t, release())
}

type sinkOf chan progress.Event

func (s sinkOf) Send(e progress.Event) { s <- e }

func TestList(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	none, err := state.List(root)
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, state.Open(root, "b", "/b").Save(full()))
	require.NoError(t, state.Open(root, "a", "/a").Save(full()))
	broken := state.Open(root, "c", "/c")
	require.NoError(t, os.MkdirAll(broken.Dir(), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(broken.Dir(), "state.json"), []byte("{"), 0o600))
	all, err := state.List(root)
	require.ErrorContains(t, err, filepath.Join("c", "state.json"))
	require.Len(t, all, 2)
	require.Equal(t, "a", all[0].Project)
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version": 1, "project": "a", "cluster": {"name": "x"}}`))
	f.Add([]byte(`{"version": -1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := state.Open(t.TempDir(), "a", "/a")
		require.NoError(t, os.MkdirAll(s.Dir(), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), "state.json"), data, 0o600))
		if r, err := s.Load(); err == nil {
			require.NoError(t, s.Save(r))
			_, err = s.Load()
			require.NoError(t, err)
		}
	})
}
