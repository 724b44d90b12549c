package source

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
)

// Inputs is where makers keep what they fetched. A hash is written as
// recipe.Input has it: sha256:<hex>, sha512-<base64>.
type Inputs interface {
	// Has reports whether the content is there.
	Has(ctx context.Context, hash string) (bool, error)
	// Open opens the content; the caller closes it.
	Open(ctx context.Context, hash string) (io.ReadSeekCloser, error)
	// Put takes in content; it fails, and keeps nothing, unless hash is its hash.
	Put(ctx context.Context, hash string, content io.Reader) error
}

// Missing returns the inputs of a kind that the store lacks, in their order.
func Missing(ctx context.Context, store Inputs, kind string, inputs []recipe.Input) ([]recipe.Input, error) {
	var missing []recipe.Input
	for _, input := range inputs {
		if input.Kind != kind {
			continue
		}
		there, err := store.Has(ctx, input.Hash)
		if err != nil {
			return nil, &fault.Error{Op: "looking into the store", Subject: input.Name, Err: err}
		}
		if !there {
			missing = append(missing, input)
		}
	}
	return missing, nil
}

// Keep takes a file that was fetched into the store, which checks its hash.
func Keep(ctx context.Context, store Inputs, hash, file string) error {
	content, err := os.Open(file) //nolint:gosec // a file of a maker's own folder
	if err != nil {
		return err
	}
	return errors.Join(store.Put(ctx, hash, content), content.Close())
}

// Scratch makes an empty folder below parent for one piece of work of the kind.
// The caller calls its second result at the end, which removes the folder.
func Scratch(parent, kind string) (folder string, remove func() error, err error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", nil, &fault.Error{Op: "making a folder for downloads", Err: err}
	}
	if folder, err = os.MkdirTemp(parent, kind+"-"); err != nil {
		return "", nil, &fault.Error{Op: "making a folder for downloads", Err: err}
	}
	return folder, func() error { return os.RemoveAll(folder) }, nil
}
