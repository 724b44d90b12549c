package envs

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
)

func itemOf(t *testing.T, items []plan.Item, id string) plan.Work {
	t.Helper()
	for _, i := range items {
		if i.ID == id {
			return i.Work
		}
	}
	require.Fail(t, "there is no step "+id)
	return plan.Work{}
}

func TestUpRefusesWhatSurelyDoesNotFit(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)

	b.disk = space{everybody: 10, root: l.Node.Image.Size - 1}
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Equal(t, l.Node.Image.Size, itemOf(t, items, "node").Disk)
	_, err = b.up(t)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "at least "+size(l.Node.Image.Size)+" are to be written, "+size(l.Node.Image.Size-1)+" are free")
	require.NotEmpty(t, fault.Hint(err))
	require.Empty(t, b.written())

	b.disk.root = 1 << 40 // the rest is an estimate
	_, err = b.up(t)
	require.NoError(t, err)
	require.Contains(t, b.said(), "the stack takes up to")
	b.disk = space{everybody: 1, root: 1}
	b.unchanged(t) // what is there needs no room

	b.registry.Running = false
	b.emptyRegistry()
	b.revive(0)
	_, err = b.up(t)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "Images: making room", "only when it runs is known what it lacks")
	require.Equal(t, []string{"registry"}, b.written())
}

// Storage and extra lie on one base: what is copied of it for one of them is
// not needed for the other.
func TestABlobThatImagesShareIsCountedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	var sum int64
	for _, i := range l.Images {
		sum += i.Size
	}
	b.emptyRegistry()
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	all := itemOf(t, items, "images")
	require.Less(t, all.Copy, sum)
	require.Equal(t, all.Copy, all.Disk)
	b.revive(0)
	_, err = b.up(t)
	require.NoError(t, err)

	b.registry.Running = false
	b.emptyRegistry()
	items, err = b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Zero(t, itemOf(t, items, "images").Disk, "its volume may be full of them")
	require.Equal(t, all.Copy, itemOf(t, items, "images").Copy)
}

func TestABuildThatSurelyDoesNotFitIsNotBegun(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	b.disk = space{} // full
	_, err := b.lock(t, LockOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "are to be fetched, 0 B are free")
	require.Zero(t, b.archive.made)
	b.disk = space{everybody: 1, root: 1 << 40}
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	require.Contains(t, b.said(), "the build writes about")
}

func TestThePlanCountsTheNodeImageThatIsDownloaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(bothComponents, "origin: source", "origin: registry", 1))
	b.remote.err = nil
	b.publishAll(t)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	made := itemOf(t, items, "cluster")
	require.Positive(t, made.Download)
	require.Equal(t, l.Node.Image.Size, made.Download)
	require.Contains(t, made.Summary, "to download")

	b.loaded[l.Node.Image.Ref().String()] = b.loaded[""]
	items, err = b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	require.Zero(t, itemOf(t, items, "cluster").Download)
}

// What published images take is known from their manifests, each blob once,
// and without what the local registry has of another image.
func TestThePlanCountsWhatTheLocalRegistryLacks(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(bothComponents, "origin: source", "origin: registry", 1))
	b.remote.err = nil
	b.publishAll(t)
	_, err := b.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	i := l.Images[slices.IndexFunc(l.Images, func(i lock.Image) bool { return i.Repository == "registry.example/extra" })]
	extra := origintest.NewFixtureOf(t, i.Repository, 2)
	for digest := range extra.Blobs {
		b.content.Damage(i.Repository, digest, func([]byte) []byte { return nil })
	}
	for digest := range extra.Manifests {
		b.content.Damage(i.Repository, digest, func([]byte) []byte { return nil })
	}
	const lacking = 1<<20 + 2000 // two layers; the configuration is storage's too
	items, err := b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	work := itemOf(t, items, "images")
	require.EqualValues(t, lacking, work.Download)
	require.EqualValues(t, lacking, work.Disk)

	b.revive(0)
	b.disk = space{everybody: lacking - 1, root: lacking - 1}
	_, err = b.up(t)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Empty(t, b.written())

	// Where the registry can't be asked, the lock's figure stands, and refuses nothing.
	b.remote.Damage(i.Repository, i.Digest, func([]byte) []byte { return nil })
	items, err = b.engine(t).PlanUp(t.Context(), UpOptions{})
	require.NoError(t, err)
	work = itemOf(t, items, "images")
	require.Equal(t, i.Size, work.Download)
	require.Zero(t, work.Disk)
}

func TestDiskSpace(t *testing.T) {
	t.Parallel()
	here := diskSpace(t.TempDir())
	require.GreaterOrEqual(t, here.root, here.everybody)
	require.Positive(t, here.root)
	require.Equal(t, space{everybody: unknown, root: unknown}, diskSpace("/no/such/folder"))
	require.Equal(t, "an unknown amount", known(unknown))
	require.Equal(t, "0 B", known(0))
}
