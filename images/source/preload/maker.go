package preload

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
)

// Maker makes layers of kind preload from images that are in origin. It
// implements source.Maker.
type Maker struct {
	origin images.Origin
}

// New returns a maker over the store that the images were built into.
func New(origin images.Origin) *Maker { return &Maker{origin: origin} }

// Pin is the Builder's for this kind, since it alone knows what other recipes
// come to; what it had pinned before is returned.
func (m *Maker) Pin(_ context.Context, _ source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	return before, nil
}

// Fetch makes sure that the images are there: the Builder builds them first.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) error {
	list, err := listOf(spec, inputs)
	if err != nil {
		return err
	}
	for _, i := range list {
		if _, err := m.origin.Manifest(ctx, i.Ref); err != nil {
			return fmt.Errorf("preloading %s: %w", i.Name, err)
		}
	}
	return nil
}

// Tree lays the images out as containerd keeps them.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (*layer.Tree, error) {
	list, err := listOf(spec, inputs)
	if err != nil {
		return nil, err
	}
	return Tree(ctx, m.origin, list)
}

// listOf turns the inputs of a layer into the images that it holds.
func listOf(spec source.LayerSpec, inputs []recipe.Input) ([]Image, error) {
	list := make([]Image, 0, len(inputs))
	for _, in := range inputs {
		digest, err := v1.NewHash(in.Hash)
		if in.Kind != source.KindImage || err != nil {
			return nil, &fault.Error{
				Op: "preloading images", Subject: spec.Recipe,
				Err: fmt.Errorf("the input %s %s is not an image by digest: %q", in.Kind, in.Name, in.Hash),
			}
		}
		list = append(list, Image{Name: in.Version, Ref: images.Ref{Repository: source.Repository(in.Name), Digest: digest}})
	}
	return list, nil
}
