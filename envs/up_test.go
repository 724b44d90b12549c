package envs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/internal/fault"
)

// onlyStorage is bothComponents without extra.
const onlyStorage = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack: {preset: tiny}
`

// unchanged requires that there is nothing to do any more: not by a plan, and
// not by an up, which then writes nothing to the world.
func (b *bench) unchanged(t *testing.T) {
	t.Helper()
	b.revive(0)
	calls := len(b.clusters.Calls())
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	for _, i := range items {
		require.False(t, i.Work.Needed, "%s: %s", i.Title, i.Work.Summary)
	}
	again, err := b.up(t)
	require.NoError(t, err)
	require.False(t, again.Changed)
	require.Len(t, again.Steps, len(items))
	require.Empty(t, b.written())
	require.Len(t, b.clusters.Calls(), calls)
}

func TestUpBringsTheStackUpAndASecondOneWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	first, err := b.up(t)
	require.NoError(t, err)
	require.True(t, first.Changed)
	require.Equal(t, "127.0.0.1:5735", first.Registry)
	require.Equal(t, "kfdev-demo", first.Context)
	require.Contains(t, b.said(), "locking first")
	require.Contains(t, b.said(), "Cluster: create kfdev-demo, Kubernetes v1.36.1", "what it will do is said before")
	b.isUp(t, "extra", "storage")
	require.Empty(t, b.current, "the current context stays")
	b.unchanged(t)

	b.revive(0)
	used, err := b.engine(t).Up(t.Context(), UpOptions{UseContext: true})
	require.NoError(t, err)
	require.Equal(t, []string{"context"}, b.written())
	require.True(t, used.Changed)
	require.Equal(t, "kfdev-demo", b.current)
}

// Docker starts a node again before the API in it answers.
func TestUpWaitsForAClusterThatHasJustBeenStarted(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	b.starting = true
	status, err := b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.False(t, status.Ready())
	require.Contains(t, status.Components[0].Why, "does not answer yet")
	require.Len(t, status.Components[0].Images, 1, "what is locked is known all the same")

	b.revive(0)
	_, err = b.engine(t).Up(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"cluster"}, b.written()[:1])
	b.isUp(t, "extra", "storage")
	b.unchanged(t)
}

// isUp requires a stack that is whole: of just these components, with a record
// of what is there.
func (b *bench) isUp(t *testing.T, components ...string) {
	t.Helper()
	state, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, cluster.Running, state.Phase)
	require.Equal(t, b.dir, state.Owner)
	require.Equal(t, state.Server, b.contexts["kfdev-demo"])
	require.True(t, b.registry.Running)
	require.True(t, b.registry.Connected)
	l, digest, err := lock.Load(b.dir)
	require.NoError(t, err)
	require.Contains(t, b.loaded, nodeName(l.Node))
	sets := b.stacks[state.Nodes[0].ID]
	require.Len(t, sets, len(components))
	record, err := b.engine(t).records.Load()
	require.NoError(t, err)
	require.Equal(t, digest.String(), record.Lock)
	require.Equal(t, state.Nodes[0].ID, record.Cluster.Node)
	require.Len(t, record.Components, len(components))
	for i, name := range components {
		locked, ok := l.Component(name)
		require.True(t, ok, name)
		require.Equal(t, &fakeSet{hash: locked.Rendered.String(), ready: true}, sets[name])
		require.Equal(t, locked.Rendered.String(), record.Components[i].Rendered)
	}
	for _, i := range l.Images {
		has, err := b.content.Has(t.Context(), i.Repository, manifestOf(i))
		require.NoError(t, err)
		require.True(t, has, i.Repository)
	}
}

func TestAProjectWhoseFolderWasMovedKeepsItsCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	before, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)

	moved := filepath.Join(filepath.Dir(b.dir), "elsewhere")
	require.NoError(t, os.Rename(b.dir, moved))
	b.dir = moved
	_, err = b.engine(t).Up(t.Context(), UpOptions{})
	require.NoError(t, err)
	after, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, before.Nodes, after.Nodes)
	_, err = b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	_, err = b.clusters.Get(t.Context(), "demo")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestStatusLooksAlsoWithAStaleLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	b.project(t, strings.Replace(bothComponents, "enabled: true", "enabled: false", 1))
	status, err := b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, status.Stale)
	require.Equal(t, cluster.Running, status.Cluster)
}

func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.engine(t).PlanUp(t.Context(), UpOptions{Locked: true})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Len(t, items, 1, "what follows depends on what is built")
	require.Equal(t, "lock", items[0].ID)
	require.Equal(t, 5, items[0].Work.Build, "all recipes but the registry's own")
	require.EqualValues(t, 18, items[0].Work.Download, "two packages")
	for _, part := range []string{"origin source (kfdev.yaml says so), since it is not there", "to be fetched: 18 B", "of memory", "of disk", "are free"} {
		require.Contains(t, items[0].Work.Summary, part)
	}
	require.Zero(t, b.archive.made)
	require.NoFileExists(t, filepath.Join(b.dir, lock.FileName))
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	items, err = b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Empty(t, b.written())
	require.Empty(t, b.clusters.Calls())
	require.NoDirExists(t, b.engine(t).records.Dir()+"/state.json")
	needed := map[string]string{}
	for _, i := range items {
		if i.Work.Needed {
			needed[i.ID] = i.Work.Summary
		}
	}
	require.Len(t, needed, 8)
	require.Contains(t, needed["images"], "copy 2 of 2")
	require.Contains(t, needed["stack/extra"], "apply 2 objects")
}

// Where nothing is to be built for it, the plan has the lock's own change and
// all that follows from it.
func TestADryRunWithAStaleLockIsWhole(t *testing.T) {
	t.Parallel()
	for name, project := range map[string]string{
		"source": bothComponents, "registry": strings.Replace(bothComponents, "origin: source", "origin: registry", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, project)
			b.remote.err = nil
			b.publishAll(t)
			_, err := b.up(t)
			require.NoError(t, err)
			before, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
			require.NoError(t, err)
			b.revive(0)
			b.project(t, strings.Replace(project, "enabled: true", "enabled: false", 1))
			items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
			require.NoError(t, err)
			require.Contains(t, itemOf(t, items, "lock").Summary, "since it has the component extra, which the project has not")
			require.Equal(t, "remove extra, which the project no longer has", itemOf(t, items, "prune").Summary)
			require.False(t, itemOf(t, items, "images").Needed)
			after, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
			require.Empty(t, b.written())
		})
	}
}

func TestWhatIsNoLongerInTheProjectIsRemovedAfterThePlanSaidSo(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	b.project(t, onlyStorage)
	_, err = b.engine(t).PlanUp(t.Context(), UpOptions{Locked: true})
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "it has the component extra, which the project has not")
	_, err = b.engine(t).Up(t.Context(), UpOptions{Locked: true})
	require.Equal(t, fault.Drift, fault.KindOf(err))

	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	i := slices.IndexFunc(items, func(i plan.Item) bool { return i.ID == "prune" })
	require.Equal(t, "remove extra, which the project no longer has", items[i].Work.Summary)
	require.NoError(t, b.clusters.Stop(t.Context(), "demo"))
	stopped, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Equal(t, items[i], stopped[i], "also where the cluster cannot be asked")
	_, err = b.clusters.Start(t.Context(), "demo")
	require.NoError(t, err)
	b.revive(0)
	_, err = b.up(t)
	require.NoError(t, err)
	require.Equal(t, []string{"remove extra"}, b.written())
	b.isUp(t, "storage")
}

func TestWhatAClusterCannotBeBroughtToIsSaidBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	b.project(t, bothComponents+"environments: {dev: {cluster: {kind: {ports: [{host: 8080, node: 30080}]}}}}\n")
	for _, stop := range []bool{false, true} {
		if stop {
			require.NoError(t, b.clusters.Stop(t.Context(), "demo"))
		}
		b.revive(0)
		_, err = b.up(t)
		require.Equal(t, fault.Drift, fault.KindOf(err))
		require.ErrorContains(t, err, "[8080 → 30080] are wanted")
		require.Contains(t, fault.Hint(err)[0], "kfdev down --delete")
		require.Empty(t, b.written())
	}
}

func TestPortsAreGivenToTheCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents+"environments: {dev: {cluster: {kind: {ports: [{host: 8080, node: 30080}]}}}}\n")
	_, err := b.up(t)
	require.NoError(t, err)
	state, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, []cluster.Port{{Host: 8080, Node: 30080}}, state.Ports)
	b.unchanged(t)
}

func TestOfTwoAtOnceTheSecondSaysWhoTheFirstIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	at, let := make(chan struct{}), make(chan struct{})
	b.clusters.Before = func(string) error {
		close(at)
		<-let
		return nil
	}
	first := make(chan error, 1)
	one, two, three := b.engine(t), b.engine(t), b.engine(t)
	go func() {
		_, err := one.Up(context.Background(), UpOptions{})
		first <- err
	}()
	<-at
	_, err = two.Up(t.Context(), UpOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, `held by "kfdev test" (process `)
	_, err = two.Down(t.Context(), DownOptions{Delete: true})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	_, err = two.Lock(t.Context(), LockOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))

	waited := make(chan error, 1)
	go func() {
		result, err := three.Up(context.Background(), UpOptions{Wait: true})
		if err == nil && result.Changed {
			err = fmt.Errorf("there was something left to do: %v", result.Steps)
		}
		waited <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(b.said(), "waiting for \"kfdev test\"") }, waitLimit, waitTick)
	b.clusters.Before = nil
	close(let)
	require.NoError(t, <-first)
	require.NoError(t, <-waited)
}
