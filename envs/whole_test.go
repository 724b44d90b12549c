package envs

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/running"
)

func TestDownStopsAndUpResumes(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.engine(t).Down(t.Context(), DownOptions{})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = b.up(t)
	require.NoError(t, err)
	down, err := b.engine(t).Down(t.Context(), DownOptions{})
	require.NoError(t, err)
	require.True(t, down.Stopped)
	status, err := b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, cluster.Stopped, status.Cluster)
	require.False(t, status.Ready())
	b.revive(0)
	_, err = b.up(t)
	require.NoError(t, err)
	require.Equal(t, []string{"cluster", "connect the registry"}, b.written(), "the node starts, and all is there")
	require.Equal(t, 1, b.clusters.Made())
	b.isUp(t, "extra", "storage")
}

func TestDownDeleteRemovesWhatIsTheProjects(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	b.contexts["work"] = "https://work.example"
	down, err := b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	require.Len(t, down.Deleted, 3)
	_, err = b.clusters.Get(t.Context(), "demo")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, map[string]string{"work": "https://work.example"}, b.contexts)
	require.Empty(t, b.registry.ID)
	require.NoFileExists(t, filepath.Join(b.engine(t).records.Dir(), "state.json"))
	require.FileExists(t, filepath.Join(b.dir, lock.FileName), "the project itself is a person's")

	again, err := b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	require.Empty(t, again.Deleted)
	_, err = b.up(t)
	require.NoError(t, err)
	b.isUp(t, "extra", "storage")
}

// A down that is killed at any point is finished by the next.
func TestADownThatIsKilledIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	for at := 1; ; at++ {
		b.revive(0)
		_, err := b.up(t)
		require.NoError(t, err)
		b.revive(at)
		_, err = b.engine(t).Down(t.Context(), DownOptions{Delete: true})
		if err == nil {
			require.Greater(t, at, 6)
			return
		}
		require.ErrorIs(t, err, errCut)
		b.revive(0)
		_, err = b.engine(t).Down(t.Context(), DownOptions{Delete: true})
		require.NoError(t, err)
		require.Empty(t, b.contexts)
		require.Empty(t, b.registry.ID)
		_, err = b.clusters.Get(t.Context(), "demo")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	}
}

func TestDownDeleteLeavesOtherProjectsThings(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	// Another project of this user is in the middle of its first up.
	b.clusters.Inside = func(string) error { return errBroken }
	other := *b
	other.dir = t.TempDir()
	other.project(t, strings.Replace(bothComponents, "name: demo", "name: other", 1))
	_, err = other.up(t)
	require.ErrorIs(t, err, errBroken)

	down, err := b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	require.Equal(t, []string{"the local registry, which other uses too"}, down.Kept)
	require.True(t, b.registry.Running)
	half, err := b.clusters.Get(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, cluster.Incomplete, half.Phase)
	records, err := state.List(b.dirs.State)
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.Equal(t, "other", records[0].Project)

	down, err = other.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err, "a half-made cluster can be deleted")
	require.Contains(t, down.Deleted, "the local registry with its content")
}

// A project's last down and another's first up meet: the one has looked and
// seen nobody else, and now removes the registry that the other has seen.
func TestTheRegistryIsNotTakenFromAFirstUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	other := *b
	other.dir = t.TempDir()
	other.project(t, strings.Replace(bothComponents, "name: demo", "name: other", 1))
	_, err = other.lock(t, LockOptions{})
	require.NoError(t, err)
	first, ended := other.engine(t), make(chan error, 1)
	b.clusters.Inside = func(string) error { return errBroken } // it has the registry by then
	b.removing = func() {
		go func() {
			_, err := first.Up(context.Background(), UpOptions{})
			ended <- err
		}()
		require.Eventually(t, func() bool {
			return len(ended) == 1 || strings.Contains(b.said(), "waiting for \"kfdev test\"")
		}, waitLimit, waitTick)
	}
	_, err = b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	require.ErrorIs(t, <-ended, errBroken)
	require.True(t, b.registry.Running, "it was made again for the other project")
}

func TestAClusterOfAnotherFolderIsNotTouched(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	twin := *b
	twin.dir, twin.dirs.State = t.TempDir(), t.TempDir()
	twin.project(t, bothComponents)
	b.revive(0)
	_, err = twin.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, b.dir)
	_, err = twin.engine(t).Down(t.Context(), DownOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, b.dir)
	_, err = twin.up(t)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, b.dir)
	require.Empty(t, b.written())
	got, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, cluster.Running, got.Phase)
	b.isUp(t, "extra", "storage")
}

