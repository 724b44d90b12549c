package drift

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// key is an object's identity.
type key struct{ group, kind, namespace, name string }

type groupKind struct{ group, kind string }

func keyOf(o apply.Object) key {
	gvk := o.GroupVersionKind()
	return key{gvk.Group, gvk.Kind, o.Namespace, o.Name}
}

// want is one object of the release.
type want struct {
	object     apply.Object
	source     *unstructured.Unstructured
	set        string
	shares     []share // what each of kfdev's managers applies of it: all of source
	team       bool
	derived    bool // another program makes it of an object of the release: only what it says is looked at
	generation bool // the kind counts changes of everything but metadata and status
	mapping    kube.Mapping
}

// share is what one manager applies of an object. Sets share a namespace, each
// with what it says of it; all else is of one set.
type share struct {
	manager string
	source  *unstructured.Unstructured
}

func (w *want) finding(class Class, why string) Finding {
	return Finding{Class: class, Object: w.object, Set: w.set, Team: w.team, Why: why, made: w.derived}
}

// prepare names every object of the sets as it is in the cluster.
func (d *Detector) prepare(ctx context.Context, wanted Wanted) (map[key]*want, error) {
	for _, set := range wanted.Sets {
		for _, o := range set.Objects {
			if o.GetKind() == "CustomResourceDefinition" {
				if err := d.client.Mapper.Learn(o); err != nil {
					return nil, err
				}
			}
		}
	}
	out := map[key]*want{}
	for _, set := range wanted.Sets {
		for _, o := range set.Objects {
			w := &want{object: apply.ObjectOf(o), source: o, set: set.Name, team: set.Name == wanted.Profiles && set.Name != "", shares: []share{{apply.Manager, o}}}
			if err := d.place(ctx, set, w); err != nil {
				return nil, err
			}
			if isNamespace(w.object) {
				w.shares[0].manager += "-" + set.Name
			}
			k := keyOf(w.object)
			if out[k] != nil && !isNamespace(w.object) {
				return nil, fmt.Errorf("%s comes twice", w.object)
			}
			if before := out[k]; before != nil {
				w.shares = append(before.shares, w.shares...)
				w.source = &unstructured.Unstructured{Object: merge(before.source.Object, w.source.Object)}
			}
			w.generation = counts(w.mapping)
			out[k] = w
		}
	}
	return out, d.derive(ctx, out)
}

// place finds where the object's kind is served, and gives it the namespace
// that applying gives it.
func (d *Detector) place(ctx context.Context, set apply.Set, w *want) error {
	mapping, err := d.client.Mapper.Mapping(ctx, w.object.GroupVersionKind())
	var unknown *kube.UnknownKindError
	if errors.As(err, &unknown) {
		return nil // it is reported as not there
	}
	if err != nil {
		return err
	}
	w.mapping = mapping
	switch {
	case !mapping.Namespaced:
		w.object.Namespace = ""
	case w.object.Namespace == "" && set.Namespace != "":
		w.object.Namespace = set.Namespace
	case w.object.Namespace == "":
		w.object.Namespace = metav1.NamespaceDefault
	}
	return nil
}

// content returns the object as it is applied by all that apply it.
func (w *want) content() *unstructured.Unstructured { return w.applied(w.source) }

// applied returns what is said of the object as it is applied: with its
// namespace and the set's label, and without what says nothing.
func (w *want) applied(source *unstructured.Unstructured) *unstructured.Unstructured {
	o := source.DeepCopy()
	if w.derived {
		return o
	}
	o.SetNamespace(w.object.Namespace)
	unstructured.RemoveNestedField(o.Object, "status")
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	if isNamespace(w.object) {
		labels["app.kubernetes.io/managed-by"] = "kfdev"
	} else {
		name, id, _ := strings.Cut(apply.Selector(w.set), "=")
		labels[name] = id
	}
	o.SetLabels(labels)
	o.Object, _ = withoutNulls(o.Object).(map[string]any)
	return o
}

// withoutNulls drops null values of maps: to the server they say nothing.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, each := range v {
			if each == nil {
				delete(v, k)
				continue
			}
			v[k] = withoutNulls(each)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

func merge(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		left, isMap := out[k].(map[string]any)
		right, too := v.(map[string]any)
		if isMap && too {
			out[k] = merge(left, right)
			continue
		}
		out[k] = v
	}
	return out
}

func isNamespace(o apply.Object) bool { return o.Kind == "Namespace" && o.APIVersion == "v1" }

// counts reports whether the API server raises metadata.generation with every
// change to anything but metadata and status of this kind. It does for custom
// resources (k8s.io/apiextensions-apiserver/pkg/registry/customresource/strategy.go,
// PrepareForUpdate) and for the built-in kinds below (the strategies in
// k8s.io/kubernetes/pkg/registry); of others nothing is assumed.
func counts(m kube.Mapping) bool {
	switch m.Kind.Group {
	case "apps":
		return m.Kind.Kind == "Deployment" || m.Kind.Kind == "StatefulSet" || m.Kind.Kind == "DaemonSet"
	case "batch":
		return m.Kind.Kind == "Job" || m.Kind.Kind == "CronJob"
	case "networking.k8s.io":
		return m.Kind.Kind == "Ingress" || m.Kind.Kind == "NetworkPolicy"
	case "policy":
		return m.Kind.Kind == "PodDisruptionBudget"
	case "":
		return false
	}
	builtIn := strings.HasSuffix(m.Kind.Group, ".k8s.io") || !strings.Contains(m.Kind.Group, ".")
	return !builtIn
}
