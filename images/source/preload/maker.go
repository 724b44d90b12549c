package preload

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
)

// Maker makes layers of kind preload. Its inputs are images that the Builder
// has built before: of kind image, named as source.Maker says.
type Maker struct {
	origin images.Origin
}

var (
	_ source.Maker     = (*Maker)(nil)
	_ source.Versioned = (*Maker)(nil)
)

// New returns a maker whose images' bytes come from origin.
func New(origin images.Origin) *Maker { return &Maker{origin: origin} }

// Version is that of the form in which containerd's folder is written.
func (m *Maker) Version() string { return "1" }

// Pin has nothing to pin: the Builder knows the images.
func (m *Maker) Pin(_ context.Context, _ source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	return before, nil
}

// Fetch has nothing to fetch: the images were built.
func (m *Maker) Fetch(context.Context, source.LayerSpec, []recipe.Input) error { return nil }

// Tree lays the images out.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (*layer.Tree, error) {
	var list []Image
	for _, in := range inputs {
		digest, err := v1.NewHash(in.Hash)
		if in.Kind != "image" || err != nil {
			return nil, fmt.Errorf("%s: input %s of kind %q with hash %q is no image that was built", spec.Recipe, in.Name, in.Kind, in.Hash)
		}
		list = append(list, Image{Name: in.Version, Ref: images.Ref{Repository: images.SourceHost + "/" + in.Name, Digest: digest}})
	}
	return Tree(ctx, m.origin, list)
}
