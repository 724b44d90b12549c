package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// terms are what must hold of the live object for an apply to be carried out,
// and how it is.
type terms struct {
	uid             types.UID
	resourceVersion string
	force, dryRun   bool
}

// unlessThere lets an apply make an object and never change one. The server
// holds an object's resourceVersion against the given one only where there is an
// object (Store.Update in k8s.io/apiserver/pkg/registry/generic/registry), and
// none has the version 1, for that is the empty store's. So the new object has
// its owner from the first moment, as no POST and later change of managedFields
// would give it.
func unlessThere() terms { return terms{resourceVersion: "1"} }

// on returns the object as it is sent on these terms.
func (t terms) on(o *unstructured.Unstructured) ([]byte, error) {
	if t.uid == "" && t.resourceVersion == "" {
		return json.Marshal(o.Object)
	}
	content := maps.Clone(o.Object)
	metadata, _ := content["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if t.uid != "" {
		metadata["uid"] = string(t.uid)
	}
	if t.resourceVersion != "" {
		metadata["resourceVersion"] = t.resourceVersion
	}
	content["metadata"] = metadata
	return json.Marshal(content)
}

// send applies an object on terms, and says whether that made it. It takes a
// field from another owner only where the terms say force.
func (a *Applier) send(ctx context.Context, i *item, t terms) (*unstructured.Unstructured, bool, error) {
	mapping, err := a.client.Mapper.Mapping(ctx, i.object.GroupVersionKind())
	if err != nil {
		return nil, false, err
	}
	data, err := t.on(i.content)
	if err != nil {
		return nil, false, err
	}
	return a.client.Apply(ctx, kube.Apply{Mapping: mapping, Namespace: i.object.Namespace, Name: i.object.Name,
		Manager: i.manager, Content: data, Force: t.force, DryRun: t.dryRun})
}

// read returns the live object.
func (a *Applier) read(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	mapping, err := a.client.Mapper.Mapping(ctx, o.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return a.client.Dynamic.Resource(mapping.Resource).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
}

// dryRun asks the server what an apply would change. The answer to a dry run
// carries the live resourceVersion whatever it would change, so the two objects
// are compared whole, with who owns what.
func (a *Applier) dryRun(ctx context.Context, i *item) (Change, error) {
	before, err := a.read(ctx, i.object)
	if apierrors.IsNotFound(err) {
		return Created, nil
	}
	if err != nil {
		return Configured, refused(i.object, err)
	}
	after, _, err := a.send(ctx, i, terms{dryRun: true})
	if err != nil {
		return Configured, refused(i.object, err)
	}
	if done(before, after) {
		return Unchanged, nil
	}
	return Configured, nil
}

// done reports whether a dry run shows that an apply would change nothing, of
// who owns what either.
func done(before, after *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(before.Object, after.Object)
}

// refused explains why the server did not take an object.
func refused(o Object, err error) error {
	var said *fault.Error
	if errors.As(err, &said) {
		return err
	}
	e := &fault.Error{Op: "applying", Subject: o.String(), Err: err}
	var unknown *kube.UnknownKindError
	switch {
	case errors.As(err, &unknown):
		e.Hint = "a component that brings this kind must be among those that it requires"
	case apierrors.IsConflict(err) && len(conflicts(err)) > 0:
		e.Kind = fault.Drift
		e.Err = errors.New(strings.Join(conflicts(err), "; "))
		e.Hint = "kfdev takes no field from another owner: undo that change (kubectl edit), or delete the object and run kfdev up again"
	case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "immutable"):
		e.Hint = "a field that cannot be changed would have to: delete the object and run kfdev up again"
	}
	return e
}

// conflicts returns one text for every field that another manager holds.
func conflicts(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var texts []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			holder := strings.TrimPrefix(cause.Message, "conflict with ")
			texts = append(texts, fmt.Sprintf("the field %s is held by %s", strings.TrimPrefix(cause.Field, "."), holder))
		}
	}
	return texts
}

// ensureSystemNamespace makes the namespace of the inventories.
func (a *Applier) ensureSystemNamespace(ctx context.Context) error {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": SystemNamespace, "labels": map[string]any{managedByLabel: "kfdev"}},
	}}
	i := &item{object: ObjectOf(o), content: o, manager: Manager}
	if _, _, err := a.send(ctx, i, terms{}); err != nil {
		return refused(i.object, err)
	}
	return nil
}

// established waits until the kinds among the items are served.
func (a *Applier) established(ctx context.Context, items []*item) error {
	for _, i := range items {
		if i.change == Unchanged || !isCRD(i.content) {
			continue
		}
		mapping, err := a.client.Mapper.Mapping(ctx, i.object.GroupVersionKind())
		if err != nil {
			return refused(i.object, err)
		}
		err = kube.Until(ctx, a.client.Dynamic.Resource(mapping.Resource), i.object.Name, func(o *unstructured.Unstructured) (bool, error) {
			if o == nil {
				return false, errors.New("it was deleted while kfdev waited for it")
			}
			return condition(o, "Established") == "True", nil
		})
		if err != nil {
			return &fault.Error{Op: "waiting for the kind to be served", Subject: i.object.Name, Err: err}
		}
	}
	return nil
}

// condition returns the status of one of o's conditions, or "".
func condition(o *unstructured.Unstructured, name string) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == name {
			s, _ := m["status"].(string)
			return s
		}
	}
	return ""
}

// needsGate reports whether any of the webhooks would go in or change.
func needsGate(items []*item) bool {
	return slices.ContainsFunc(items, func(i *item) bool { return i.change != Unchanged })
}

// Services returns the services that webhooks and API services among the
// objects call.
func Services(objects []*unstructured.Unstructured) []types.NamespacedName {
	seen := map[types.NamespacedName]bool{}
	var all []types.NamespacedName
	add := func(from map[string]any, path ...string) {
		service, _, _ := unstructured.NestedMap(from, path...)
		namespace, _ := service["namespace"].(string)
		name, _ := service["name"].(string)
		n := types.NamespacedName{Namespace: namespace, Name: name}
		if name != "" && !seen[n] {
			seen[n] = true
			all = append(all, n)
		}
	}
	for _, o := range objects {
		switch o.GroupVersionKind().Group {
		case "admissionregistration.k8s.io":
			list, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
			for _, w := range list {
				if hook, ok := w.(map[string]any); ok {
					add(hook, "clientConfig", "service")
				}
			}
		case "apiregistration.k8s.io":
			add(o.Object, "spec", "service")
		}
	}
	return all
}

func contents(items []*item) []*unstructured.Unstructured {
	all := make([]*unstructured.Unstructured, len(items))
	for n, i := range items {
		all[n] = i.content
	}
	return all
}
