package envs

import (
	"context"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// keptBaked are the old lock's baked images: kfdev lock can't make them, so
// they stay as long as kfdev.yaml has their entries.
func (l *locker) keptBaked(platforms []string) []lock.Image {
	var kept []lock.Image
	for _, i := range bakedIn(l.old.Images) {
		_, entry := l.file.SyncNamed(i.Bake.Sync)
		lacking := slices.ContainsFunc(platforms, func(p string) bool {
			return !slices.ContainsFunc(i.Platforms, func(c lock.Child) bool { return c.Platform == p })
		})
		switch {
		case !entry:
			progress.Warn(l.sink, fmt.Sprintf("kfdev.yaml has no sync entry %q any more: what was baked of it leaves the lock", i.Bake.Sync))
		case lacking:
			progress.Warn(l.sink, fmt.Sprintf("%s was not baked for every platform that kfdev.yaml names now, and leaves the lock: run kfdev sync bake %s --lock again", i.Repository, i.Bake.Sync))
		default:
			kept = append(kept, i)
		}
	}
	return kept
}

func bakedIn(all []lock.Image) []lock.Image {
	var baked []lock.Image
	for _, i := range all {
		if i.Origin == images.FromBake {
			baked = append(baked, i)
		}
	}
	return baked
}

// absent reports whether the image was baked on another machine, and is not
// here: it can't be copied, and what it is made of is not in the lock. The same
// goes for one whose base was built from source, has left the lock since, and
// is not here any more.
func (e *Engine) absent(ctx context.Context, l lock.Lock, i lock.Image) (bool, error) {
	if i.Origin != images.FromBake {
		return false, nil
	}
	has, err := e.hasBaked(ctx, i)
	if err != nil || !has {
		return true, err
	}
	again := l.Origin == images.FromRegistry || slices.ContainsFunc(l.Images, func(base lock.Image) bool { return base.Ref().String() == i.Bake.Base })
	if again {
		return false, nil
	}
	err = e.hasBlobs(ctx, i)
	if fault.KindOf(err) == fault.NotFound {
		return true, nil
	}
	return false, err
}

// hasBaked reports whether the store has what baking added to the base.
func (e *Engine) hasBaked(ctx context.Context, i lock.Image) (bool, error) {
	closure, err := images.Walk(ctx, store.NewOrigin(e.store, images.FromBake), i.Ref(), nil)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	wanted := []v1.Hash{i.Bake.Layer}
	for _, n := range closure.Nodes {
		if len(n.Blobs) > 0 {
			wanted = append(wanted, n.Blobs[0].Digest) // the configuration
		}
	}
	for _, digest := range wanted {
		if has, err := e.store.Has(ctx, digest.String()); err != nil || !has {
			return false, err
		}
	}
	return true, nil
}

// contents is where images are read; a registry's target that reads back what
// it has is one, too.
type contents interface {
	Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error)
	Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error)
}

// bakedOrigin serves baked images: what baking added from the places that may
// have it, the rest from there too, or from where their bases come from. All
// other images are the rest's alone.
type bakedOrigin struct {
	own   chain
	rest  contents
	bases map[string]string // the baked image's repository → the base's
}

var _ images.Referring = bakedOrigin{}

// withBaked returns rest with the baked images beside it, which own has.
func withBaked(own []*place, rest contents, baked []lock.Image) images.Origin {
	o := bakedOrigin{own: chain{kind: images.FromBake, places: own}, rest: rest, bases: map[string]string{}}
	for _, i := range baked {
		if base, err := images.ParseRef(i.Bake.Base); err == nil { // the lock was validated
			o.bases[i.Repository] = base.Repository
		}
	}
	return o
}

// Kind says bake.
func (o bakedOrigin) Kind() images.OriginKind { return images.FromBake }

// Manifest returns a manifest or index.
func (o bakedOrigin) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	if _, baked := o.bases[ref.Repository]; !baked {
		return o.rest.Manifest(ctx, ref)
	}
	m, err := o.own.Manifest(ctx, ref)
	if fault.KindOf(err) == fault.NotFound {
		err = &fault.Error{Op: "looking for what was baked", Subject: ref.Repository, Err: err,
			Hint: "it was baked on another machine, and can be made again only there: promote from that one first"}
	}
	return m, err
}

// Blob opens a config or layer.
func (o bakedOrigin) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	base, baked := o.bases[repository]
	if !baked {
		return o.rest.Blob(ctx, repository, desc)
	}
	below := &place{name: "its base " + base, from: underBase{o.rest, base}}
	return chain{places: append(slices.Clip(o.own.places), below)}.Blob(ctx, repository, desc)
}

// Referrers lists what is about a manifest.
func (o bakedOrigin) Referrers(ctx context.Context, ref images.Ref, artifactType string) ([]v1.Descriptor, error) {
	if _, baked := o.bases[ref.Repository]; baked {
		return o.own.Referrers(ctx, ref, artifactType)
	}
	if rest, knows := o.rest.(referring); knows {
		return rest.Referrers(ctx, ref, artifactType)
	}
	return nil, nil
}

// underBase has the layers of a baked image's base.
type underBase struct {
	contents
	base string
}

// Blob opens a layer of the base.
func (o underBase) Blob(ctx context.Context, _ string, desc v1.Descriptor) (io.ReadCloser, error) {
	return o.contents.Blob(ctx, o.base, desc)
}
