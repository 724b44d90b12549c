// Package source builds images from recipes: inputs through each ecosystem's
// own client, assembly by kfdev alone, the same bytes on every machine.
package source

import (
	"context"
	"io/fs"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
)

// Maker makes the layers of one kind. Pin may use the network only for what
// the recipe's own locks do not hold (Debian); Fetch may; Tree never does.
type Maker interface {
	// Pin turns what the layer names into its exact inputs. Inputs that a lock
	// had before, when given, are taken again where they still satisfy the
	// layer, so that a lock does not move by itself.
	Pin(ctx context.Context, spec LayerSpec, before []recipe.Input) ([]recipe.Input, error)
	// Fetch has every input in the store, checked against its hash.
	Fetch(ctx context.Context, spec LayerSpec, inputs []recipe.Input) error
	// Tree assembles the layer from fetched inputs.
	Tree(ctx context.Context, spec LayerSpec, inputs []recipe.Input) (*layer.Tree, error)
}

// LayerSpec is a layer with the recipe folder that its file names point into.
type LayerSpec struct {
	Recipe string // the recipe's name, for errors and progress
	Layer  recipe.Layer
	Folder fs.FS
	// Below holds the inputs of the recipe's lower layers, lowest first.
	Below [][]recipe.Input
}
