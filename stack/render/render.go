// Package render turns a component's folder into Kubernetes objects: its
// values are put in, its kustomization is built in memory. It is pure: the same
// folder and values give the same objects in the same order, and nothing is
// read from a network or from outside the folder's file system.
package render

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json" // numbers as Kubernetes' objects have them
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
)

// Rendered is a component as objects.
type Rendered struct {
	Component stack.Component
	Objects   []*unstructured.Unstructured // in a fixed order; see Order
	// SourceHash is the sha256 of the component's files and values, as
	// "sha256:<hex>".
	SourceHash string
}

// Cache keeps what was rendered, by a key that says all that it depends on. A
// Get that finds nothing, or nothing usable, returns false.
type Cache interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte) error
}

// Render renders the component with the values that a project sets. What the
// cache has is not rendered again; a nil cache has nothing. Every error is a
// fault: of kind Usage where a file or value is wrong.
func Render(c stack.Component, values map[string]string, cache Cache) (Rendered, error) {
	fail := func(kind fault.Kind, err error) (Rendered, error) {
		return Rendered{}, &fault.Error{Op: "rendering the component", Subject: c.Name, Kind: kind, Err: err}
	}
	texts, err := settle(c, values)
	if err != nil {
		return fail(fault.Usage, err)
	}
	files, err := read(c)
	if err != nil {
		return fail(fault.Failure, err)
	}
	r := Rendered{Component: c, SourceHash: sourceHash(files, texts)}
	key := cacheKey(c, r.SourceHash)
	if r.Objects = recall(cache, key); r.Objects != nil {
		return r, nil
	}
	if r.Objects, err = objects(c, files, texts); err != nil {
		return fail(fault.Usage, err)
	}
	if err := remember(cache, key, r.Objects); err != nil {
		return fail(fault.Failure, err)
	}
	return r, nil
}

func objects(c stack.Component, files map[string][]byte, values map[string]string) ([]*unstructured.Unstructured, error) {
	memory := filesys.MakeFsInMemory()
	for name, content := range files {
		if within(c.Dir, name) && path.Base(name) != stack.FileName {
			var err error
			if content, err = substitute(name, content, values); err != nil {
				return nil, err
			}
			files[name] = content
		}
		if err := memory.WriteFile(absolute(name), content); err != nil {
			return nil, err
		}
	}
	if err := prepare(c, files, memory); err != nil {
		return nil, err
	}
	if err := closed(c.Dir, files); err != nil {
		return nil, err
	}
	result, err := krusty.MakeKustomizer(options()).Run(memory, absolute(c.Dir))
	if err != nil {
		return nil, err
	}
	var list []*unstructured.Unstructured
	for _, r := range result.Resources() {
		data, err := r.MarshalJSON()
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(data, &o.Object); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	if list, err = flatten(list); err != nil {
		return nil, err
	}
	list = namespaced(c, list)
	aggregated(list)
	Order(list)
	return list, unique(list)
}

// aggregated takes the rules out of ClusterRoles that others are put together
// into: they are a controller's to fill, and an empty list would be taken from it.
func aggregated(list []*unstructured.Unstructured) {
	for _, o := range list {
		if o.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}) && o.Object["aggregationRule"] != nil {
			delete(o.Object, "rules")
		}
	}
}

func options() *krusty.Options {
	o := krusty.MakeDefaultOptions()
	o.Reorder = krusty.ReorderOptionNone // Order does it
	// Kustomize sees the component's own files and its upstream's, in memory, and
	// nothing else: there is nothing to keep it from.
	o.LoadRestrictions = types.LoadRestrictionsNone
	o.PluginConfig = types.DisabledPluginConfig()
	return o
}

// flatten replaces lists by their items and checks that every object says what
// it is.
func flatten(list []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var flat []*unstructured.Unstructured
	for _, o := range list {
		if o.IsList() {
			err := o.EachListItem(func(item runtime.Object) error {
				flat = append(flat, item.(*unstructured.Unstructured))
				return nil
			})
			if err != nil {
				return nil, err
			}
			continue
		}
		flat = append(flat, o)
	}
	for _, o := range flat {
		if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
			return nil, fmt.Errorf("an object lacks apiVersion, kind or metadata.name: %s", Name(o))
		}
	}
	return flat, nil
}

// namespaced adds the component's Namespace where the manifests do not bring it.
func namespaced(c stack.Component, list []*unstructured.Unstructured) []*unstructured.Unstructured {
	if c.Namespace == "" || slices.ContainsFunc(list, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Namespace" && o.GroupVersionKind().Group == "" && o.GetName() == c.Namespace
	}) {
		return list
	}
	return append(list, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": c.Namespace},
	}})
}

func unique(list []*unstructured.Unstructured) error {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) == 0 {
			return fmt.Errorf("%s comes twice", Name(list[i]))
		}
	}
	return nil
}

// Order sorts objects by kind, group, namespace and name: an order that
// depends on nothing else.
func Order(list []*unstructured.Unstructured) { slices.SortStableFunc(list, compare) }

func compare(a, b *unstructured.Unstructured) int {
	return cmp.Or(
		cmp.Compare(a.GetKind(), b.GetKind()),
		cmp.Compare(a.GroupVersionKind().Group, b.GroupVersionKind().Group),
		cmp.Compare(a.GetNamespace(), b.GetNamespace()),
		cmp.Compare(a.GetName(), b.GetName()),
	)
}

// Name names an object for people: Deployment/kubeflow/training-operator.
func Name(o *unstructured.Unstructured) string {
	parts := []string{o.GetKind()}
	if ns := o.GetNamespace(); ns != "" {
		parts = append(parts, ns)
	}
	return strings.Join(append(parts, o.GetName()), "/")
}
