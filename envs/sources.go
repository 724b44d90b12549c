package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/archive"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// sourcePlatform is what images are built for.
const sourcePlatform = "linux/amd64"

// fromSource pins and builds every image and enters it into the lock.
func (l *locker) fromSource(ctx context.Context, next *lock.Lock, all []wanted) error {
	if err := buildable(next.Platforms, all); err != nil {
		return err
	}
	names := []string{nodeRecipe}
	for _, w := range all {
		if !slices.Contains(names, w.recipe) {
			names = append(names, w.recipe)
		}
	}
	before, err := l.kept(all)
	if err != nil {
		return err
	}
	pinned, err := l.builder.Pin(ctx, names, before)
	if err != nil {
		return err
	}
	if next.GoToolchain, err = l.toolchain(names); err != nil {
		return err
	}
	if l.options.Check {
		return l.assume(next, pinned, all)
	}
	if err := l.announceBuild(ctx, pinned); err != nil {
		return err
	}
	built, err := l.builder.Build(ctx, pinned)
	if err != nil {
		return err
	}
	byName := map[string]source.Image{}
	for _, i := range built {
		byName[i.Name] = i
		next.Recipes = append(next.Recipes, lock.Recipe{Name: i.Name, Digest: i.Recipe, Layers: i.Layers})
	}
	for _, name := range names[1:] {
		next.Images = append(next.Images, lockedSource(byName[name], all))
	}
	node := byName[nodeRecipe]
	next.Node = lock.Node{Image: lockedSource(node, nil), Config: node.Config, DiffIDs: node.DiffIDs}
	for _, layer := range node.Layers {
		for _, in := range layer {
			if in.Kind == source.KindImage {
				next.Node.Holds = append(next.Node.Holds, lock.Held{Name: in.Version, Digest: byName[in.Name].Ref.Digest, Config: byName[in.Name].Config, Recipe: in.Name})
			}
		}
	}
	return nil
}

// announceBuild says what a build will fetch, build and take, before it starts.
func (e *Engine) announceBuild(ctx context.Context, pinned source.Pinned) error {
	will, err := e.builder.Plan(ctx, pinned)
	if err != nil || len(will.Layers) == 0 {
		return err
	}
	progress.Say(e.sink, fmt.Sprintf("to be built: %d layers of %d images, %d of them by Go; to be fetched: %s and Go modules; it takes up to %s of memory and about %s of disk, %s and %s are free",
		len(will.Layers), len(pinned.Images), will.GoBuilds, size(will.Download), size(will.Memory), size(will.Disk),
		size(availableMemory()), size(freeDisk(e.dirs.Cache))))
	return nil
}

// buildable reports what cannot come from source, with every place that asks
// for it.
func buildable(platforms []string, all []wanted) error {
	var errs []error
	for _, w := range all {
		if w.recipe != "" {
			continue
		}
		places := make([]string, 0, len(w.references))
		for _, r := range w.references {
			places = append(places, fmt.Sprintf("    at %s %s (%s)", r.Object, r.Path, r.How))
		}
		errs = append(errs, fmt.Errorf("%s has no recipe\n%s", w.published, strings.Join(places, "\n")))
	}
	for _, platform := range platforms {
		if platform == sourcePlatform {
			continue
		}
		for _, w := range all {
			errs = append(errs, fmt.Errorf("%s has no child for %s: images are built from source for %s only", w.published, platform, sourcePlatform))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &fault.Error{
		Op: "locking images from source", Kind: fault.Preflight, Err: errors.Join(errs...),
		Hint: "where a registry is reached, `origin: registry` in kfdev.yaml takes the published images",
	}
}

// assume fills the lock as a build would, for a check that builds nothing: an
// image of which nothing has changed comes to the same digest. One that has
// changed keeps its old digest here; what it is made of tells.
func (l *locker) assume(next *lock.Lock, pinned source.Pinned, all []wanted) error {
	next.Node = l.old.Node
	for _, p := range pinned.Images {
		layers := p.Layers
		if old, ok := l.old.Recipe(p.Name); ok {
			layers = withHashes(layers, old.Layers)
		}
		next.Recipes = append(next.Recipes, lock.Recipe{Name: p.Name, Digest: p.Recipe, Layers: layers})
	}
	var added []string
	for _, w := range all {
		i, ok := l.old.Image(source.Repository(w.recipe))
		if !ok {
			added = append(added, w.published)
			continue
		}
		if slices.ContainsFunc(next.Images, func(have lock.Image) bool { return have.Repository == i.Repository }) {
			continue
		}
		i.References = referencesTo(w.recipe, all)
		next.Images = append(next.Images, i)
	}
	if len(added) > 0 {
		return &fault.Error{
			Op: "checking the lock", Subject: lock.FileName, Kind: fault.Drift, Hint: "run `kfdev lock`",
			Err: fmt.Errorf("it lacks %s", strings.Join(added, ", ")),
		}
	}
	return nil
}

// withHashes fills in the hashes of images that a build finds out.
func withHashes(layers, old [][]recipe.Input) [][]recipe.Input {
	known := map[string]string{}
	for _, layer := range old {
		for _, in := range layer {
			if in.Kind == source.KindImage {
				known[in.Name] = in.Hash
			}
		}
	}
	out := make([][]recipe.Input, len(layers))
	for i, layer := range layers {
		out[i] = slices.Clone(layer)
		for j, in := range out[i] {
			if in.Kind == source.KindImage && in.Hash == "" {
				out[i][j].Hash = known[in.Name]
			}
		}
	}
	return out
}

func lockedSource(i source.Image, all []wanted) lock.Image {
	locked := lock.Image{
		Repository: i.Ref.Repository, Digest: i.Ref.Digest, MediaType: string(i.MediaType), Size: i.Size,
		Origin: images.FromSource, StandsFor: i.StandsFor, Recipe: i.Name,
		Platforms:  []lock.Child{{Platform: sourcePlatform, Digest: i.Ref.Digest, Size: i.Size}},
		References: referencesTo(i.Name, all),
	}
	for _, w := range all {
		if w.recipe == i.Name {
			locked.StandsFor = w.published
		}
	}
	return locked
}

func referencesTo(recipe string, all []wanted) []lock.Reference {
	var refs []lock.Reference
	for _, w := range all {
		if w.recipe == recipe {
			refs = append(refs, w.references...)
		}
	}
	return refs
}

// toolchain is the Go toolchain that the recipes name.
func (l *locker) toolchain(names []string) (string, error) {
	for _, name := range names {
		image, err := recipe.Load(l.recipes, name)
		if err != nil {
			return "", err
		}
		for _, p := range image.Parts {
			if p.Layer.Go != nil {
				return p.Layer.Go.Toolchain, nil
			}
		}
	}
	return "", nil
}

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
	if l.Origin == images.FromRegistry {
		return e.remote, nil
	}
	lost, err := e.lost(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(lost) > 0 {
		if _, err := e.builder.Build(ctx, pinnedOf(l, lost)); err != nil {
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
