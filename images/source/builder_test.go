package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestBuildMakesEachLayerOnceAndNothingTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pinned := b.pin(t, "node", "app")
	var names []string
	for _, i := range pinned.Images {
		names = append(names, i.Name)
	}
	require.Equal(t, []string{"app", "other", "node"}, names, "each after those it holds, each once")
	require.Equal(t, "registry.example/app:v1", pinned.Images[0].StandsFor)

	first, err := b.Build(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, first, 3)
	require.ElementsMatch(t, []string{"app", "other"}, b.golang.called("tree"))
	app, node := first[0], first[2]
	require.Equal(t, images.Ref{Repository: "kfdev.internal/app", Digest: app.Digest}, app.Ref)
	require.Len(t, app.DiffIDs, 2)
	require.Equal(t, app.DiffIDs[0], first[1].DiffIDs[0], "the base's layer is one and the same")
	held := b.preload.inputs["node"]
	require.Equal(t, recipe.Input{Kind: "image", Name: "app", Version: "kfdev.internal/app:v1", Hash: app.Digest.String()}, held[0])
	require.Equal(t, held, node.Layers[0], "what the lock records")

	again, err := b.Build(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, b.golang.called("tree"), 2)
	require.Len(t, b.preload.called("tree"), 1)
	for i := range again {
		require.True(t, again[i].Reused)
		again[i].Reused = false
	}
	require.Equal(t, first, again)

	elsewhere := newBench(t, nil)
	other, err := elsewhere.Build(t.Context(), elsewhere.pin(t, "app", "node"))
	require.NoError(t, err)
	require.Equal(t, first, other, "another store, the same bytes")
	require.NotEmpty(t, b.events.Events())
}

func TestTheImageIsAsItsRecipeSays(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	built, err := b.Build(t.Context(), b.pin(t, "app"))
	require.NoError(t, err)
	origin := store.NewOrigin(b.Store, images.FromSource)
	closure, err := images.Walk(t.Context(), origin, built[0].Ref, nil)
	require.NoError(t, err)
	require.Len(t, closure.Blobs, 3)
	require.Equal(t, closure.Blobs[0].Digest, built[0].Config)
	content, err := origin.Blob(t.Context(), built[0].Ref.Repository, closure.Blobs[0])
	require.NoError(t, err)
	raw, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	want := fmt.Sprintf(`{"created":"1970-01-01T00:00:01Z","architecture":"amd64","os":"linux",`+
		`"config":{"User":"1","Env":["A=b"],"Entrypoint":["/a"],"Volumes":{"/data":{}},"Labels":{"a":"2","z":"1"},"StopSignal":"SIGTERM"},`+
		`"rootfs":{"type":"layers","diff_ids":["%s","%s"]}}`, built[0].DiffIDs[0], built[0].DiffIDs[1])
	require.Equal(t, []byte(want), raw, "byte for byte: the digest depends on it")
	require.Equal(t, closure.Blobs[0].Size+closure.Blobs[1].Size+closure.Blobs[2].Size, built[0].Size)
}

func TestPinTakesAgainWhatWasPinnedBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	before := b.pin(t, "app", "other")
	require.Len(t, b.golang.called("pin"), 2)
	before.Images[0].Layers[1][0].Version = "v0-old"
	again, err := b.Pin(t.Context(), []string{"app", "other"}, before)
	require.NoError(t, err)
	require.Equal(t, "v0-old", again.Images[0].Layers[1][0].Version)
	require.Equal(t, "v1", again.Images[1].Layers[1][0].Version)
	moved, err := b.Pin(t.Context(), []string{"app", "other"}, source.Pinned{Images: before.Images[1:]})
	require.NoError(t, err)
	require.Equal(t, "v1", moved.Images[0].Layers[1][0].Version, "what is left out of before moves")
	before.Images[0].Layers[1] = nil
	moved, err = b.Pin(t.Context(), []string{"app", "other"}, before)
	require.NoError(t, err)
	require.Equal(t, "v1", moved.Images[0].Layers[1][0].Version, "and so does a layer that is left out")
}

