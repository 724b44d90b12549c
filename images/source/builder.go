package source

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Config is what a Builder works with.
type Config struct {
	Store   *store.Store
	Catalog fs.FS // a folder for every recipe
	Makers  map[recipe.LayerKind]Maker
	Sink    progress.Sink
	Scratch string // folder for what is built only to be compared
	Host    Host   // the machine it builds on; see ReadHost
}

// Builder builds the images of a catalog into a store. Its methods may be
// called from several goroutines.
type Builder struct {
	Config
}

// New returns a builder. Nothing is read or written yet.
func New(c Config) *Builder { return &Builder{Config: c} }

// Pin turns recipes into the exact inputs of their images, and of the images
// that those hold. Inputs of before are taken again where they still fit, so
// that nothing moves by itself; leave out of it what is to move.
func (b *Builder) Pin(ctx context.Context, names []string, before Pinned) (Pinned, error) {
	order, err := b.order(names)
	if err != nil {
		return Pinned{}, err
	}
	p := pinner{Builder: b, before: before.parts(order), done: map[string][]recipe.Input{}}
	task := progress.Start(b.Sink, "images/pin", "pinning what images are made of", int64(len(order)), progress.Items)
	var pinned Pinned
	for _, image := range order {
		one, err := p.image(ctx, image)
		if err != nil {
			task.Fail(err)
			return Pinned{}, err
		}
		pinned.Images = append(pinned.Images, one)
		task.Add(1)
	}
	task.Finish("")
	return pinned, nil
}

// order loads the named recipes and those whose images they hold, each after
// those it needs.
func (b *Builder) order(names []string) ([]recipe.Image, error) {
	var order []recipe.Image
	done := map[string]bool{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if slices.Contains(path, name) {
			return &fault.Error{
				Op: "reading the recipe", Subject: name, Kind: fault.Usage,
				Err: fmt.Errorf("its image would hold itself: %s", strings.Join(append(path, name), " → ")),
			}
		}
		if done[name] {
			return nil
		}
		image, err := recipe.Load(b.Catalog, name)
		if err != nil {
			return err
		}
		for _, inner := range preloads(image) {
			if err := visit(inner, append(path[:len(path):len(path)], name)); err != nil {
				return err
			}
		}
		done[name] = true
		order = append(order, image)
		return nil
	}
	for _, name := range names {
		if err := visit(name, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// preloads names the recipes whose images an image holds.
func preloads(image recipe.Image) []string {
	var names []string
	for _, p := range image.Parts {
		if p.Layer.Preload != nil {
			for _, i := range p.Layer.Preload.Images {
				names = append(names, i.Recipe)
			}
		}
	}
	return names
}

// spec returns what a maker is told of one layer of an image.
func spec(image recipe.Image, i int, layers [][]recipe.Input) LayerSpec {
	p := image.Parts[i]
	return LayerSpec{Recipe: p.Recipe, Layer: p.Layer, Folder: p.Folder, Below: layers[:i:i]}
}

// maker returns the maker of a layer's kind.
func (b *Builder) maker(p recipe.Part) (Maker, error) {
	m, ok := b.Makers[p.Layer.Kind()]
	if !ok {
		return nil, &fault.Error{Op: "building the image", Subject: p.Recipe, Err: fmt.Errorf("nothing here makes layers of kind %q", p.Layer.Kind())}
	}
	return m, nil
}

// pinner pins each layer once, whatever number of images have it.
type pinner struct {
	*Builder
	before map[string][]recipe.Input // by place in the catalog
	done   map[string][]recipe.Input // by what the layer is and lies on
}

func (p *pinner) image(ctx context.Context, image recipe.Image) (PinnedImage, error) {
	name := image.Recipe.Name
	pinned := PinnedImage{Name: name, Recipe: image.Digest, StandsFor: image.Recipe.StandsFor}
	for i, part := range image.Parts {
		inputs, err := p.layer(ctx, part, spec(image, i, pinned.Layers))
		if err != nil {
			return PinnedImage{}, err
		}
		pinned.Layers = append(pinned.Layers, inputs)
	}
	return pinned, nil
}

func (p *pinner) layer(ctx context.Context, part recipe.Part, spec LayerSpec) ([]recipe.Input, error) {
	if part.Layer.Preload != nil {
		return holds(part.Layer.Preload), nil
	}
	key := digestOf("pin", part.Digest, spec.Below).String()
	if inputs, ok := p.done[key]; ok {
		return inputs, nil
	}
	if err := p.Host.canBuild(part.Recipe); err != nil {
		return nil, err
	}
	m, err := p.maker(part)
	if err != nil {
		return nil, err
	}
	inputs, err := m.Pin(ctx, spec, p.before[place(part)])
	if err != nil {
		return nil, err
	}
	p.done[key] = inputs
	return inputs, nil
}

// holds returns the inputs of a preload layer, not yet built.
func holds(p *recipe.Preload) []recipe.Input {
	var inputs []recipe.Input
	for _, i := range p.Images {
		inputs = append(inputs, recipe.Input{Kind: KindImage, Name: i.Recipe, Version: i.Name})
	}
	return inputs
}

// place names where in the catalog a layer is written.
func place(p recipe.Part) string { return fmt.Sprintf("%s/%d", p.Recipe, p.Index) }

// parts returns the inputs of every layer by its place in the catalog, as far
// as the recipes still have as many layers. A layer without inputs says nothing:
// another image may have the same layer with them.
func (p Pinned) parts(order []recipe.Image) map[string][]recipe.Input {
	found := map[string][]recipe.Input{}
	for _, image := range order {
		before, ok := p.Image(image.Recipe.Name)
		if !ok || len(before.Layers) != len(image.Parts) {
			continue
		}
		for i, part := range image.Parts {
			if len(before.Layers[i]) > 0 {
				found[place(part)] = before.Layers[i]
			}
		}
	}
	return found
}
