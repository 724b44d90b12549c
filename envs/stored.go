package envs

import (
	"context"
	"errors"
	"slices"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/archive"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
)

// lost names the recipes of images that must be built again, since the store
// no longer has what they came to.
func (e *Engine) lost(ctx context.Context, all []lock.Image) ([]string, error) {
	var names []string
	for _, i := range all {
		if i.Origin != images.FromSource {
			continue
		}
		switch err := e.hasBlobs(ctx, i); {
		case fault.KindOf(err) == fault.NotFound:
			names = append(names, i.Recipe)
		case err != nil:
			return nil, err
		}
	}
	return names, nil
}

// hasBlobs reports, as a fault of kind NotFound, a blob that the store lacks.
func (e *Engine) hasBlobs(ctx context.Context, i lock.Image) error {
	origin := store.NewOrigin(e.store, images.FromSource)
	closure, err := images.Walk(ctx, origin, i.Ref(), nil)
	if err != nil {
		return err
	}
	for _, desc := range closure.Blobs {
		has, err := origin.Has(ctx, i.Repository, desc)
		if err != nil {
			return err
		}
		if !has {
			return &fault.Error{Op: "looking into the store", Subject: desc.Digest.String(), Kind: fault.NotFound, Err: errors.New("it is not there")}
		}
	}
	return nil
}

// origin returns where the images of the lock come from, with everything there
// that can be built.
func (e *Engine) origin(ctx context.Context, l lock.Lock, all []lock.Image) (images.Origin, error) {
	if baked := bakedIn(all); len(baked) > 0 {
		rest, err := e.origin(ctx, l, slices.DeleteFunc(slices.Clone(all), func(i lock.Image) bool { return i.Origin == images.FromBake }))
		return withBaked([]*place{e.storePlace()}, rest, baked), err
	}
	if l.Origin == images.FromRegistry {
		return e.remote, nil
	}
	lost, err := e.lost(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(lost) > 0 {
		if _, err := e.build(ctx, pinnedOf(l, lost)); err != nil {
			return nil, err
		}
	}
	return store.NewOrigin(e.store, images.FromSource), nil
}

// pinnedOf returns what the lock says of the named recipes and of those whose
// images they hold, in the order they are built in.
func pinnedOf(l lock.Lock, names []string) source.Pinned {
	var pinned source.Pinned
	var add func(name string)
	add = func(name string) {
		r, ok := l.Recipe(name)
		if _, have := pinned.Image(name); !ok || have {
			return
		}
		for _, layer := range r.Layers {
			for _, in := range layer {
				if in.Kind == source.KindImage {
					add(in.Name)
				}
			}
		}
		image := source.PinnedImage{Name: name, Recipe: r.Digest, Layers: r.Layers}
		for _, i := range append(slices.Clone(l.Images), l.Node.Image) {
			if i.Recipe == name {
				image.Digest, image.StandsFor = i.Digest, i.StandsFor
			}
		}
		for _, held := range l.Node.Holds {
			if held.Recipe == name {
				image.Digest = held.Digest
			}
		}
		pinned.Images = append(pinned.Images, image)
	}
	for _, name := range names {
		add(name)
	}
	return pinned
}

// nodeArchive is the lock's node image, ready to be loaded.
func (e *Engine) nodeArchive(ctx context.Context, l lock.Lock) (docker.Archive, error) {
	origin, err := e.origin(ctx, l, []lock.Image{l.Node.Image})
	if err != nil {
		return docker.Archive{}, err
	}
	return archive.Of(ctx, origin, l.Node.Image.Ref(), e.sink)
}

// registryRecipe is the recipe of the local registry's own image: this program.
const registryRecipe = "registry"

// registryImage is the local registry's image, made from the program that runs.
func (e *Engine) registryImage(ctx context.Context) (docker.Archive, error) {
	pinned, err := e.builder.Pin(ctx, []string{registryRecipe}, source.Pinned{})
	if err != nil {
		return docker.Archive{}, err
	}
	built, err := e.builder.Build(ctx, pinned)
	if err != nil {
		return docker.Archive{}, err
	}
	return archive.Of(ctx, store.NewOrigin(e.store, images.FromSource), built[len(built)-1].Ref, e.sink)
}
