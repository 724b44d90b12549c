package imageref

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Reference is one image named at one place.
type Reference struct {
	Image  string // as it is written there
	Object string // "Deployment kubeflow/training-operator"
	Path   string // "spec.template.spec.containers[0].args[2]"; behind # where in a text
	How    string // "image", "arg --image", "env IMAGE", "configMapKey config path executor.image", "field …", "name and tag", "reads like an image"
}

// String says where, how and what, for errors.
func (r Reference) String() string {
	return fmt.Sprintf("%s: %s (%s)", r.Object, r.Path, r.How)
}

// place is a Reference that can be written to: the bytes from start to end of
// the string that path leads to.
type place struct {
	object     int
	path       []any // string for a key, int for an index
	sub        string
	start, end int
	image      string
	how        string
	role       role
	text       string // of a part: what is written there
	// inText is the rule whose path leads to the place inside a YAML or JSON
	// text, for the check after it was replaced; nil elsewhere.
	inText *Rule
}

func (p place) reference(objects []*unstructured.Unstructured) Reference {
	path := render(p.path)
	if p.sub != "" {
		path += "#" + p.sub
	}
	return Reference{Image: p.image, Object: nameOf(objects[p.object]), Path: path, How: p.how}
}

// leaf identifies the string that the place is in.
func (p place) leaf() string { return strconv.Itoa(p.object) + " " + render(p.path) }

func (p place) overlaps(o place) bool { return p.start < o.end && o.start < p.end }

func nameOf(o *unstructured.Unstructured) string {
	name := o.GetName()
	if ns := o.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return o.GetKind() + " " + name
}

// render writes a path as people write them.
func render(path []any) string {
	var b strings.Builder
	for _, s := range path {
		switch s := s.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", s)
		case string:
			switch {
			case strings.ContainsAny(s, ".[]\" "):
				fmt.Fprintf(&b, "[%q]", s)
			case b.Len() == 0:
				b.WriteString(s)
			default:
				b.WriteString("." + s)
			}
		}
	}
	return b.String()
}

// join returns path with more behind it, in memory of its own.
func join(path []any, more ...any) []any {
	return append(append(make([]any, 0, len(path)+len(more)), path...), more...)
}

// get returns the string that path leads to.
func get(object map[string]any, path []any) (string, bool) {
	var at any = object
	for _, s := range path {
		switch s := s.(type) {
		case string:
			m, ok := at.(map[string]any)
			if !ok {
				return "", false
			}
			at = m[s]
		case int:
			l, ok := at.([]any)
			if !ok || s >= len(l) {
				return "", false
			}
			at = l[s]
		}
	}
	text, ok := at.(string)
	return text, ok
}

// set puts value where path leads; the path was found in the same object.
func set(object map[string]any, path []any, value string) {
	var at any = object
	for i, s := range path {
		last := i == len(path)-1
		switch s := s.(type) {
		case string:
			m, ok := at.(map[string]any)
			if !ok {
				return
			}
			if last {
				m[s] = value
			}
			at = m[s]
		case int:
			l, ok := at.([]any)
			if !ok || s >= len(l) {
				return
			}
			if last {
				l[s] = value
			}
			at = l[s]
		}
	}
}

// visit calls f for everything below node, in a fixed order, until f returns
// false for a branch.
func visit(node any, path []any, f func(path []any, node any) bool) {
	if !f(path, node) {
		return
	}
	switch n := node.(type) {
	case map[string]any:
		for _, k := range sortedKeys(n) {
			visit(n[k], join(path, k), f)
		}
	case []any:
		for i, v := range n {
			visit(v, join(path, i), f)
		}
	}
}