func TestOneGoBuildAtATimeBesideTheFetches(t *testing.T) {
	t.Parallel()
	const many = 12
	b := newBench(t, func(c *source.Config) {
		for i := range many {
			for _, kind := range []string{"go: {module: ., toolchain: go1.26.8, programs: [{package: a, path: /a}]}", "debian: {suite: bookworm, packages: [libc6]}"} {
				name := fmt.Sprintf("%.2s%d", kind, i)
				folder := c.Catalog.(fstest.MapFS)
				folder[name+"/recipe.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: kfdev.dev/v1alpha1\nkind: Recipe\nname: " + name + "\nlayers:\n - {" + kind + "}\n - {files: [{path: /x, content: " + name + "}]}\n")}
				folder[name+"/go.mod.txt"] = &fstest.MapFile{Data: []byte(name)}
				folder[name+"/go.sum.txt"] = &fstest.MapFile{}
			}
		}
	})
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf("go%d", i), fmt.Sprintf("de%d", i))
	}
	yield := func(context.Context, string, source.LayerSpec) error {
		for range 100 {
			runtime.Gosched()
		}
		return nil
	}
	b.golang.at, b.debian.at = yield, yield
	_, err := b.Build(t.Context(), b.pin(t, names...))
	require.NoError(t, err)
	require.Equal(t, 1, b.golang.most["tree"])
	require.LessOrEqual(t, b.debian.most["tree"], runtime.NumCPU())
	require.LessOrEqual(t, b.golang.most["fetch"], 3)
	require.Len(t, b.golang.called("tree"), many)
}

func TestAFailureStopsTheRestAndKeepsWhatWasMade(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	made := make(chan struct{})
	b.golang.at = func(ctx context.Context, stage string, spec source.LayerSpec) error {
		switch {
		case stage == "tree" && spec.Recipe == "app":
			return nil
		case stage == "fetch" && spec.Recipe == "other":
			select { // only when app's layer is packed
			case <-made:
				return errBoom
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	pinned := b.pin(t, "node")
	var once sync.Once
	b.Sink = sinkFunc(func(e progress.Event) {
		if e.Task == "images/build/app" && e.State == progress.Done {
			once.Do(func() { close(made) })
		}
	})
	_, err := b.Build(t.Context(), pinned)
	require.ErrorIs(t, err, errBoom)
	require.Empty(t, b.preload.called("tree"))
	b.golang.at = nil
	_, err = b.Build(t.Context(), pinned)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"app", "other"}, b.golang.called("tree"), "app's layer was kept")
}

type sinkFunc func(progress.Event)

func (f sinkFunc) Send(e progress.Event) { f(e) }

func TestBuildEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.golang.at = func(ctx context.Context, stage string, _ source.LayerSpec) error {
		if stage == "tree" {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	pinned := b.pin(t, "node")
	_, err := b.Build(ctx, pinned)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, fault.Canceled, fault.KindOf(err))
}

func TestALockIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pinned := b.pin(t, "app")
	built, err := b.Build(t.Context(), pinned)
	require.NoError(t, err)

	wrong := source.Pinned{Images: []source.PinnedImage{built[0].PinnedImage}}
	wrong.Images[0].Digest = v1.Hash{Algorithm: "sha256", Hex: "00000000000000000000000000000000000000000000000000000000000000ff"}
	_, err = b.Build(t.Context(), wrong)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "in the lock")

	changed := pinned
	changed.Images = append([]source.PinnedImage(nil), pinned.Images...)
	changed.Images[0].Recipe.Hex = wrong.Images[0].Digest.Hex
	_, err = b.Build(t.Context(), changed)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "not the one that is locked")
	changed.Images[0].Digest = built[0].Digest
	there, err := b.Build(t.Context(), changed)
	require.NoError(t, err, "what an older kfdev built is taken from the store")
	require.True(t, there[0].Reused)
}

func TestMachinesThatCannotBuildAreToldBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		host   source.Host
		recipe string
		want   string
	}{
		"a Mac":          {source.Host{Platform: "darwin/arm64"}, "app", "linux/amd64 only; this is darwin/arm64"},
		"another Debian": {source.Host{Platform: "linux/amd64", ID: "debian", Codename: "trixie", Name: "Debian 13"}, "deb", "this machine is Debian 13"},
		"another Linux":  {source.Host{Platform: "linux/amd64", ID: "fedora"}, "deb", "of no known kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := newBench(t, nil)
			pinned := good.pin(t, tc.recipe)
			b := newBench(t, func(c *source.Config) { c.Host = tc.host })
			_, err := b.Build(t.Context(), pinned)
			require.Equal(t, fault.Preflight, fault.KindOf(err), "%v", err)
			require.ErrorContains(t, err, tc.want)
			require.Empty(t, b.golang.called("fetch"))
			require.Empty(t, b.debian.called("fetch"))
		})
	}
}

