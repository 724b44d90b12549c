package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/stack/imageref"
	"github.com/kfdev/kfdev/stack/render"
)

// Rendered is what one environment gets, and the proof that it differs from the
// others in nothing but what is declared.
type Rendered struct {
	Project     string              `json:"project"`
	Environment string              `json:"environment"`
	Lock        string              `json:"lock"`       // digest
	Components  []RenderedComponent `json:"components"` // each after what it requires
	// Differences are the places that the project's entries were put into.
	Differences []RenderedDifference `json:"differences"`
}

// RenderedComponent is one component as an environment gets it.
type RenderedComponent struct {
	Name    string                       `json:"name"`
	Version string                       `json:"version"`
	Hash    string                       `json:"hash"` // of the objects
	Objects []*unstructured.Unstructured `json:"objects"`
}

// RenderedDifference is one place that an entry was put into.
type RenderedDifference struct {
	Entry   string `json:"entry"`
	Path    string `json:"path"`
	Present bool   `json:"present"`
	Value   any    `json:"value,omitempty"`
}

// Render returns what an environment gets. It reads the project and nothing
// else: no clock, no cluster, no registry. Where two environments differ in
// anything that is not declared, the error is a fault of kind Drift that names
// every place.
func (e *Engine) Render(ctx context.Context, environment string) (Rendered, error) {
	s, err := e.settled(ctx)
	if err != nil {
		return Rendered{}, err
	}
	if environment != project.DevName {
		if _, ok := e.file.Environments.Others[environment]; !ok {
			return Rendered{}, e.file.NoEnvironment(environment)
		}
	}
	all, err := e.renderAll(s)
	if err != nil {
		return Rendered{}, err
	}
	one := all[environment]
	r := Rendered{
		Project: e.file.Metadata.Name, Environment: environment, Lock: s.digest.String(),
		Components: []RenderedComponent{}, Differences: []RenderedDifference{},
	}
	for _, p := range one.parts {
		r.Components = append(r.Components, RenderedComponent{Name: p.Name, Version: p.Version, Hash: p.hash, Objects: p.rendered.Objects})
	}
	for _, u := range one.used {
		r.Differences = append(r.Differences, RenderedDifference{Entry: u.Entry, Path: u.Path.String(), Present: u.Present, Value: u.Value})
	}
	return r, nil
}

// environmentRender is the stack as one environment gets it.
type environmentRender struct {
	parts []part // objects, hash and refs are the environment's
	// objects are those of all parts, a namespace that several share once.
	objects []*unstructured.Unstructured
	used    difference.Used
	images  *difference.Relocated // nil where the lock's own names are pulled
}

// renderAll renders every environment of the project, and proves for every pair
// of them that what differs is declared.
func (e *Engine) renderAll(s settled) (map[string]environmentRender, error) {
	if err := secretless(s.base); err != nil {
		return nil, err
	}
	all := map[string]environmentRender{}
	prover := difference.Prover{Entries: e.entries(), Images: map[string]difference.Relocated{}}
	objects := map[string][]*unstructured.Unstructured{}
	for _, name := range e.file.Environments.Order() {
		one, err := e.renderFor(s, name)
		if err != nil {
			return nil, err
		}
		all[name], objects[name] = one, one.objects
		if one.images != nil {
			prover.Images[name] = *one.images
		}
	}
	proof, err := prover.Prove(objects)
	if err == nil {
		err = difference.Err(proof.Findings)
	}
	return all, err
}

