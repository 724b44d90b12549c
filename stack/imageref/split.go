package imageref

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/images"
)

// how places of an image are told whose name and tag have a field each.
const inParts = "name and tag"

// role is which part of an image's name stands at a place.
type role int

const (
	whole        role = iota
	registryPart      // the registry's host
	pathPart          // the repository without it
	namePart          // the repository with it
	tagPart
)

// with is what stands at the place once the image is ref. A tag keeps its text
// and has the digest behind it: joined by a colon, as its reader does, that is
// name:tag@digest, and every runtime takes such a name by its digest alone.
func (p place) with(ref images.Ref) string {
	host, path, ok := strings.Cut(ref.Repository, "/")
	if !ok {
		host, path = "docker.io", ref.Repository
	}
	switch p.role {
	case registryPart:
		return host
	case pathPart:
		return path
	case namePart:
		return ref.Repository
	case tagPart:
		tag, _, _ := strings.Cut(p.text, "@")
		return tag + "@" + ref.Digest.String()
	default:
		return ref.String()
	}
}

// parts are the keys of a mapping that together name an image.
type parts struct {
	registry, name, tag string // registry is empty where the name has it
	base                string // the repository as it is written, registry and name joined
	image               string
}

// partsOf knows a mapping that names an image in parts. Value returns what
// stands under a key; under is the key that the mapping itself stands under.
func partsOf(value func(key string) string, under string) (parts, bool) {
	var p parts
	p.tag = first(value, "tag", "imageTag", "image_tag")
	names := []string{"repository", "imageRepository", "image_repository", "imageName", "image_name", "image"}
	if strings.HasSuffix(strings.ToLower(under), "image") {
		names = append(names, "name")
	}
	p.name = first(value, names...)
	if p.tag == "" || p.name == "" {
		return p, false
	}
	p.base = value(p.name)
	if p.registry = first(value, "registry", "imageRegistry", "image_registry"); p.registry != "" {
		p.base = strings.TrimSuffix(value(p.registry), "/") + "/" + p.base
	}
	tag, digest, pinned := strings.Cut(value(p.tag), "@")
	p.image = p.base + ":" + tag
	if pinned { // by us: the tag says nothing any more
		p.image = p.base + "@" + digest
	}
	named, err := reference.ParseNormalizedNamed(p.base)
	if err != nil || !reference.IsNameOnly(named) {
		return p, false
	}
	_, err = reference.WithTag(reference.TrimNamed(named), tag)
	if err == nil {
		_, err = reference.ParseNormalizedNamed(p.image)
	}
	return p, err == nil
}

// first returns the first key that has a value.
func first(value func(string) string, keys ...string) string {
	for _, k := range keys {
		if value(k) != "" {
			return k
		}
	}
	return ""
}

// findParts finds images whose name and tag have a field each, in the object
// and in texts of it that are YAML or JSON. A tag that is a number there is an
// error: nobody knows any more whether 1.1 was 1.10 when it was written.
func (f *finder) findParts(object int, o *unstructured.Unstructured, ignored map[string]bool) (errs []error) {
	isDefinition := o.GetKind() == "CustomResourceDefinition"
	visit(o.Object, nil, func(path []any, node any) bool {
		if skipped(path) || beside(o, path) || describes(path) {
			return false
		}
		if isDefinition && !inDefault(path) {
			return true
		}
		switch node := node.(type) {
		case map[string]any:
			if key, image, is := numberedTag(node, under(path)); is && !ignored[image] {
				errs = append(errs, fmt.Errorf("%s: %s: the tag of %s is a number: put it in quotes", nameOf(o), render(join(path, key)), image))
			}
			f.addParts(under(path), ignored, func(key string) (place, bool) {
				text, ok := textAt(o, join(path, key))
				start, end := trimmed(text)
				return place{object: object, path: join(path, key), start: start, end: end, text: text[start:end]}, ok
			})
		case string:
			if text, ok := textAt(o, path); ok && strings.Contains(strings.ToLower(text), "tag") {
				f.findPartsInText(place{object: object, path: path}, text, ignored)
			}
		}
		return true
	})
	return errs
}

// numberedTag reports whether a mapping names an image in parts and its tag is
// a number.
func numberedTag(node map[string]any, under string) (key, image string, is bool) {
	p, ok := partsOf(func(key string) string {
		switch v := node[key].(type) {
		case string:
			return v
		case int64, float64:
			return fmt.Sprint(v)
		}
		return ""
	}, under)
	if !ok {
		return "", "", false
	}
	_, named := node[p.name].(string)
	_, written := node[p.tag].(string)
	return p.tag, p.base, named && !written
}

// describes reports whether path leads to what says something about an object.
func describes(path []any) bool {
	switch under(path) {
	case "annotations", "labels", "matchLabels", "nodeSelector":
		return true
	}
	return false
}

func inDefault(path []any) bool {
	for _, step := range path {
		if step == "default" {
			return true
		}
	}
	return false
}

// under is the key that a path ends with; an item of a list has its list's.
func under(path []any) string {
	for i := len(path) - 1; i >= 0; i-- {
		if key, ok := path[i].(string); ok {
			return key
		}
	}
	return ""
}

// findPartsInText looks at every mapping of a text of YAML documents. A text
// that is none is the generic finder's.
func (f *finder) findPartsInText(at place, text string, ignored map[string]bool) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var roots []*yaml.Node
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return
		}
		roots = append(roots, doc.Content...)
	}
	var walk func(n *yaml.Node, path []any)
	walk = func(n *yaml.Node, path []any) {
		switch n.Kind {
		case yaml.MappingNode:
			fields := map[string]*yaml.Node{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				fields[n.Content[i].Value] = n.Content[i+1]
			}
			f.addParts(under(path), ignored, func(key string) (place, bool) { return at.inside(text, fields[key], join(path, key)) })
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], join(path, n.Content[i].Value))
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				walk(item, join(path, i))
			}
		case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
		}
	}
	for _, root := range roots {
		walk(root, nil)
	}
}

// inside is the place of a scalar in the text at p.
func (p place) inside(text string, node *yaml.Node, path []any) (place, bool) {
	if node == nil || node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		return p, false
	}
	s, err := scalar(text, node)
	p.sub, p.start, p.end, p.text = render(path), s.start, s.end, s.value
	return p, err == nil && s.value != ""
}

// addParts adds the parts of an image, where the mapping whose values field
// returns names one, and where no other finder has any of them.
func (f *finder) addParts(under string, ignored map[string]bool, field func(key string) (place, bool)) {
	p, ok := partsOf(func(key string) string {
		at, ok := field(key)
		if !ok || strings.Contains(at.text, "{{") {
			return ""
		}
		return at.text
	}, under)
	if !ok || ignored[p.image] || ignored[p.base] {
		return
	}
	keys := map[role]string{namePart: p.name, tagPart: p.tag}
	if p.registry != "" {
		keys = map[role]string{registryPart: p.registry, pathPart: p.name, tagPart: p.tag}
	}
	places := make([]place, 0, len(keys))
	for role, key := range keys {
		at, _ := field(key)
		at.role, at.image, at.how = role, p.image, inParts
		if overlapsAny(f.byLeaf[at.leaf()], at) {
			return
		}
		places = append(places, at)
	}
	for _, at := range places {
		f.add(at)
	}
}
