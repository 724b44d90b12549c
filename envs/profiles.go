package envs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/imageref"
	"github.com/kfdev/kfdev/stack/render"
)

// Names of what the project's profiles are a part by, and of the component
// whose controller serves them.
const (
	profilesPart      = project.ProfilesName
	profileController = "profile-controller"
	// pauseImage is what that component calls an image whose container does
	// nothing: the proof of profiles asks for pods with it.
	pauseImage = "pause"
)

// profilesOf is the part of the stack that is the project's profiles; false
// where it has none. Parts are all others.
func (e *Engine) profilesOf(file *project.File, parts []part) (part, bool, error) {
	if len(file.Profiles) == 0 {
		return part{}, false, nil
	}
	at := slices.IndexFunc(parts, func(p part) bool { return p.Name == profileController })
	if at < 0 {
		return part{}, false, file.Fault(strictyaml.Problems{file.Problem(
			"profiles are served by the component "+profileController+", which the stack does not have: add it under stack.components", "profiles")})
	}
	p := part{Component: stack.Component{
		APIVersion: stack.APIVersion, Kind: stack.Kind, Name: profilesPart, Version: parts[at].Version, Title: "the project's profiles", Requires: []string{profileController}, Smoke: "profiles",
	}}
	for _, i := range parts[at].Images {
		if i.Name == pauseImage {
			i.Use = stack.InSmoke
			p.Images = append(p.Images, i)
		}
	}
	h := sha256.New()
	var problems strictyaml.Problems
	for i, each := range file.Profiles {
		objects, read, wrong := profileObjects(file, i, parts)
		problems = append(problems, wrong...)
		text, err := json.Marshal(each)
		if err != nil {
			return p, false, err
		}
		fmt.Fprintf(h, "%d:%s%d:%s", len(text), text, len(read), read)
		p.rendered.Objects = append(p.rendered.Objects, objects...)
		for n, image := range each.Images {
			p.references = append(p.references, imageref.Reference{Image: image, Object: "profile " + each.Name, Path: fmt.Sprintf("images[%d]", n), How: "profile"})
		}
	}
	if err := file.Fault(problems); err != nil {
		return p, false, err
	}
	p.rendered.SourceHash = "sha256:" + hex.EncodeToString(h.Sum(nil))
	p.rendered.Component = p.Component
	render.Order(p.rendered.Objects)
	found, err := imageref.Find(p.rendered.Objects, p.Rules)
	p.references = append(p.references, found...)
	p.Images = append(p.Images, teamImages(p.references, parts)...)
	return p, true, err
}

// teamImages are the images that teams run. One that a component has too comes
// from the same recipe.
func teamImages(references []imageref.Reference, parts []part) []stack.Image {
	var all []stack.Image
	seen := map[string]bool{}
	for _, r := range references {
		name, err := fullName(r.Image)
		if err != nil || seen[name] {
			continue // wantedBy says what is wrong with it
		}
		seen[name] = true
		i := stack.Image{Name: fmt.Sprintf("image-%d", len(all)+1), Published: name}
		for _, p := range parts {
			if recipe := recipeOf(p.Component, name); recipe != "" {
				i.Recipe = recipe
			}
		}
		all = append(all, i)
	}
	return all
}

// profileObjects returns a profile's objects, and the bytes of its files.
func profileObjects(file *project.File, i int, parts []part) (objects []*unstructured.Unstructured, read []byte, problems strictyaml.Problems) {
	p := file.Profiles[i]
	for _, other := range parts {
		if slices.Contains(namespacesOf([]part{other}), p.Name) {
			problems = append(problems, file.Problem(fmt.Sprintf("the component %s has the namespace %s: a team needs another", other.Name, p.Name), "profiles", i, "name"))
		}
	}
	objects = profiles.Objects(p)
	of := map[string]bool{}
	for _, o := range objects {
		of[o.GroupVersionKind().GroupKind().String()+" "+o.GetName()] = true
	}
	for n, pattern := range p.Objects {
		at := []any{"profiles", i, "objects", n}
		files, err := filesOf(file.Dir, pattern)
		if err != nil {
			problems = append(problems, file.Problem(err.Error(), at...))
		}
		for _, f := range files {
			read = fmt.Appendf(read, "%d:%s%d:%s", len(f.name), f.name, len(f.data), f.data)
			more, err := profiles.Decode(f.data, p.Name)
			if err != nil {
				problems = append(problems, file.Problem(f.name+": "+err.Error(), at...))
			}
			for _, o := range more {
				key := o.GroupVersionKind().GroupKind().String() + " " + o.GetName()
				if of[key] {
					problems = append(problems, file.Problem(fmt.Sprintf("%s: %s %s comes twice", f.name, o.GetKind(), o.GetName()), at...))
					continue
				}
				of[key] = true
				objects = append(objects, o)
			}
		}
	}
	return objects, read, problems
}

type namedFile struct {
	name string
	data []byte
}

// filesOf reads the files of the project that a pattern names; none is an error.
func filesOf(dir, pattern string) ([]namedFile, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // nothing was written
	names, err := fs.Glob(root.FS(), pattern)
	if err == nil && len(names) == 0 {
		err = errors.New("there is no such file in the project")
	}
	var files []namedFile
	for _, name := range names {
		data, readErr := root.ReadFile(name)
		err = errors.Join(err, readErr)
		files = append(files, namedFile{name, data})
	}
	return files, err
}

// ownerOf leads to whom a team's namespace says it belongs to.
func ownerOf(team string) fieldpath.Path {
	return fieldpath.Path{Kind: "Namespace", Name: team, Fields: []fieldpath.Step{
		{Kind: fieldpath.Key, Key: "metadata"}, {Kind: fieldpath.Key, Key: "annotations"}, {Kind: fieldpath.Key, Key: profiles.OwnerAnnotation},
	}}
}

// entries are the project's differences with what follows from them: whom a
// namespace belongs to is what its profile says.
func (e *Engine) entries() []difference.Entry {
	if len(e.file.Profiles) == 0 {
		return e.file.Differences
	}
	all := slices.Clone(e.file.Differences)
	for i, entry := range all {
		for _, p := range entry.Paths {
			if p.Field() != "spec/owner/name" {
				continue
			}
			for _, team := range e.file.Profiles {
				if p.Selects(profiles.Group, "Profile", "", team.Name) {
					all[i].Paths = append(slices.Clip(all[i].Paths), ownerOf(team.Name))
				}
			}
		}
	}
	return all
}

// follows reports whether a place that differs only follows from another, under
// whose entry it counts.
func (e *Engine) follows(f difference.Finding) bool {
	return f.Allowed && slices.ContainsFunc(e.file.Profiles, func(team profiles.Profile) bool { return f.Path.String() == ownerOf(team.Name).String() })
}

// setOf is the part as a set of this environment: with its pull secret, and
// with the namespaces that are to go.
func (p *promotion) setOf(ctx context.Context, each part, authorities [][]byte) (apply.Set, error) {
	set, err := setOf(each, authorities)
	if name := p.pullSecret(); name != "" {
		set.Objects = withPullSecret(set.Objects, name)
	}
	if err == nil {
		set.Delete, err = p.leaving(ctx, set)
	}
	return set, err
}
