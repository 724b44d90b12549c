package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// patch sends an object. It never takes a field from another owner.
func (a *Applier) patch(ctx context.Context, mapping kube.Mapping, i *item, dryRun bool) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(i.content.Object)
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: i.manager, FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return a.client.Dynamic.Resource(mapping.Resource).Namespace(i.object.Namespace).Patch(ctx, i.object.Name, types.ApplyPatchType, data, options)
}

// dryRun asks the server what an apply would change. The answer to a dry run
// carries the live resourceVersion whatever it would change, so the two objects
// are compared whole, with who owns what.
func (a *Applier) dryRun(ctx context.Context, i *item) (Change, error) {
	mapping, err := a.client.Mapper.Mapping(ctx, i.object.GroupVersionKind())
	if err != nil {
		return Configured, refused(i.object, err)
	}
	before, err := a.client.Dynamic.Resource(mapping.Resource).Namespace(i.object.Namespace).Get(ctx, i.object.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Created, nil
	}
	if err != nil {
		return Configured, refused(i.object, err)
	}
	after, err := a.patch(ctx, mapping, i, true)
	if err != nil {
		return Configured, refused(i.object, err)
	}
	if equality.Semantic.DeepEqual(before.Object, after.Object) {
		return Unchanged, nil
	}
	return Configured, nil
}

// refused explains why the server did not take an object.
func refused(o Object, err error) error {
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
	mapping, err := a.client.Mapper.Mapping(ctx, o.GroupVersionKind())
	if err == nil {
		_, err = a.patch(ctx, mapping, i, false)
	}
	if err != nil {
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
