package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"gopkg.in/yaml.v3"
)

// digestLayer names a layer's content: what it says, in canonical form, and
// every file that it names, so that comments and folder names do not matter
// and a changed go.sum does.
func digestLayer(l Layer, folder fs.FS) (v1.Hash, error) {
	sum := sha256.New()
	if err := canonical(sum, "kfdev layer 1", l); err != nil {
		return v1.Hash{}, err
	}
	names, err := l.Named(folder)
	if err != nil {
		return v1.Hash{}, err
	}
	for _, name := range names {
		if err := digestFile(sum, folder, name); err != nil {
			return v1.Hash{}, err
		}
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, nil
}

// digestImage names what an image is made of. What is for people alone is left
// out.
func digestImage(image Image) v1.Hash {
	sum := sha256.New()
	// A Config holds nothing that could not be marshaled.
	_ = canonical(sum, "kfdev image 1", image.Recipe.Config)
	_, _ = fmt.Fprintln(sum, image.Recipe.Name)
	for _, p := range image.Parts {
		_, _ = fmt.Fprintln(sum, p.Digest)
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
}

// canonical writes value in YAML: map keys are sorted, and a field that has
// nothing in it leaves no trace, so that a field more in a later kfdev does not
// change the digest of recipes without it.
func canonical(w io.Writer, title string, value any) error {
	if _, err := fmt.Fprintln(w, title); err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	return errors.Join(e.Encode(value), e.Close())
}

func digestFile(sum hash.Hash, folder fs.FS, name string) error {
	content, err := fs.ReadFile(folder, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(sum, "%s %d %x\n", name, len(content), sha256.Sum256(content))
	return err
}
