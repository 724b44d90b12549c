package envs

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/imageref"
	"github.com/kfdev/kfdev/stack/render"
)

// part is one component of a project's stack: what it is, what it renders to
// with the project's values, and every place in it that names an image.
type part struct {
	stack.Component
	folder     string // of the project; empty for one of the catalog
	rendered   render.Rendered
	references []imageref.Reference
	// refs are its images by the names that the component has for them; empty
	// before they are pinned.
	refs map[string]images.Ref
	hash string // of the objects with every image by digest; empty before
	// beside are all parts that are brought in together; see together.
	beside []apply.Set
}

// together has each of the parts know all of them, so that what moves from one
// to another is taken over, and not deleted and made anew.
func together(parts []part) []part {
	sets := besides(parts)
	for n := range parts {
		parts[n].beside = sets
	}
	return parts
}

// besides are the parts by what they have, as sets.
func besides(parts []part) []apply.Set {
	sets := make([]apply.Set, len(parts))
	for n, p := range parts {
		sets[n] = apply.Set{Name: p.Name, Namespace: p.Namespace, Objects: p.rendered.Objects}
	}
	return sets
}

// stackOf returns the components of a project, rendered, in an order in which
// each comes after what it requires.
func (e *Engine) stackOf(file *project.File) ([]part, error) {
	if err := catalog.Complete(e.catalog); err != nil {
		return nil, err
	}
	chosen, err := e.chosen(file)
	if err != nil {
		return nil, err
	}
	components := make([]stack.Component, 0, len(chosen))
	for _, p := range chosen {
		components = append(components, p.Component)
	}
	waves, err := stack.Waves(components)
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, wave := range waves {
		for _, c := range wave {
			i := slices.IndexFunc(chosen, func(p part) bool { return p.Name == c.Name })
			p, err := e.renderPart(file, chosen[i])
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
	}
	teams, ok, err := e.profilesOf(file, parts)
	if ok {
		parts = append(parts, teams)
	}
	return parts, err
}

// chosen returns the preset's components with what the project adds, changes
// and takes out.
func (e *Engine) chosen(file *project.File) ([]part, error) {
	known, err := catalog.Names(e.catalog)
	if err != nil {
		return nil, err
	}
	if err := file.CheckComponents(known); err != nil {
		return nil, err
	}
	preset, err := stack.PresetByName(file.Stack.Preset)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(preset.Components)
	for _, name := range file.Components() {
		switch at := slices.Index(names, name); {
		case !file.Stack.Components[name].On():
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		case at < 0:
			names = append(names, name)
		}
	}
	parts := make([]part, 0, len(names))
	for _, name := range names {
		p := part{folder: file.Stack.Components[name].Folder}
		p.Component, err = e.component(file, name, p.folder)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (e *Engine) component(file *project.File, name, folder string) (stack.Component, error) {
	if folder == "" {
		return catalog.Component(e.catalog, name)
	}
	root, err := os.OpenRoot(file.Dir)
	if err != nil {
		return stack.Component{}, &fault.Error{Op: "reading a component", Subject: name, Err: err}
	}
	c, err := stack.Load(root.FS(), folder)
	if err != nil {
		return c, err
	}
	c.Name = name
	return c, nil
}

// renderPart renders p with the project's values and finds its images.
func (e *Engine) renderPart(file *project.File, p part) (part, error) {
	values := map[string]string{}
	var problems strictyaml.Problems
	for name, value := range file.Stack.Components[p.Name].Values {
		at := []any{"stack", "components", p.Name, "values", name}
		i := slices.IndexFunc(p.Values, func(v stack.Value) bool { return v.Name == name })
		if i < 0 {
			problems = append(problems, file.Problem(unknownValue(p.Component, name), at...))
			continue
		}
		if err := p.Values[i].Check(string(value)); err != nil {
			problems = append(problems, file.Problem(err.Error(), at...))
		}
		values[name] = string(value)
	}
	if err := file.Fault(problems); err != nil {
		return p, err
	}
	var err error
	if p.rendered, err = render.Render(p.Component, values, e.renders); err != nil {
		return p, err
	}
	if p.references, err = imageref.Find(p.rendered.Objects, p.Rules); err != nil {
		return p, &fault.Error{Op: "finding the images of a component", Subject: p.Name, Kind: fault.Usage, Err: err}
	}
	return p, nil
}

func unknownValue(c stack.Component, name string) string {
	var names []string
	for _, v := range c.Values {
		names = append(names, v.Name)
	}
	if near := strictyaml.Nearest(name, names); near != "" {
		return fmt.Sprintf("%s has no value %q: did you mean %q?", c.Name, name, near)
	}
	if len(names) == 0 {
		return fmt.Sprintf("%s takes no values", c.Name)
	}
	return fmt.Sprintf("%s has no value %q; it has %s", c.Name, name, strings.Join(names, ", "))
}
