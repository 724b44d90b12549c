package envs

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/distribution/reference"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
)

// wanted is one image that the stack needs, and where.
type wanted struct {
	published  string // fully qualified, with its tag
	recipe     string
	components []string
	references []lock.Reference
}

// wantedBy gathers the images of all components: those that manifests name,
// and those that only a smoke test runs.
func wantedBy(parts []part) ([]wanted, error) {
	byName := map[string]*wanted{}
	add := func(p part, published, recipe string, ref lock.Reference) {
		w := byName[published]
		if w == nil {
			w = &wanted{published: published, recipe: recipe}
			byName[published] = w
		}
		if !slices.Contains(w.components, p.Name) {
			w.components = append(w.components, p.Name)
		}
		w.recipe = max(w.recipe, recipe)
		w.references = append(w.references, ref)
	}
	var errs []error
	for _, p := range parts {
		for _, r := range p.references {
			name, err := fullName(r.Image)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", p.Name, r, err))
				continue
			}
			add(p, name, recipeOf(p.Component, name), lock.Reference{Component: p.Name, Object: r.Object, Path: r.Path, How: r.How})
		}
		for _, i := range p.Images {
			if i.Use == stack.InSmoke {
				add(p, i.Published, i.Recipe, lock.Reference{Component: p.Name, Object: "smoke test " + p.Smoke, Path: i.Name, How: "smoke"})
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &fault.Error{Op: "reading image names", Kind: fault.Usage, Err: err}
	}
	var all []wanted
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, *byName[name])
	}
	return all, nil
}

// fullName writes an image's name as Docker completes it.
func fullName(image string) (string, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return "", fmt.Errorf("%q: %w", image, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

func recipeOf(c stack.Component, published string) string {
	for _, i := range c.Images {
		if i.Published == published {
			return i.Recipe
		}
	}
	return ""
}

// repositoryOf is a full name without its tag and digest.
func repositoryOf(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name // the registry's client says what is wrong with it
	}
	return reference.TrimNamed(named).Name()
}
