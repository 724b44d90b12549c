package difference

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// ObjectRef tells an object apart from all others of an environment.
type ObjectRef struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// RefOf returns what tells an object apart.
func RefOf(o *unstructured.Unstructured) ObjectRef {
	return ObjectRef{Group: o.GroupVersionKind().Group, Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Path returns the path of the object, or of fields in it.
func (r ObjectRef) Path(fields ...fieldpath.Step) fieldpath.Path {
	return fieldpath.Path{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Fields: fields}
}

// String writes the object as paths do.
func (r ObjectRef) String() string { return r.Path().Object() }

func (r ObjectRef) compare(o ObjectRef) int {
	return cmp.Or(cmp.Compare(r.Group, o.Group), cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// builtIn reports whether the object is of Kubernetes' own types: their groups
// have no dot, or end in k8s.io.
func (r ObjectRef) builtIn() bool {
	return !strings.Contains(r.Group, ".") || strings.HasSuffix(r.Group, ".k8s.io")
}

// ByOwner returns the object whose controller made this one, for Prover.Source.
func ByOwner(o *unstructured.Unstructured) (ObjectRef, bool) {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return ObjectRef{}, false
	}
	group, _, found := strings.Cut(owner.APIVersion, "/")
	if !found {
		group = ""
	}
	return ObjectRef{Group: group, Kind: owner.Kind, Namespace: o.GetNamespace(), Name: owner.Name}, true
}

// hidden reports whether fields lead to what is secret in a Secret: all but
// its names, labels and type. An annotation may hold a copy of the whole.
func hidden(group, kind string, fields []fieldpath.Step) bool {
	if group != "" || kind != "Secret" || len(fields) == 0 {
		return false
	}
	switch fields[0].Key {
	case "apiVersion", "kind", "type", "immutable":
		return false
	case "metadata":
		return len(fields) == 1 || fields[1].Key == "annotations"
	}
	return true
}

// eachOnce returns an error where two objects cannot be told apart.
func eachOnce(objects []*unstructured.Unstructured) error {
	seen := make(map[ObjectRef]bool, len(objects))
	for _, o := range objects {
		ref := RefOf(o)
		if seen[ref] {
			return fmt.Errorf("%s comes twice", ref)
		}
		seen[ref] = true
	}
	return nil
}
