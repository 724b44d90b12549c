package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
)

// The kinds of the records that the builder keeps in the store.
const (
	layerRecords = "layer"
	imageRecords = "image"
)

// digestOf names values that JSON can hold; title keeps apart what is named for
// different ends.
func digestOf(title string, values ...any) v1.Hash {
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, "kfdev", title)
	e := json.NewEncoder(sum)
	for _, v := range values {
		_ = e.Encode(v) // hashes, texts and numbers alone; they always encode
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
}

// layerKey names all that decides what a layer comes to.
func layerKey(m Maker, part recipe.Part, inputs []recipe.Input, below [][]recipe.Input) string {
	version := ""
	if v, ok := m.(Versioned); ok {
		version = v.Version()
	}
	if part.Layer.Debian == nil {
		below = nil // only Debian's layers may come out differently by them
	}
	return digestOf("layer", layer.Format, version, part.Digest, inputs, below).String()
}

// imageKey names all that decides what an image comes to.
func imageKey(image recipe.Image, layers []string) string {
	return digestOf("image", configFormat, image.Digest, layers).String()
}

// keys names what each layer of the image comes to.
func (b *Builder) keys(image recipe.Image, layers [][]recipe.Input) ([]string, error) {
	keys := make([]string, len(layers))
	for i, part := range image.Parts {
		m, err := b.maker(part)
		if err != nil {
			return nil, err
		}
		keys[i] = layerKey(m, part, layers[i], layers[:i:i])
	}
	return keys, nil
}
