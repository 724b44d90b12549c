package apply

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// has reports whether an object is among the set's.
func (a *Applier) has(ctx context.Context, set Set, o Object) (bool, error) {
	for _, each := range set.Objects {
		if each.GetName() != o.Name || each.GroupVersionKind().GroupKind() != o.GroupVersionKind().GroupKind() {
			continue
		}
		at := &unstructured.Unstructured{Object: map[string]any{}}
		at.SetGroupVersionKind(each.GroupVersionKind())
		at.SetNamespace(each.GetNamespace())
		at.SetName(each.GetName())
		if err := a.scope(ctx, set, at); err != nil {
			return false, err
		}
		if ObjectOf(at).key() == o.key() {
			return true, nil
		}
	}
	return false, nil
}

// inherit finds out which former members another set has now.
func (a *Applier) inherit(ctx context.Context, set Set, w *work) error {
	for n := range w.gone {
		for _, other := range set.Beside {
			if other.Name == set.Name {
				continue
			}
			has, err := a.has(ctx, other, w.gone[n].Object)
			if err != nil {
				return err
			}
			if has {
				w.gone[n].heir = other.Name
			}
		}
	}
	return nil
}

// takeOver lets the set have an object that another set has in the cluster, and
// no longer among its objects. What kfdev has not put into a set stays where it is.
func (a *Applier) takeOver(ctx context.Context, set Set, w *work, i *item) error {
	refused := i.others()
	if refused == nil || len(set.Beside) == 0 || !i.live.ours {
		return refused
	}
	for _, other := range set.Beside {
		if SetID(other.Name) != i.live.partOf {
			continue
		}
		has, err := a.has(ctx, other, i.object)
		if err != nil {
			return err
		}
		if has {
			return refused
		}
		i.taken = "taken over from " + other.Name
		return nil
	}
	if err := a.name(ctx, w); err != nil {
		return err
	}
	i.taken = "taken over from a component that is no more"
	if name, ok := w.names[i.live.partOf]; ok {
		i.taken = "taken over from " + name
	}
	return nil
}

// name learns how the sets that the cluster holds are called.
func (a *Applier) name(ctx context.Context, w *work) error {
	if w.names != nil {
		return nil
	}
	all, err := a.Inventories(ctx)
	w.names = make(map[string]string, len(all))
	for _, i := range all {
		w.names[SetID(i.Name)] = i.Name
	}
	return err
}

// awaited reports whether another set has a former member now and has yet to take
// it over. Until then it stays recorded, so that it is always in an inventory.
func (g gone) awaited() bool {
	return g.heir != "" && g.live.found && g.live.partOf == SetID(g.set) && (g.UID == "" || g.UID == g.live.uid)
}

// HandsOver reports whether objects of the set become another's.
func (p Proposal) HandsOver() bool {
	for _, o := range p.Objects {
		if o.Heir != "" {
			return true
		}
	}
	return false
}

// labelledBy reports whether the manager is who put the object into a set.
func labelledBy(entries []metav1.ManagedFieldsEntry, manager string) bool {
	for _, e := range entries {
		if e.Manager != manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Metadata struct {
				Labels map[string]any `json:"f:labels"`
			} `json:"f:metadata"`
		}
		if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
			return false
		}
		if _, ok := fields.Metadata.Labels["f:"+partOfLabel]; ok {
			return true
		}
	}
	return false
}