// renderFor renders one environment: the images from where it pulls them, then
// the values that its entries give it.
func (e *Engine) renderFor(s settled, name string) (environmentRender, error) {
	var r environmentRender
	var err error
	if r.images, err = e.relocation(s, name); err != nil {
		return r, err
	}
	var base []*unstructured.Unstructured
	owner := map[difference.ObjectRef]int{}
	for i, p := range s.base {
		if r.images != nil {
			if p, err = relocated(p, r.images.Relocation); err != nil {
				return r, err
			}
		}
		own := p.rendered.Objects
		p.rendered.Objects = nil
		for _, o := range own {
			ref := difference.RefOf(o)
			if _, shared := owner[ref]; shared {
				// Entries are put into the first one's; the others say of the namespace
				// only what is theirs.
				p.rendered.Objects = append(p.rendered.Objects, o)
				continue
			}
			owner[ref] = i
			base = append(base, o)
		}
		r.parts = append(r.parts, p)
	}
	if r.objects, r.used, err = difference.Render(base, e.entries(), name); err != nil {
		return r, e.placed(err)
	}
	for _, o := range r.objects {
		p := &r.parts[owner[difference.RefOf(o)]]
		p.rendered.Objects = append(p.rendered.Objects, o)
	}
	for i := range r.parts {
		p := &r.parts[i]
		render.Order(p.rendered.Objects)
		if p.hash, err = render.Hash(p.rendered.Objects); err != nil {
			return r, err
		}
		if r.images == nil {
			continue
		}
		found, err := imageref.Find(p.rendered.Objects, present(p.Rules, p.rendered.Objects))
		if err != nil {
			return r, err
		}
		r.images.Found = append(r.images.Found, found...)
	}
	return r, nil
}

// relocation is where an environment pulls the lock's images from; nil where
// it has no registry of its own.
func (e *Engine) relocation(s settled, environment string) (*difference.Relocated, error) {
	prefix := e.file.Environments.Others[environment].Registry.Pull
	if prefix == "" {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	var repositories []string
	for _, i := range s.lock.Images {
		repositories = append(repositories, i.Repository)
	}
	r, err := difference.NewRelocation(prefix, repositories)
	if err != nil {
		return nil, err
	}
	return &difference.Relocated{Relocation: r}, nil
}

// relocated is a part whose images come from an environment's registry.
func relocated(p part, to difference.Relocation) (part, error) {
	objects, err := to.Apply(p.rendered.Objects, p.Rules)
	if err != nil {
		return p, err
	}
	p.rendered.Objects = objects
	refs := make(map[string]images.Ref, len(p.refs))
	for name, ref := range p.refs {
		there, ok := to.Ref(ref)
		if !ok {
			return p, &fault.Error{Op: "relocating an image", Subject: ref.String(), Err: fmt.Errorf("the lock has no such repository")}
		}
		refs[name] = there
	}
	p.refs = refs
	return p, nil
}

// present are the rules whose object is there: an entry may have taken one out.
func present(rules []imageref.Rule, objects []*unstructured.Unstructured) []imageref.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r imageref.Rule) bool {
		return !slices.ContainsFunc(objects, r.Of)
	})
}

// placed names the places of entries in kfdev.yaml that an error is about.
func (e *Engine) placed(err error) error {
	all := []error{err}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all = several.Unwrap()
	}
	var problems strictyaml.Problems
	for _, each := range all {
		var f *fault.Error
		if !errors.As(each, &f) {
			return err
		}
		at := []any{"differences"}
		for i, entry := range e.file.Differences {
			if rest, ok := strings.CutPrefix(f.Subject, "difference "+entry.ID); ok && (rest == "" || rest[0] == ':') {
				at = append(at, i)
				break
			}
		}
		text := each.Error()
		for _, hint := range fault.Hint(each) {
			text += ": " + hint
		}
		problems = append(problems, e.file.Problem(text, at...))
	}
	return e.file.Fault(problems)
}

// secretless refuses Secrets with values among what is rendered: that is
// written into releases, plans and logs.
func secretless(parts []part) error {
	var named []error
	for _, p := range parts {
		for _, o := range p.rendered.Objects {
			if o.GetKind() != "Secret" || o.GetAPIVersion() != "v1" {
				continue
			}
			for _, field := range []string{"data", "stringData"} {
				if values, _, _ := unstructured.NestedMap(o.Object, field); len(values) > 0 {
					named = append(named, fmt.Errorf("%s: Secret %s/%s has values in %s", p.Name, o.GetNamespace(), o.GetName(), field))
				}
			}
		}
	}
	if len(named) == 0 {
		return nil
	}
	return &fault.Error{
		Op: "rendering the stack", Kind: fault.Usage, Err: errors.Join(named...),
		Hint: "keep no Secret's values in manifests: let the component's `secrets:` make them in the cluster, or name a Secret that is there",
	}
}
