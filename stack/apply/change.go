package apply

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Change is what became, or would become, of an object.
type Change string

// The changes. A skipped object is one that was left alone on purpose.
const (
	Created    Change = "created"
	Configured Change = "configured"
	Unchanged  Change = "unchanged"
	Deleted    Change = "deleted"
	Skipped    Change = "skipped"
)

// Object names an object of a cluster.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// ObjectOf returns the name of o.
func ObjectOf(o *unstructured.Unstructured) Object {
	return Object{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// String returns Kind/namespace/name, without the namespace where there is none.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// GroupVersionKind returns the object's kind.
func (o Object) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
}

// key is the object's identity: its version may change, and it is the same.
func (o Object) key() objectKey {
	return objectKey{o.GroupVersionKind().GroupKind(), o.Namespace, o.Name}
}

type objectKey struct {
	kind            schema.GroupKind
	namespace, name string
}

// Entry is one object of a ChangeSet.
type Entry struct {
	Object Object `json:"object"`
	Change Change `json:"change"`
	Reason string `json:"reason,omitempty"` // why it was skipped
}

// ChangeSet is what became of a set's objects, by kind, namespace and name.
type ChangeSet []Entry

// Changed reports whether anything was, or would be, written or deleted.
func (c ChangeSet) Changed() bool {
	return slices.ContainsFunc(c, func(e Entry) bool { return e.Change != Unchanged && e.Change != Skipped })
}

// Count returns how many objects had the change.
func (c ChangeSet) Count(change Change) int {
	n := 0
	for _, e := range c {
		if e.Change == change {
			n++
		}
	}
	return n
}

func (c ChangeSet) sort() {
	slices.SortFunc(c, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Object.Kind, b.Object.Kind), strings.Compare(a.Object.Namespace, b.Object.Namespace),
			strings.Compare(a.Object.Name, b.Object.Name), strings.Compare(a.Object.APIVersion, b.Object.APIVersion))
	})
}
