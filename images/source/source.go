// Package source builds images from recipes: inputs through each ecosystem's
// own client, assembly by kfdev alone, the same bytes on every machine.
package source

import (
	"context"
	"io/fs"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
)

// Maker makes the layers of one kind. The inputs of a preload layer are not
// pinned by its maker but by the Builder, which alone knows what other recipes
// come to: Kind image, Name the recipe, Version the name that containerd is to
// have it under, Hash the manifest's digest in repository kfdev.internal/Name.
// Pin may use the network only for what
// the recipe's own locks do not hold (Debian); Fetch may; Tree never does.
type Maker interface {
	// Pin turns what the layer names into its exact inputs. Inputs that a lock
	// had before, when given, are taken again where they still satisfy the
	// layer, so that a lock does not move by itself.
	Pin(ctx context.Context, spec LayerSpec, before []recipe.Input) ([]recipe.Input, error)
	// Fetch has every input in the store, checked against its hash.
	Fetch(ctx context.Context, spec LayerSpec, inputs []recipe.Input) error
	// Tree assembles the layer from fetched inputs. The caller closes the tree.
	Tree(ctx context.Context, spec LayerSpec, inputs []recipe.Input) (*layer.Tree, error)
}

// Checker is a Maker that can say, before anything is started, that this
// machine cannot make a layer: a fault of kind Preflight.
type Checker interface {
	Check(ctx context.Context, spec LayerSpec) error
}

// Versioned is a Maker whose way of making a layer has a version. Layers made
// under another one are made again.
type Versioned interface {
	Version() string
}

// Isolated is a Maker that has caches of its own beyond inputs that are checked
// by hash. What it returns shares none of them and works below dir, so that a
// layer can be made twice from nothing and compared.
type Isolated interface {
	Isolated(dir string) Maker
}

// LayerSpec is a layer with the recipe folder that its file names point into.
type LayerSpec struct {
	Recipe string // the recipe's name, for errors and progress
	Layer  recipe.Layer
	Folder fs.FS
	// Below holds the inputs of the recipe's lower layers, lowest first. Pin may
	// use them; of the layers only Debian's may come out differently by them.
	Below [][]recipe.Input
}
