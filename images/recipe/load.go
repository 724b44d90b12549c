package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/internal/fault"
)

// Image is a recipe with all that it refers to read in: what an image is made
// of, lowest layer first.
type Image struct {
	Recipe Recipe
	Parts  []Part
	// Digest names what the image is made of, without the inputs: its run
	// configuration, its layers and every file they name.
	Digest v1.Hash
}

// Part is one layer of an image, and the recipe that it is written in.
type Part struct {
	Recipe string // the name of the recipe it is written in
	Index  int    // its place among that recipe's own layers
	Layer  Layer
	Folder fs.FS   // of that recipe
	Digest v1.Hash // of the layer and every file it names
}

// List returns the names of all recipes of a catalog, sorted: its folders that
// hold a recipe.yaml.
func List(catalog fs.FS) ([]string, error) {
	files, err := fs.Glob(catalog, "*/"+FileName)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = path.Dir(f)
	}
	return names, nil
}

// Load reads the recipe called name, those that it starts from and those whose
// layers it uses. A recipe that is not there is a fault of kind NotFound, one
// with mistakes a fault of kind Usage that holds all of them.
func Load(catalog fs.FS, name string) (Image, error) {
	l := loader{catalog: catalog}
	image, err := l.image(name, nil)
	if err != nil {
		return Image{}, err
	}
	image.Digest = digestImage(image)
	return image, nil
}

type loader struct {
	catalog fs.FS
}

// image loads one recipe; path holds the names that led to it, to see a circle.
func (l loader) image(name string, path []string) (Image, error) {
	if slices.Contains(path, name) {
		return Image{}, &fault.Error{Op: "reading the recipe", Subject: name, Kind: fault.Usage, Err: fmt.Errorf("it leads back to itself: %v", append(path, name))}
	}
	path = append(path[:len(path):len(path)], name)
	r, folder, err := l.read(name)
	if err != nil {
		return Image{}, err
	}
	image := Image{Recipe: r}
	if r.From != "" {
		base, err := l.image(r.From, path)
		if err != nil {
			return Image{}, fmt.Errorf("recipe %s starts from %s: %w", name, r.From, err)
		}
		image.Parts = append(image.Parts, base.Parts...)
	}
	own, err := l.own(r, folder, path)
	if err != nil {
		return Image{}, err
	}
	image.Parts = append(image.Parts, own...)
	return image, nil
}

// own returns the layers of the recipe itself.
func (l loader) own(r Recipe, folder fs.FS, path []string) ([]Part, error) {
	var parts []Part
	for i, each := range r.Layers {
		if each.Use == "" {
			digest, err := digestLayer(each, folder)
			if err != nil {
				return nil, &fault.Error{Op: "reading the recipe", Subject: r.Name, Err: err}
			}
			parts = append(parts, Part{Recipe: r.Name, Index: i, Layer: each, Folder: folder, Digest: digest})
			continue
		}
		if slices.Contains(path, each.Use) {
			return nil, &fault.Error{Op: "reading the recipe", Subject: r.Name, Kind: fault.Usage, Err: fmt.Errorf("it leads back to itself: %v", append(path, each.Use))}
		}
		used, usedFolder, err := l.read(each.Use)
		if err != nil {
			return nil, fmt.Errorf("recipe %s uses %s: %w", r.Name, each.Use, err)
		}
		more, err := l.own(used, usedFolder, append(path[:len(path):len(path)], each.Use))
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	return parts, nil
}

// read reads one recipe's own file.
func (l loader) read(name string) (Recipe, fs.FS, error) {
	fail := func(kind fault.Kind, err error) (Recipe, fs.FS, error) {
		return Recipe{}, nil, &fault.Error{Op: "reading the recipe", Subject: name, Kind: kind, Err: err}
	}
	if !namePattern.MatchString(name) {
		return fail(fault.Usage, fmt.Errorf("%q is not a name", name))
	}
	file := path.Join(name, FileName)
	raw, err := fs.ReadFile(l.catalog, file)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fault.NotFound, errors.New("there is no such recipe"))
	}
	if err != nil {
		return fail(fault.Failure, err)
	}
	folder, err := fs.Sub(l.catalog, name)
	if err != nil {
		return fail(fault.Failure, err)
	}
	r, err := Decode(file, raw, folder)
	if err != nil {
		return fail(fault.Usage, err)
	}
	if r.Name != name {
		return fail(fault.Usage, fmt.Errorf("%s: its name is %q; a recipe is called as its folder is", file, r.Name))
	}
	return r, folder, nil
}
