package envs

import (
	"context"
	"io"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/store"
)

// nearby is where a promotion takes those of the lock's images from that the
// target lacks: this machine's store, the registries of the environments
// before, and only then where images come from at first.
func (p *promotion) nearby(target contents) images.Origin {
	near := append([]*place{p.storePlace()}, p.registriesBefore()...)
	first := &place{name: "where it is published", from: p.remote, sink: p.sink}
	if p.lock.Origin != images.FromRegistry {
		built := &builtOrigin{Origin: store.NewOrigin(p.store, images.FromSource), engine: p.Engine, lock: p.lock}
		built.elsewhere = append([]*place{{name: "the target", from: target, sink: p.sink}}, near...)
		first.name, first.from = "building it", built
	}
	all := chain{kind: p.lock.Origin, places: append(slices.Clip(near), first)}
	if baked := bakedIn(p.lock.Images); len(baked) > 0 {
		return withBaked(near, all, baked)
	}
	return all
}

// storePlace is this machine's store.
func (e *Engine) storePlace() *place {
	return &place{name: "the store of this machine", from: store.NewOrigin(e.store, images.FromSource), sink: e.sink}
}

// registriesBefore are those of the environments that this one comes after,
// where they name one.
func (p *promotion) registriesBefore() []*place {
	var all []*place
	env, _ := p.Environment(p.name)
	for _, before := range env.After {
		if before == project.DevName || !p.file.Environments.Others[before].Registry.Named() {
			continue
		}
		r, err := p.siteRegistry(before, p.repositories())
		all = append(all, &place{name: "the registry of " + before, from: reading{r.target}, sink: p.sink, answers: func(ctx context.Context) error {
			if err != nil {
				return err
			}
			return r.target.Answers(ctx, release.Repository(p.Project), registryPatience)
		}})
	}
	return all
}

// builtOrigin serves images that are built from source, and builds what the
// store lacks when it is asked for it.
type builtOrigin struct {
	*store.Origin
	engine *Engine
	lock   lock.Lock
	// elsewhere are the places that have what need not be built.
	elsewhere []*place

	mu    sync.Mutex
	built map[string]bool // by repository
}

// Manifest returns an image's manifest, and builds it first where that is
// needed. What is about an image is not built.
func (o *builtOrigin) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	if slices.ContainsFunc(o.lock.Images, func(i lock.Image) bool { return i.Ref() == ref }) {
		if err := o.build(ctx, ref.Repository); err != nil {
			return images.Manifest{}, err
		}
	}
	return o.Origin.Manifest(ctx, ref)
}

// Blob opens a config or layer.
func (o *builtOrigin) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	if err := o.build(ctx, repository); err != nil {
		return nil, err
	}
	return o.Origin.Blob(ctx, repository, desc)
}

// build has an image in the store. The first time, it has all those there that
// are nowhere else, too: they share layers, and are built side by side.
func (o *builtOrigin) build(ctx context.Context, repository string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil || o.built[repository] {
		return err
	}
	var wanted []lock.Image
	for _, i := range o.lock.Images {
		if i.Origin == images.FromSource && (i.Repository == repository || o.built == nil && o.nowhere(ctx, i.Ref())) {
			wanted = append(wanted, i)
		}
	}
	if _, err := o.engine.origin(ctx, o.lock, wanted); err != nil {
		return err
	}
	if o.built == nil {
		o.built = map[string]bool{}
	}
	for _, i := range wanted {
		o.built[i.Repository] = true
	}
	return nil
}

func (o *builtOrigin) nowhere(ctx context.Context, ref images.Ref) bool {
	return !slices.ContainsFunc(o.elsewhere, func(p *place) bool {
		_, err := try(ctx, p, func(from contents) (images.Manifest, error) { return from.Manifest(ctx, ref) })
		return err == nil
	})
}
