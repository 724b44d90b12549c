package difference

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/stack/imageref"
)

// Relocation is where an environment pulls images from: every repository of
// the lock has one of its own below a prefix, and digests stay what they are.
type Relocation struct {
	prefix string
	to     map[string]string // repository of the lock → of the environment
	from   map[string]string
}

// maxRepository is how long a repository's name may be.
// Source: OCI distribution specification; Docker counts the host in.
const maxRepository = 255

// NewRelocation maps repositories to prefix/HOST/PATH. A port's colon, which
// no path may have, becomes __, which no host may have, so that no two
// repositories become one.
func NewRelocation(prefix string, repositories []string) (Relocation, error) {
	r := Relocation{prefix: strings.TrimSuffix(prefix, "/"), to: map[string]string{}, from: map[string]string{}}
	if r.prefix == "" || strings.ContainsAny(r.prefix, "@ ") || strings.Contains(r.prefix, "://") {
		return r, fmt.Errorf("%q is no registry to pull from: write HOST[:PORT][/PATH]", prefix)
	}
	for _, repository := range repositories {
		host, path, ok := strings.Cut(repository, "/")
		if !ok || host == "" || path == "" || strings.ContainsAny(path, ":@") {
			return r, fmt.Errorf("%q is no repository with its registry's host", repository)
		}
		name := r.prefix + "/" + strings.ToLower(strings.ReplaceAll(host, ":", "__")) + "/" + path
		if len(name) > maxRepository {
			return r, fmt.Errorf("%s would be called %s, which has %d characters: at most %d are taken", repository, name, len(name), maxRepository)
		}
		if other, taken := r.from[name]; taken && other != repository {
			return r, fmt.Errorf("%s and %s would both be called %s", other, repository, name)
		}
		r.to[repository], r.from[name] = name, repository
	}
	return r, nil
}

// Ref returns the image where the environment pulls it from.
func (r Relocation) Ref(ref images.Ref) (images.Ref, bool) {
	to, ok := r.to[ref.Repository]
	return images.Ref{Repository: to, Digest: ref.Digest}, ok
}

// Original returns the image as the lock names it.
func (r Relocation) Original(ref images.Ref) (images.Ref, bool) {
	from, ok := r.from[ref.Repository]
	return images.Ref{Repository: from, Digest: ref.Digest}, ok
}

// Apply returns the objects with every image that imageref finds from the
// environment's registry, in memory of their own. The objects are pinned
// already.
func (r Relocation) Apply(objects []*unstructured.Unstructured, rules []imageref.Rule) ([]*unstructured.Unstructured, error) {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = o.DeepCopy()
	}
	found, err := imageref.Find(out, rules)
	if err != nil {
		return nil, err
	}
	refs := map[string]images.Ref{}
	for _, f := range found {
		ref, err := images.ParseRef(f.Image)
		if err != nil {
			return nil, fmt.Errorf("%s: the image is not pinned: %w", f, err)
		}
		to, ok := r.Ref(ref)
		if !ok {
			return nil, fmt.Errorf("%s: %s is not in the lock", f, f.Image)
		}
		refs[f.Image] = to
	}
	return out, imageref.Pin(out, refs, rules)
}

// Relocated are the places of images in the render of an environment, as
// imageref finds them there.
type Relocated struct {
	Relocation Relocation
	Found      []imageref.Reference
}

// Foreign returns an error that names every place of the objects with an image
// from another registry than the environment's: those that imageref found, and
// every text that has an image of the lock by its own name. Nil is the proof
// that none is left.
func (r Relocated) Foreign(objects []*unstructured.Unstructured) error {
	var errs []error
	for _, f := range r.Found {
		ref, err := images.ParseRef(f.Image)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		if _, ok := r.Relocation.Original(ref); !ok {
			errs = append(errs, fmt.Errorf("%s: %s is foreign: images come from %s", f, f.Image, r.Relocation.prefix))
		}
	}
	for _, o := range objects {
		foreignTexts(o.Object, "", func(path, text string) {
			for _, repository := range slices.Sorted(maps.Keys(r.Relocation.to)) {
				if names(text, repository) {
					errs = append(errs, fmt.Errorf("%s: %s: %s is foreign: images come from %s", RefOf(o), path, repository, r.Relocation.prefix))
				}
			}
		})
	}
	return errors.Join(errs...)
}

