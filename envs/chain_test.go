package envs

import (
	"context"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

const chained = "registry.example/team/app"

func TestAChainPassesTheSuite(t *testing.T) {
	t.Parallel()
	origintest.Run(t, chained, func(_ *testing.T, f origintest.Fixture) origintest.Subject {
		last := origintest.NewMemory().Fill(f)
		c := chain{kind: images.FromSource, places: []*place{
			{name: "empty", from: origintest.NewMemory()},
			{name: "down", from: origintest.NewMemory(), sink: progress.Discard, answers: func(context.Context) error { return errBroken }},
			{name: "last", from: last},
		}}
		damage := func(digest v1.Hash, change func([]byte) []byte) { last.Damage(chained, digest, change) }
		return origintest.Subject{Origin: c, Kind: images.FromSource, Damage: damage}
	})
}

func TestAPlaceThatIsDownIsAskedOnceAndToldOnce(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, chained)
	var rec progress.Recorder
	asked := 0
	down := &place{name: "the registry of staging", from: origintest.NewMemory(), sink: &rec, answers: func(context.Context) error {
		asked++
		return errors.New("no route to host")
	}}
	last := origintest.NewMemory().Fill(f)
	c := chain{places: []*place{down, {name: "the last", from: last, sink: &rec}}}
	to := origintest.NewMemory()
	done, err := (&images.Copier{From: c, To: to}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, len(f.Blobs), done.Blobs)
	require.Equal(t, 1, asked)
	require.Len(t, rec.Events(), 1)
	require.Equal(t, "the registry of staging is passed over: no route to host", rec.Events()[0].Text)

	last.Damage(chained, f.Layer.Digest, func([]byte) []byte { return nil })
	_, err = c.Blob(t.Context(), chained, f.Layer)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "what the last place says counts")
	require.ErrorContains(t, err, "the registry of staging: no route to host")
	require.ErrorContains(t, err, "the last: reading: "+chained)
	require.Equal(t, 1, asked)
}

// A place that has an image in part gives that part; no byte goes unchecked.
func TestWhatOnePlaceLacksOrHasSpoiledAnotherGives(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, chained)
	near, far := origintest.NewMemory().Fill(f), origintest.NewMemory().Fill(f)
	near.Damage(chained, f.Layer.Digest, func([]byte) []byte { return nil })
	near.Damage(chained, f.Index.Digest, func([]byte) []byte { return []byte("{}") })
	var rec progress.Recorder
	to := origintest.NewMemory()
	c := chain{places: []*place{{name: "near", from: near, sink: &rec}, {name: "far", from: far}}}
	_, err := (&images.Copier{From: c, To: to}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, []string{chained + "@" + f.Layer.Digest.String()}, far.Opened())
	require.Len(t, rec.Events(), 1, "the spoiled index")
	require.Contains(t, rec.Events()[0].Text, "near is passed over: "+images.ErrContent.Error())
}

// told is an origin that knows what is about any image.
type told struct {
	*origintest.Memory
	about []v1.Descriptor
	err   error
}

func (o told) Referrers(context.Context, images.Ref, string) ([]v1.Descriptor, error) {
	return o.about, o.err
}

func TestWhatAnyPlaceKnowsToBeAboutAnImageIsListed(t *testing.T) {
	t.Parallel()
	named := func(names ...string) (all []v1.Descriptor) {
		for _, name := range names {
			all = append(all, v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: name}})
		}
		return all
	}
	of := func(about []v1.Descriptor, err error) *place {
		return &place{name: "p", from: told{origintest.NewMemory(), about, err}, sink: progress.Discard}
	}
	silent := func() *place { return &place{name: "silent", from: origintest.NewMemory()} }
	for name, tc := range map[string]struct {
		places []*place
		want   []v1.Descriptor
		fails  bool
	}{
		"each once":                    {places: []*place{of(named("a", "b"), nil), silent(), of(named("b", "c"), nil)}, want: named("a", "b", "c")},
		"one is down":                  {places: []*place{of(named("a"), nil), of(nil, errBroken)}, want: named("a")},
		"all are down":                 {places: []*place{of(nil, errBroken), of(nil, errBroken)}, fails: true},
		"down, and built here at last": {places: []*place{of(nil, errBroken), silent()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := chain{places: tc.places}.Referrers(t.Context(), images.Ref{}, "")
			require.Equal(t, tc.fails, err != nil, "%v", err)
			require.Equal(t, tc.want, got)

			baked := lock.Image{Repository: "kfdev.internal/baked/demo/nb", Bake: lock.Bake{Base: chained + "@sha256:" + strings.Repeat("f", 64)}}
			origin, knows := withBaked(tc.places, chain{places: tc.places}, []lock.Image{baked}).(images.Referring)
			require.True(t, knows, "a baked image takes nothing from the others")
			for _, repository := range []string{chained, baked.Repository} {
				got, err := origin.Referrers(t.Context(), images.Ref{Repository: repository}, "")
				require.Equal(t, tc.fails, err != nil, "%v", err)
				require.Equal(t, tc.want, got)
			}
		})
	}
}

func TestWhatWasBakedAndIsNowhereSaysHowToHaveIt(t *testing.T) {
	t.Parallel()
	nowhere := []*place{{name: "the store", from: origintest.NewMemory()}, {name: "the registry of staging", from: origintest.NewMemory()}}
	baked := lock.Image{Repository: "kfdev.internal/baked/demo/nb", Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("f", 64)}}
	_, err := withBaked(nowhere, origintest.NewMemory(), []lock.Image{{Repository: baked.Repository, Bake: lock.Bake{Base: chained + "@" + baked.Digest.String()}}}).Manifest(t.Context(), baked.Ref())
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "the store: ")
	require.ErrorContains(t, err, "the registry of staging: ")
	require.Contains(t, strings.Join(fault.Hint(err), "\n"), "baked on another machine")
}