// choosy is a maker that cannot work here.
type choosy struct{ *fake }

func (choosy) Check(context.Context, source.LayerSpec) error {
	return &fault.Error{Kind: fault.Preflight, Err: errors.New("no such Go")}
}

func TestAMakerMayRefuseBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *source.Config) { c.Makers[recipe.KindGo] = choosy{newFake()} })
	_, err := b.Build(t.Context(), b.pin(t, "app"))
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	none := newBench(t, func(c *source.Config) { delete(c.Makers, recipe.KindGo) })
	_, err = none.Pin(t.Context(), []string{"app"}, source.Pinned{})
	require.ErrorContains(t, err, `layers of kind "go"`)
	_, err = none.Pin(t.Context(), []string{"nothing"}, source.Pinned{})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestPlanListKeepAndPrune(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pinned := b.pin(t, "node")
	plan, err := b.Plan(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, plan.Layers, 4)
	require.Equal(t, 2, plan.GoBuilds)
	require.Positive(t, plan.Memory)
	require.Positive(t, plan.Disk)
	_, err = b.Build(t.Context(), pinned)
	require.NoError(t, err)
	plan, err = b.Plan(t.Context(), pinned)
	require.NoError(t, err)
	require.Equal(t, source.Plan{}, plan)

	list, err := b.List(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, list, 5)
	built := map[string]bool{}
	for _, l := range list {
		built[l.Name] = l.Image != nil
	}
	require.Equal(t, map[string]bool{"app": true, "base": false, "deb": false, "node": true, "other": true}, built)

	keep, err := b.Keep(t.Context(), source.Pinned{Images: pinned.Images[:1]})
	require.NoError(t, err)
	require.Len(t, keep, 4, "manifest, config, two layers")
	would, err := b.PlanPrune(t.Context(), source.Pinned{Images: pinned.Images[:1]})
	require.NoError(t, err)
	done, err := b.Prune(t.Context(), source.Pinned{Images: pinned.Images[:1]})
	require.NoError(t, err)
	require.Equal(t, would, done)
	require.Positive(t, done.Blobs)
	after, err := b.Built(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, after, 1)
	_, err = b.Build(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, b.golang.called("tree"), 3, "app was kept, other is built again")
}

func TestVerifyFindsWhatIsNotReproducible(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pinned := b.pin(t, "node")
	_, err := b.Verify(t.Context(), pinned)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = b.Build(t.Context(), pinned)
	require.NoError(t, err)
	verified, err := b.Verify(t.Context(), pinned)
	require.NoError(t, err)
	require.Len(t, verified, 3)
	for _, v := range verified {
		require.True(t, v.Same(), v.Name)
	}
	require.Len(t, b.golang.called("tree"), 4)
	b.golang.salt = "the time of day"
	verified, err = b.Verify(t.Context(), pinned)
	require.NoError(t, err)
	for _, v := range verified {
		require.False(t, v.Same(), v.Name)
	}
}

func TestHealRemovesWhatIsDamagedAndTheNextBuildMakesItAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	pinned := b.pin(t, "app")
	built, err := b.Build(t.Context(), pinned)
	require.NoError(t, err)
	closure, err := images.Walk(t.Context(), store.NewOrigin(b.Store, images.FromSource), built[0].Ref, nil)
	require.NoError(t, err)
	path := filepath.Join(b.Store.Dir(), "blobs", "sha256", closure.Blobs[2].Digest.Hex)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("rotten"), 0o644))
	bad, err := b.Heal(t.Context())
	require.NoError(t, err)
	require.Len(t, bad, 1)
	again, err := b.Build(t.Context(), pinned)
	require.NoError(t, err)
	require.Equal(t, built, again)
	require.Len(t, b.golang.called("tree"), 2)
}