// names reports whether a text has the repository, by digest and by its own
// name: not as the end of a longer one.
func names(text, repository string) bool {
	needle := repository + "@sha256:"
	for from := 0; ; {
		i := strings.Index(text[from:], needle)
		if i < 0 {
			return false
		}
		if at := from + i; at == 0 || !inName(text[at-1]) {
			return true
		}
		from += i + len(needle)
	}
}

func inName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-/:@", c) >= 0
}

// undo returns the objects with every image that was found by the lock's name.
func (r Relocated) undo(objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if err := r.Foreign(objects); err != nil {
		return nil, err
	}
	places := map[string][]imageref.Reference{} // by object
	for _, f := range r.Found {
		places[f.Object] = append(places[f.Object], f)
	}
	out := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = o
		mine := places[foundIn(o)]
		if len(mine) == 0 {
			continue
		}
		out[i] = o.DeepCopy()
		out[i].Object, _ = eachText(out[i].Object, "", func(path, text string) string {
			for _, f := range mine {
				if f.Path == path || strings.HasPrefix(f.Path, path+"#") {
					text = r.original(text, f.Image)
				}
			}
			return text
		}).(map[string]any)
	}
	return out, nil
}

// original returns a text with one image by the lock's name.
func (r Relocated) original(text, image string) string {
	ref, err := images.ParseRef(image)
	if err != nil {
		return text
	}
	from, ok := r.Relocation.Original(ref)
	if !ok {
		return text
	}
	return strings.ReplaceAll(text, image, from.String())
}

// foundIn writes an object as imageref does.
func foundIn(o *unstructured.Unstructured) string {
	if ns := o.GetNamespace(); ns != "" {
		return o.GetKind() + " " + ns + "/" + o.GetName()
	}
	return o.GetKind() + " " + o.GetName()
}

// eachText returns node with every text replaced by what f makes of it; paths
// are written as imageref writes them.
func eachText(node any, path string, f func(path, text string) string) any {
	switch n := node.(type) {
	case string:
		return f(path, n)
	case []any:
		for i := range n {
			n[i] = eachText(n[i], fmt.Sprintf("%s[%d]", path, i), f)
		}
	case map[string]any:
		for k := range n {
			n[k] = eachText(n[k], below(path, k), f)
		}
	}
	return node
}

// foreignTexts visits every text that has a digest, and changes nothing.
func foreignTexts(node any, path string, visit func(path, text string)) {
	switch n := node.(type) {
	case string:
		if strings.Contains(n, "@sha256:") {
			visit(path, n)
		}
	case []any:
		for i := range n {
			foreignTexts(n[i], fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(n)) {
			foreignTexts(n[k], below(path, k), visit)
		}
	}
}

func below(path, key string) string {
	switch {
	case strings.ContainsAny(key, ".[]\" "):
		return path + fmt.Sprintf("[%q]", key)
	case path == "":
		return key
	}
	return path + "." + key
}

// builtIn counts the places whose image differs between two environments in
// nothing but its registry.
func (p Prover) builtIn(a, b string) int {
	in := func(environment string) map[string]string {
		out := map[string]string{}
		for _, f := range p.Images[environment].Found {
			out[f.Object+" "+f.Path] = f.Image
		}
		return out
	}
	placesA, placesB := in(a), in(b)
	n := 0
	for place, image := range placesA {
		if other, ok := placesB[place]; !ok || other != image {
			n++
		}
	}
	for place := range placesB {
		if _, ok := placesA[place]; !ok {
			n++
		}
	}
	return n
}
