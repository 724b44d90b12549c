package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// sourcePlatform is what images are built for.
const sourcePlatform = "linux/amd64"

// pin resolves every input of what is built from source: the node image, and
// what the stack wants. It builds nothing.
func (l *locker) pin(ctx context.Context, platforms []string, all []wanted) (names []string, pinned source.Pinned, err error) {
	if err := buildable(platforms, all); err != nil {
		return nil, pinned, err
	}
	names = []string{nodeRecipe}
	for _, w := range all {
		if !slices.Contains(names, w.recipe) {
			names = append(names, w.recipe)
		}
	}
	before, err := l.kept(all)
	if err != nil {
		return nil, pinned, err
	}
	pinned, err = l.builder.Pin(ctx, names, before)
	return names, pinned, err
}

// fromSource pins and builds every image and enters it into the lock.
func (l *locker) fromSource(ctx context.Context, next *lock.Lock, all []wanted) error {
	names, pinned, err := l.pin(ctx, next.Platforms, all)
	if err != nil {
		return err
	}
	if next.GoToolchain, err = l.toolchain(names); err != nil {
		return err
	}
	if l.options.Check {
		return l.assume(next, pinned, all)
	}
	built, err := l.build(ctx, pinned)
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
	next.Node.Holds = holds(node.Layers, func(recipe string) (digest, config v1.Hash) {
		return byName[recipe].Ref.Digest, byName[recipe].Config
	})
	return nil
}

// build has every pinned image in the store. What it will fetch, build and take
// is said, and held against what there is, before it starts.
func (e *Engine) build(ctx context.Context, pinned source.Pinned) ([]source.Image, error) {
	will, err := e.builder.Plan(ctx, pinned)
	if err != nil {
		return nil, err
	}
	if len(will.Layers) > 0 {
		progress.Say(e.sink, e.toBuild(will, pinned))
	}
	if err := e.roomToBuild(will); err != nil {
		return nil, err
	}
	return e.builder.Build(ctx, pinned)
}

// toBuild says what a build will do, and what the machine has for it.
func (e *Engine) toBuild(will source.Plan, pinned source.Pinned) string {
	return fmt.Sprintf("to be built: %d layers of %d images, %d of them by Go; to be fetched: %s and Go modules; it takes up to %s of memory and about %s of disk, %s and %s are free",
		len(will.Layers), len(pinned.Images), will.GoBuilds, size(will.Download), size(will.Memory), size(will.Disk),
		known(availableMemory()), known(e.world.Disk(e.dirs.Cache).everybody))
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
// changed keeps its old digest here; what it is made of tells. What is written
// beside digests is the catalog's.
func (l *locker) assume(next *lock.Lock, pinned source.Pinned, all []wanted) error {
	for _, p := range pinned.Images {
		layers := p.Layers
		if old, ok := l.old.Recipe(p.Name); ok {
			layers = withHashes(layers, old.Layers)
		}
		next.Recipes = append(next.Recipes, lock.Recipe{Name: p.Name, Digest: p.Recipe, Layers: layers})
	}
	next.Node = l.assumedNode(pinned)
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
		i.StandsFor, i.References = standsFor(w.recipe, "", all), referencesTo(w.recipe, all)
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

// assumedNode is the node image with what its recipe says of it now: what it
// stands for, and which images it holds under which names.
func (l *locker) assumedNode(pinned source.Pinned) lock.Node {
	node := l.old.Node
	now, _ := pinned.Image(nodeRecipe)
	node.Image.StandsFor = now.StandsFor
	node.Holds = holds(now.Layers, func(recipe string) (digest, config v1.Hash) {
		at := slices.IndexFunc(l.old.Node.Holds, func(h lock.Held) bool { return h.Recipe == recipe })
		if at < 0 {
			return digest, config
		}
		return l.old.Node.Holds[at].Digest, l.old.Node.Holds[at].Config
	})
	return node
}

// holds are the images in a node image's layers, of which built tells what
// each recipe came to.
func holds(layers [][]recipe.Input, built func(recipe string) (digest, config v1.Hash)) []lock.Held {
	var all []lock.Held
	for _, layer := range layers {
		for _, in := range layer {
			if in.Kind == source.KindImage {
				digest, config := built(in.Name)
				all = append(all, lock.Held{Name: in.Version, Digest: digest, Config: config, Recipe: in.Name})
			}
		}
	}
	return all
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
	return lock.Image{
		Repository: i.Ref.Repository, Digest: i.Ref.Digest, MediaType: string(i.MediaType), Size: i.Size,
		Origin: images.FromSource, StandsFor: standsFor(i.Name, i.StandsFor, all), Recipe: i.Name,
		Platforms:  []lock.Child{{Platform: sourcePlatform, Digest: i.Ref.Digest, Size: i.Size}},
		References: referencesTo(i.Name, all),
	}
}

// standsFor is the published image that a recipe's takes the place of: the one
// that the stack names, or else what the recipe says.
func standsFor(recipe, says string, all []wanted) string {
	for _, w := range all {
		if w.recipe == recipe {
			says = w.published
		}
	}
	return says
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
