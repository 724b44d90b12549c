package source

import (
	"context"

	"github.com/kfdev/kfdev/images/recipe"
)

// check looks, before anything starts, whether this machine can make the
// layers that are not there yet.
func (b *Builder) check(ctx context.Context, pinned Pinned, recipes []recipe.Image, there map[string]Image) error {
	todo, err := b.todo(ctx, pinned, recipes, there)
	if err != nil {
		return err
	}
	for _, t := range todo {
		if err := b.Host.canBuild(t.part.Recipe); err != nil {
			return err
		}
		if t.missing > 0 {
			if err := b.Host.canFetch(t.part); err != nil {
				return err
			}
		}
		m, err := b.maker(t.part)
		if err != nil {
			return err
		}
		if c, ok := m.(Checker); ok {
			if err := c.Check(ctx, t.spec); err != nil {
				return err
			}
		}
	}
	return nil
}

// todo is a layer that is to be made.
type todo struct {
	part    recipe.Part
	spec    LayerSpec
	inputs  []recipe.Input
	missing int   // inputs that are to be fetched, as far as the store tells
	bytes   int64 // of those, where the size is known
}

// todo returns the layers that Build would make, each once. Layers that hold
// images are told by what is known before those images are built.
func (b *Builder) todo(ctx context.Context, pinned Pinned, recipes []recipe.Image, there map[string]Image) ([]todo, error) {
	var list []todo
	seen := map[string]bool{}
	known := map[string]string{} // digests of images that are there
	for i, p := range pinned.Images {
		if image, ok := there[p.Name]; ok {
			known[p.Name] = image.Digest.String()
			continue
		}
		image := recipes[i]
		layers, whole := fill(p.Layers, known)
		keys, err := b.keys(image, layers)
		if err != nil {
			return nil, err
		}
		if built, ok := b.reuse(ctx, imageKey(image, keys), p.Name); ok && whole {
			known[p.Name] = built.Digest.String()
			continue
		}
		for j, part := range image.Parts {
			if _, ok := b.stored(keys[j]); ok || seen[keys[j]] {
				continue
			}
			seen[keys[j]] = true
			t := todo{part: part, spec: spec(image, j, layers), inputs: layers[j]}
			if err := b.count(ctx, &t); err != nil {
				return nil, err
			}
			list = append(list, t)
		}
	}
	return list, nil
}

// fill returns the inputs with the digests of images that are known, and
// whether those are all.
func fill(layers [][]recipe.Input, known map[string]string) ([][]recipe.Input, bool) {
	filled, whole := make([][]recipe.Input, len(layers)), true
	for i, inputs := range layers {
		filled[i] = append([]recipe.Input(nil), inputs...)
		for j, in := range filled[i] {
			if in.Kind == KindImage {
				digest, ok := known[in.Name]
				whole = whole && ok
				filled[i][j].Hash = digest
			}
		}
	}
	return filled, whole
}

// count counts what has to be fetched. What a Go module cache holds is the go
// command's to know, and an image is built, not fetched.
func (b *Builder) count(ctx context.Context, t *todo) error {
	switch t.part.Layer.Kind() {
	case recipe.KindDebian, recipe.KindWheels, recipe.KindNPM:
	default:
		return nil
	}
	for _, in := range t.inputs {
		there, err := b.Store.Has(ctx, in.Hash)
		if err != nil {
			return err
		}
		if !there {
			t.missing++
			t.bytes += in.Size
		}
	}
	return nil
}
