package source

import (
	"context"

	"github.com/kfdev/kfdev/images/recipe"
)

// Plan says what a Build would do.
type Plan struct {
	Layers []PlannedLayer // to be made
	// Download is what is to be fetched, bytes, as far as sizes are known: Go
	// modules come without one.
	Download int64
	// GoBuilds is how many of the layers are built by Go, one after another.
	GoBuilds int
	// Memory is what building takes at most at once, bytes.
	Memory int64
	// Disk is about what is written, bytes: inputs and layers, and for Go what
	// the user's module and build caches grow by when they are empty.
	Disk int64
}

// What a layer adds to disks, estimated and on the high side: one
// made of packages is about as large as they are, and Go keeps a lot.
const (
	diskGo     = 900 << 20
	diskOther  = 1 << 20
	copiesKept = 2 // of an input's bytes: itself, and in the layer
)

// PlannedLayer is a layer that is to be made.
type PlannedLayer struct {
	Recipe   string
	Kind     recipe.LayerKind
	Inputs   int   // all that it is made of
	Missing  int   // of those, to be fetched, as far as the store tells
	Download int64 // bytes
}

// Plan says what Build would do, and changes nothing.
func (b *Builder) Plan(ctx context.Context, pinned Pinned) (Plan, error) {
	there := b.there(ctx, pinned)
	recipes, err := b.match(pinned, there)
	if err != nil {
		return Plan{}, err
	}
	list, err := b.todo(ctx, pinned, recipes, there)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	var others int64
	for _, t := range list {
		plan.Layers = append(plan.Layers, PlannedLayer{
			Recipe: t.part.Recipe, Kind: t.part.Layer.Kind(), Inputs: len(t.inputs), Missing: t.missing, Download: t.bytes,
		})
		plan.Download += t.bytes
		plan.Disk += diskOther + copiesKept*t.bytes
		if t.part.Layer.Go != nil {
			plan.GoBuilds++
			plan.Disk += diskGo
		} else {
			others += memoryOther
		}
	}
	if plan.GoBuilds > 0 {
		plan.Memory = memoryGo
	}
	plan.Memory = min(plan.Memory+others, b.Host.budget())
	return plan, nil
}

// Listed is one recipe of the catalog.
type Listed struct {
	Name      string
	StandsFor string // the published image it takes the place of
	Note      string
	// Pinned is true where its inputs are known; only then can be told whether
	// it is built.
	Pinned bool
	Image  *Image // nil where it is not built
}

// List says of every recipe of the catalog whether its image is built.
func (b *Builder) List(ctx context.Context, pinned Pinned) ([]Listed, error) {
	names, err := recipe.List(b.Catalog)
	if err != nil {
		return nil, err
	}
	built, err := b.Built(ctx, pinned)
	if err != nil {
		return nil, err
	}
	list := make([]Listed, 0, len(names))
	for _, name := range names {
		r, err := recipe.Load(b.Catalog, name)
		if err != nil {
			return nil, err
		}
		one := Listed{Name: name, StandsFor: r.Recipe.StandsFor, Note: r.Recipe.Note}
		_, one.Pinned = pinned.Image(name)
		if image, ok := built[name]; ok {
			one.Image = &image
		}
		list = append(list, one)
	}
	return list, nil
}

// Built returns the pinned images that are in the store, by name. It builds
// nothing.
func (b *Builder) Built(ctx context.Context, pinned Pinned) (map[string]Image, error) {
	found := b.there(ctx, pinned)
	known := map[string]string{}
	for _, p := range pinned.Images {
		if image, ok := found[p.Name]; ok {
			known[p.Name] = image.Digest.String()
			continue
		}
		image, err := recipe.Load(b.Catalog, p.Name)
		if err != nil {
			return nil, err
		}
		layers, whole := fill(p.Layers, known)
		if !whole || image.Digest != p.Recipe || len(layers) != len(image.Parts) {
			continue
		}
		keys, err := b.keys(image, layers)
		if err != nil {
			return nil, err
		}
		if built, ok := b.reuse(ctx, imageKey(image, keys), p.Name); ok {
			p.Layers, p.Digest = layers, built.Digest
			built.PinnedImage, built.Reused = p, true
			found[p.Name], known[p.Name] = built, built.Digest.String()
		}
	}
	return found, nil
}