func TestStatusSaysWhatRunsAndWhyNot(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	got, err := b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, got.Cluster)
	require.Len(t, got.Components, 2)
	require.Equal(t, NotFound, got.Components[0].State)

	_, err = b.up(t)
	require.NoError(t, err)
	b.asked = 0
	got, err = b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.True(t, got.Ready())
	require.Equal(t, 1, b.asked, "one look is enough for all components")
	require.Equal(t, "127.0.0.1:5735", got.Registry)
	require.EqualValues(t, 1<<20, got.Memory)
	for _, c := range got.Components {
		require.Len(t, c.Images, 1)
		require.Equal(t, "registry.example/"+c.Name+":v1", c.Images[0].StandsFor)
		require.True(t, strings.HasPrefix(c.Images[0].Image, "kfdev.internal/"+c.Name+"@sha256:"))
	}

	made, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	b.stacks[made.Nodes[0].ID]["extra"].ready = false
	delete(b.stacks[made.Nodes[0].ID], "storage")
	got, err = b.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.False(t, got.Ready())
	why := map[string]string{}
	for _, c := range got.Components {
		why[c.Name] = string(c.State) + ": " + c.Why
	}
	require.Equal(t, map[string]string{
		"extra": "InProgress: its pod is Pending", "storage": "NotFound: it was not brought up; run `kfdev up`",
	}, why)
}

// podOf is one that runs a container of the digest.
func podOf(name, image string, digest v1.Hash) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Image: image, ImageID: digest.String()}}},
	}
}

func TestVerifyNamesWhatIsNotInTheLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.engine(t).Verify(t.Context(), nil)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = b.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	foreign := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	b.pods = []corev1.Pod{podOf("extra", "x", l.Images[0].Digest), podOf("pause", "x", l.Node.Holds[0].Config)}
	got, err := b.engine(t).Verify(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 2, got.Running.Pods)
	b.pods = append(b.pods, podOf("miner", "docker.io/evil/miner:latest", foreign))
	got, err = b.engine(t).Verify(t.Context(), nil)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "kube-system/miner")
	require.Len(t, got.Running.Foreigners, 1)
	_, err = b.engine(t).Verify(t.Context(), []string{"extra"})
	require.Equal(t, fault.Usage, fault.KindOf(err), "it has no smoke test")
}

func TestWhatAPublishedNodeImageBroughtAlongMayRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	inside := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("b", 64)}
	held := []cluster.Held{{Name: "registry.k8s.io/etcd:3.6", Digests: []string{inside.String(), "no digest"}}}
	pods := []corev1.Pod{podOf("etcd", "registry.k8s.io/etcd:3.6", inside)}
	require.Len(t, running.Compare(pods, allowed(l, held)).Foreigners, 1, "a node image from source has said what it holds")
	l.Node.Image.Origin = images.FromRegistry
	require.Empty(t, running.Compare(pods, allowed(l, held)).Foreigners)
	require.Len(t, running.Compare(pods, allowed(l, nil)).Foreigners, 1)
}

func TestWithARegistryPublishedImagesAreCopied(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(bothComponents, "origin: source", "origin: registry", 1))
	_, err := b.lock(t, LockOptions{})
	require.ErrorContains(t, err, "no route to host")
	require.ErrorContains(t, err, "Deployment", "it says where the image is asked for")
	b.remote.err = nil
	b.publishAll(t)
	b.remote.publish(t, "registry.example/storage", "v2", 4)
	b.catalog["extra/component.yaml"].Data = []byte(strings.ReplaceAll(string(b.catalog["extra/component.yaml"].Data), "registry.example/extra:v1", "registry.example/storage:v2"))
	b.catalog["extra/all.yaml"] = file(deployment("extra", "registry.example/storage:v2"))
	_, err = b.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	require.Len(t, l.Images, 2)
	require.Equal(t, l.Images[0].Repository, l.Images[1].Repository, "two tags of one repository")
	require.NotEqual(t, l.Images[0].Digest, l.Images[1].Digest)
	for _, i := range l.Images {
		got, err := b.content.Manifest(t.Context(), i.Ref())
		require.NoError(t, err)
		require.Equal(t, i.MediaType, string(got.MediaType), "an index stays an index")
	}
	state, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, l.Node.Image.Ref().String(), state.Image, "by digest")
	b.unchanged(t)
}

func TestWhatTheStoreLostIsBuiltAgainFromTheLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	l, digest, err := lock.Load(b.dir)
	require.NoError(t, err)
	listed, err := b.engine(t).ListImages(t.Context())
	require.NoError(t, err)
	require.Len(t, listed, 3)
	require.True(t, listed[0].Stored)

	b.archive.move("2")
	b.dirs.Cache, b.content = t.TempDir(), newOutside().content
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	var said []string
	for _, i := range items {
		said = append(said, i.Work.Summary)
	}
	require.Contains(t, strings.Join(said, "\n"), "build first, since the store does not have them: extra, storage")
	_, err = b.up(t)
	require.NoError(t, err)
	now, again, err := lock.Load(b.dir)
	require.NoError(t, err)
	require.Equal(t, digest, again)
	require.Equal(t, l.Images, now.Images)
	b.isUp(t, "extra", "storage")
	verified, err := b.engine(t).VerifyImages(t.Context(), []string{"extra"})
	require.NoError(t, err)
	require.Len(t, verified, 1)
	require.True(t, verified[0].Same())
}

func TestAnUpThatIsCanceledSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	b.clusters.Before = func(string) error {
		cancel()
		return ctx.Err()
	}
	_, err = b.engine(t).Up(ctx, UpOptions{})
	require.Equal(t, fault.Canceled, fault.KindOf(err))
	b.clusters.Before = nil
	_, err = b.up(t)
	require.NoError(t, err)
	b.isUp(t, "extra", "storage")
}
