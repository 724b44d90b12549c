package imageref

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// container is a container found by its shape.
type container struct {
	path   []any
	name   string
	fields map[string]any
}

// inLists and alone are the keys under which containers lie: pod templates,
// wherever a custom resource holds one, and Argo's templates.
func inLists(key string) bool {
	switch key {
	case "containers", "initContainers", "ephemeralContainers", "sidecars":
		return true
	}
	return false
}

func alone(key string) bool {
	switch key {
	case "container", "script", "sidecar":
		return true
	}
	return false
}

// containersOf returns every container of an object. The schemas of a
// CustomResourceDefinition describe containers and hold none.
func containersOf(o *unstructured.Unstructured) []container {
	if o.GetKind() == "CustomResourceDefinition" {
		return nil
	}
	var found []container
	seen := map[string]bool{}
	add := func(path []any, node any) {
		fields, ok := node.(map[string]any)
		if !ok || seen[render(path)] {
			return
		}
		seen[render(path)] = true
		name, _ := fields["name"].(string)
		found = append(found, container{path: path, name: name, fields: fields})
	}
	visit(o.Object, nil, func(path []any, node any) bool {
		if skipped(path) {
			return false
		}
		fields, ok := node.(map[string]any)
		if !ok {
			return true
		}
		if isContainer(fields) {
			add(path, node)
		}
		for _, k := range sortedKeys(fields) {
			if list, ok := fields[k].([]any); ok && inLists(k) {
				for i, c := range list {
					add(join(path, k, i), c)
				}
			}
			if alone(k) {
				add(join(path, k), fields[k])
			}
		}
		return true
	})
	return found
}

// isContainer knows a container where no key says that it is one.
func isContainer(fields map[string]any) bool {
	if image, ok := fields["image"].(string); !ok || image == "" {
		return false
	}
	for _, k := range []string{"command", "args", "env", "envFrom", "ports", "resources", "volumeMounts", "imagePullPolicy"} {
		if _, ok := fields[k]; ok {
			return true
		}
	}
	return false
}

// skipped reports whether path leads to what nobody runs: what the server
// keeps, and what says nothing but who wrote it.
func skipped(path []any) bool {
	if len(path) == 0 {
		return false
	}
	if path[0] == "status" {
		return true
	}
	last, _ := path[len(path)-1].(string)
	return last == "managedFields" || last == "kubectl.kubernetes.io/last-applied-configuration"
}

// findContainers finds the images of containers, and of image volumes.
func (f *finder) findContainers(object int, o *unstructured.Unstructured) {
	for _, c := range containersOf(o) {
		if _, inParts := partsOf(func(key string) string { text, _ := c.fields[key].(string); return text }, ""); inParts {
			continue // a custom resource's, in the shape of a container
		}
		f.addWhole(object, join(c.path, "image"), "image")
	}
	if o.GetKind() == "CustomResourceDefinition" {
		return
	}
	visit(o.Object, nil, func(path []any, node any) bool {
		fields, ok := node.(map[string]any)
		if volume, isVolume := fields["image"].(map[string]any); ok && isVolume && volume["reference"] != nil {
			f.addWhole(object, join(path, "image", "reference"), "image volume")
		}
		return !skipped(path)
	})
}

// addWhole adds the whole string at path. What is empty, or made from a
// template's parameters when it runs, names no image there.
func (f *finder) addWhole(object int, path []any, how string) bool {
	text, ok := textAt(f.objects[object], path)
	if !ok || strings.TrimSpace(text) == "" || strings.Contains(text, "{{") {
		return false
	}
	start, end := trimmed(text)
	return f.add(place{object: object, path: path, start: start, end: end, image: text[start:end], how: how})
}

// trimmed returns where text without the space around it starts and ends.
func trimmed(text string) (int, int) {
	start := len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	return start, max(start, len(strings.TrimRight(text, " \t\r\n")))
}
