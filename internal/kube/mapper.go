package kube

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Mapping is a kind and where the server serves it.
type Mapping struct {
	Kind       schema.GroupVersionKind
	Resource   schema.GroupVersionResource
	Namespaced bool
	Status     bool // whether it has a status that a controller writes
	List       bool // whether it can be listed
}

// Mapper knows where kinds are served. It asks the server once, and again only
// for a kind that it does not know; kinds that a CustomResourceDefinition
// brings it can be told. It is safe for concurrent use.
type Mapper struct {
	discover func(context.Context) ([]Mapping, error)

	mu    sync.Mutex
	known map[schema.GroupVersionKind]Mapping
}

// NewMapper returns a Mapper that asks discover.
func NewMapper(discover func(context.Context) ([]Mapping, error)) *Mapper {
	return &Mapper{discover: discover, known: map[schema.GroupVersionKind]Mapping{}}
}

// Kinds asks the server for every kind that it serves, each in the version that
// it prefers.
func (m *Mapper) Kinds(ctx context.Context) ([]Mapping, error) {
	all, err := m.discover(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Mapping
	seen := map[schema.GroupKind]bool{}
	for _, each := range all {
		m.known[each.Kind] = each
		if kind := each.Kind.GroupKind(); !seen[kind] {
			seen[kind] = true
			out = append(out, each)
		}
	}
	return out, nil
}

// UnknownKindError is what Mapping returns for a kind that is not served.
type UnknownKindError struct{ Kind schema.GroupVersionKind }

// Error names the kind.
func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("the cluster serves no %s %s", e.Kind.GroupVersion(), e.Kind.Kind)
}

// Mapping returns where a kind is served, or an *UnknownKindError.
func (m *Mapper) Mapping(ctx context.Context, kind schema.GroupVersionKind) (Mapping, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.known[kind]; ok {
		return found, nil
	}
	all, err := m.discover(ctx)
	if err != nil {
		return Mapping{}, err
	}
	for _, each := range all {
		m.known[each.Kind] = each
	}
	if found, ok := m.known[kind]; ok {
		return found, nil
	}
	return Mapping{}, &UnknownKindError{Kind: kind}
}

// Learn takes in the kinds of a CustomResourceDefinition (v1), so that they are
// known before the server lists them.
func (m *Mapper) Learn(crd *unstructured.Unstructured) error {
	group, _, err := unstructured.NestedString(crd.Object, "spec", "group")
	if err != nil {
		return err
	}
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil || group == "" || kind == "" || plural == "" {
		return fmt.Errorf("the CustomResourceDefinition %s lacks its group, names or versions", crd.GetName())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range versions {
		version, ok := v.(map[string]any)
		if !ok {
			continue
		}
		name, _, _ := unstructured.NestedString(version, "name")
		if served, _, _ := unstructured.NestedBool(version, "served"); !served || name == "" {
			continue
		}
		_, status, _ := unstructured.NestedMap(version, "subresources", "status")
		gvk := schema.GroupVersionKind{Group: group, Version: name, Kind: kind}
		m.known[gvk] = Mapping{Kind: gvk, Resource: gvk.GroupVersion().WithResource(plural), Namespaced: scope == "Namespaced", Status: status}
	}
	return nil
}
