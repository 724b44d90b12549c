package debian

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
)

// steps carries out the recipe's steps in order. One that would overwrite what
// is there, or removes what is not, is a mistake in the recipe.
func steps(tree *layer.Tree, spec source.LayerSpec) error {
	for i, step := range spec.Layer.Debian.Steps {
		if err := take(tree, spec.Folder, step); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func take(tree *layer.Tree, folder fs.FS, step recipe.File) error {
	absolute, ok := strings.CutPrefix(step.Path, "/")
	name, err := cleanPath(absolute)
	if err != nil || !ok || name == "." {
		return fmt.Errorf("path %q is not an absolute path", step.Path)
	}
	name = merge(name)
	if step.Remove {
		if _, ok := tree.Get(name); !ok {
			return fmt.Errorf("removes /%s, which is not there", name)
		}
		tree.Remove(name)
		return nil
	}
	entry, err := stepEntry(name, folder, step)
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	return tree.Add(entry)
}

func stepEntry(name string, folder fs.FS, step recipe.File) (layer.Entry, error) {
	if step.Link != "" {
		return layer.Entry{Path: name, Type: layer.Symlink, Mode: 0o777, Link: step.Link, UID: step.UID, GID: step.GID}, nil
	}
	content := []byte(step.Content)
	if step.From != "" {
		var err error
		if content, err = fs.ReadFile(folder, step.From); err != nil {
			return layer.Entry{}, err
		}
	}
	entry := fileEntry(name, content)
	if step.Dir {
		entry = layer.Entry{Path: name, Type: layer.Dir, Mode: 0o755}
	}
	var err error
	entry.Mode, err = step.FileMode()
	entry.UID, entry.GID = step.UID, step.GID
	return entry, err
}
