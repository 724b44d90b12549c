package envs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// theNode is the node image, as names to be updated are held against it.
func theNode() wanted { return wanted{published: publishedNode, recipe: nodeRecipe} }

// checkNames refuses names to be updated that nothing has.
func (l *locker) checkNames(all []wanted) error {
	recipes, err := recipe.List(l.recipes)
	if err != nil {
		return err
	}
	var names []string
	for _, w := range all {
		names = append(names, w.recipe, w.published)
		names = append(names, w.components...)
	}
	for _, name := range l.options.Update {
		if slices.Contains(recipes, name) || theNode().is(name) || slices.ContainsFunc(all, func(w wanted) bool { return w.is(name) }) {
			continue
		}
		hint := "a name is a component, a recipe, a repository or a published image"
		if near := strictyaml.Nearest(name, append(names, recipes...)); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		return &fault.Error{Op: "updating the lock", Subject: name, Kind: fault.Usage, Hint: hint, Err: errors.New("nothing in the stack is called so")}
	}
	return nil
}

// kept are the pins of the old lock that do not move. A layer moves where the
// recipe that it is written in was named, in every image that has it: what
// images share stays shared.
func (l *locker) kept(all []wanted) (source.Pinned, error) {
	var before source.Pinned
	if l.options.UpdateAll {
		return before, nil
	}
	moved, err := l.moved(all)
	if err != nil {
		return before, err
	}
	for _, r := range l.old.Recipes {
		image, err := recipe.Load(l.recipes, r.Name)
		if fault.KindOf(err) == fault.NotFound {
			continue // of another kfdev's catalog
		}
		if err != nil {
			return before, err
		}
		layers := slices.Clone(r.Layers)
		for i, part := range image.Parts {
			if i < len(layers) && moved[part.Recipe] {
				layers[i] = nil
			}
		}
		before.Images = append(before.Images, source.PinnedImage{Name: r.Name, Recipe: r.Digest, Layers: layers})
	}
	return before, nil
}

// moved are the recipes that were named to be updated, by whichever name.
func (l *locker) moved(all []wanted) (map[string]bool, error) {
	moved := map[string]bool{}
	for _, w := range append(slices.Clone(all), theNode()) {
		if l.moves(w) {
			moved[w.recipe] = true
		}
	}
	known, err := recipe.List(l.recipes)
	if err != nil {
		return nil, err
	}
	for _, name := range l.options.Update {
		if slices.Contains(known, name) {
			moved[name] = true
		}
	}
	return moved, nil
}

// moves reports whether an image was named to be updated.
func (l *locker) moves(w wanted) bool {
	if l.options.UpdateAll {
		return true
	}
	return slices.ContainsFunc(l.options.Update, w.is)
}

// is reports whether a person means the image by the name.
func (w wanted) is(name string) bool {
	return name == w.recipe || name == w.published || name == source.Repository(w.recipe) ||
		slices.Contains(w.components, name) || strings.HasPrefix(w.published, name+":")
}
