package apply

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Remove deletes what the set of that name holds, and its inventory. What is
// never pruned stays unless it is named, and is reported as skipped. A set that
// is not there is no error: nothing is left to do.
func (a *Applier) Remove(ctx context.Context, name string, named ...Object) (ChangeSet, error) {
	return a.Apply(ctx, Set{Name: name, Delete: named, Leaves: true})
}

// PlanRemove says what Remove would do.
func (a *Applier) PlanRemove(ctx context.Context, name string, named ...Object) (ChangeSet, error) {
	work, err := a.examine(ctx, Set{Name: name})
	if err != nil {
		return nil, err
	}
	changes := work.prunes(named)
	changes.sort()
	return changes, nil
}

// prunes says what would be pruned.
func (w *work) prunes(named []Object) ChangeSet {
	var changes ChangeSet
	for _, g := range w.gone {
		if change, reason := g.fate(named); change != "" {
			changes = append(changes, Entry{Object: g.Object, Change: change, Reason: reason})
		}
	}
	return changes
}

// fate says what becomes of a former member; "" where it is not there.
func (g gone) fate(named []Object) (Change, string) {
	switch {
	case !g.live.found:
		return "", ""
	case g.UID != "" && g.UID != g.live.uid:
		return Skipped, "another object has taken its name"
	case g.heir != "":
		return Skipped, "it is a part of " + g.heir + " now"
	case g.live.partOf != SetID(g.set) && !isNamespace(g.Kind, g.APIVersion):
		return Skipped, "it no longer carries the set's label"
	case slices.ContainsFunc(named, func(o Object) bool { return o.key() == g.key() }):
		return Deleted, ""
	case kept(g.Object) != "":
		return Skipped, kept(g.Object)
	}
	return Deleted, ""
}

// prune deletes former members, last stage first, and waits until they are gone.
func (a *Applier) prune(ctx context.Context, former []gone, named []Object, by way) (ChangeSet, error) {
	var changes ChangeSet
	var problems []error
	for s := stages - 1; s >= 0; s-- {
		var deleted []Object
		for _, g := range former {
			if stageOf(stub(g.Object)) != s {
				continue
			}
			change, reason := g.fate(named)
			if change == "" {
				continue
			}
			if change == Deleted {
				if err := by.drop(ctx, g); err != nil {
					problems = append(problems, err)
					continue
				}
				deleted = append(deleted, g.Object)
			}
			changes = append(changes, Entry{Object: g.Object, Change: change, Reason: reason})
		}
		for _, o := range deleted {
			if err := a.gone(ctx, o); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return changes, failed(ctx, problems)
}

func stub(o Object) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.APIVersion, "kind": o.Kind}}
}

// delete deletes exactly the object that was looked at; where a version is
// given, only while the object has that version.
func (a *Applier) delete(ctx context.Context, g gone, version string) error {
	mapping, err := a.client.Mapper.Mapping(ctx, g.GroupVersionKind())
	if err == nil {
		uid, policy := g.live.uid, propagation(g.GroupVersionKind().Group)
		only := &metav1.Preconditions{UID: &uid}
		if version != "" {
			only.ResourceVersion = &version
		}
		err = a.client.Dynamic.Resource(mapping.Resource).Namespace(g.Namespace).Delete(ctx, g.Name,
			metav1.DeleteOptions{Preconditions: only, PropagationPolicy: &policy})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return &fault.Error{Op: "deleting", Subject: g.String(), Err: err}
	}
	return nil
}

// propagation lets a workload go only after its pods. Of other kinds nothing
// hangs that has to go first, and the garbage collector may not know a custom
// kind for the first half minute of its life.
func propagation(group string) metav1.DeletionPropagation {
	if group == "apps" || group == "batch" {
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// gone waits until an object is not there.
func (a *Applier) gone(ctx context.Context, o Object) error {
	mapping, err := a.client.Mapper.Mapping(ctx, o.GroupVersionKind())
	var unknown *kube.UnknownKindError
	if errors.As(err, &unknown) {
		return nil
	}
	if err == nil {
		var holders []string
		err = kube.Until(ctx, a.client.Dynamic.Resource(mapping.Resource).Namespace(o.Namespace), o.Name, func(found *unstructured.Unstructured) (bool, error) {
			if found != nil {
				holders = found.GetFinalizers()
			}
			return found == nil, nil
		})
		if err != nil && len(holders) > 0 {
			return &fault.Error{Op: "waiting for it to be deleted", Subject: o.String(), Err: err,
				Hint: "its finalizers hold it: " + holders[0]}
		}
	}
	if err != nil {
		return &fault.Error{Op: "waiting for it to be deleted", Subject: o.String(), Err: err}
	}
	return nil
}
