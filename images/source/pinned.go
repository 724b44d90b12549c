package source

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
)

// KindImage is the kind of the inputs that are images of other recipes.
const KindImage = "image"

// Pinned is all that a set of images is made of, exactly: the images asked for
// and those that they hold, each after those it needs.
type Pinned struct {
	Images []PinnedImage
	// Derived are images in the store that were made from others, not from
	// recipes. They are not built; Keep keeps what the store has of them.
	Derived []images.Ref
}

// Image returns the image of the named recipe.
func (p Pinned) Image(name string) (PinnedImage, bool) {
	for _, i := range p.Images {
		if i.Name == name {
			return i, true
		}
	}
	return PinnedImage{}, false
}

// PinnedImage is what one image is made of.
type PinnedImage struct {
	Name string // of the recipe
	// Recipe is the digest of the recipe and the files it names.
	Recipe v1.Hash
	// StandsFor is the published image, with its tag, that this one takes the
	// place of; empty where there is none.
	StandsFor string
	// Layers are the inputs of each layer, lowest first, those of the recipe it
	// starts from included. The hash of an input of kind image is empty until
	// that image was built.
	Layers [][]recipe.Input
	// Digest is what an earlier build of the same came to, the zero hash where
	// it is not known. A build that comes to something else fails.
	Digest v1.Hash
}

// Image is an image that was built.
type Image struct {
	PinnedImage // with every input's hash and the digest filled in

	Ref       images.Ref // kfdev.internal/NAME by Digest
	MediaType types.MediaType
	Size      int64   // of config and layers, as they travel, bytes
	Config    v1.Hash // digest of the configuration: the image's ID for Docker
	DiffIDs   []v1.Hash
	// Reused is true where nothing had to be built.
	Reused bool
}

// Repository returns the repository of images built from the named recipe.
func Repository(name string) string { return images.SourceHost + "/" + name }
