package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/kube"
)

// manyOf is from how many objects of a kind and namespace on one list of that
// namespace's metadata is cheaper than a request for each.
const manyOf = 4

// place is where a list looks: a kind in a namespace, or in all of them.
type place struct {
	kind      schema.GroupVersionKind
	namespace string
}

// sight is what was looked for and is there.
type sight struct {
	found  map[objectKey]*metav1.PartialObjectMetadata
	listed map[place]bool  // where what is not found is not there
	denied map[place]error // where nothing may be read
}

// look reads the metadata of every object of w. What may not be read says so
// itself; see live.denied.
func (a *Applier) look(ctx context.Context, name string, w *work) error {
	seen, err := a.labelled(ctx, name, w)
	if err != nil {
		return err
	}
	if err := a.list(ctx, seen, w.unseen(seen), metav1.ListOptions{}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	find := func(o Object, manager string, into *live) {
		if found, ok := seen.found[o.key()]; ok {
			into.fill(found, manager)
			return
		}
		at := place{o.GroupVersionKind(), o.Namespace}
		if seen.listed[at] {
			return
		}
		if into.denied = seen.denied[at]; into.denied != nil {
			return
		}
		group.Go(func() error {
			found, err := a.metadata(ctx, o)
			if apierrors.IsForbidden(err) {
				into.denied = err
				return nil
			}
			if err == nil && found != nil {
				into.fill(found, manager)
			}
			return err
		})
	}
	for _, i := range w.items {
		find(i.object, i.manager, &i.live)
	}
	for n := range w.gone {
		find(w.gone[n].Object, Manager, &w.gone[n].live)
	}
	return group.Wait()
}

// unseen returns the places where enough is yet to be looked at for a list.
func (w *work) unseen(seen *sight) []place {
	count := map[place]int{}
	for _, i := range w.items {
		if seen.found[i.object.key()] == nil {
			count[place{i.object.GroupVersionKind(), i.object.Namespace}]++
		}
	}
	var many []place
	for at, n := range count {
		if n >= manyOf {
			many = append(many, at)
		}
	}
	return many
}

// labelled lists, kind by kind, what carries the set's label.
func (a *Applier) labelled(ctx context.Context, name string, w *work) (*sight, error) {
	seen := &sight{map[objectKey]*metav1.PartialObjectMetadata{}, map[place]bool{}, map[place]error{}}
	if len(w.inventory.Members) == 0 {
		return seen, nil // nothing of it is there yet
	}
	kinds := map[schema.GroupVersionKind]bool{}
	for _, i := range w.items {
		kinds[i.object.GroupVersionKind()] = true
	}
	for _, g := range w.gone {
		kinds[g.GroupVersionKind()] = true
	}
	var places []place
	for kind := range kinds {
		places = append(places, place{kind: kind})
	}
	// That they do not carry the label does not mean that they are not there.
	labelled := &sight{seen.found, map[place]bool{}, map[place]error{}}
	return seen, a.list(ctx, labelled, places, metav1.ListOptions{LabelSelector: Selector(name)})
}

// list reads the metadata of what the options select, at several places at once.
func (a *Applier) list(ctx context.Context, into *sight, places []place, options metav1.ListOptions) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, at := range places {
		group.Go(func() error {
			mapping, err := a.client.Mapper.Mapping(ctx, at.kind)
			var unknown *kube.UnknownKindError
			if errors.As(err, &unknown) {
				return nil
			}
			if err != nil {
				return err
			}
			list, err := a.client.Metadata.Resource(mapping.Resource).Namespace(at.namespace).List(ctx, options)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case apierrors.IsNotFound(err): // a kind that the set brings itself
				into.listed[at] = true
				return nil
			case apierrors.IsForbidden(err):
				into.denied[at] = err
				return nil
			case err != nil:
				return fmt.Errorf("listing %s: %w", mapping.Resource.Resource, err)
			}
			into.listed[at] = true
			for n := range list.Items {
				o := &list.Items[n]
				into.found[objectKey{at.kind.GroupKind(), o.Namespace, o.Name}] = o
			}
			return nil
		})
	}
	return group.Wait()
}

// metadata reads one object's metadata; nil where it is not there.
func (a *Applier) metadata(ctx context.Context, o Object) (*metav1.PartialObjectMetadata, error) {
	mapping, err := a.client.Mapper.Mapping(ctx, o.GroupVersionKind())
	var unknown *kube.UnknownKindError
	if errors.As(err, &unknown) {
		return nil, nil //nolint:nilnil // it is not there, and that is no error
	}
	if err != nil {
		return nil, err
	}
	found, err := a.client.Metadata.Resource(mapping.Resource).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // as above
	}
	return found, err
}

func (l *live) fill(o *metav1.PartialObjectMetadata, manager string) {
	owned, applied, err := ownership(o.ManagedFields, manager)
	if err != nil {
		owned = "" // not what was recorded: it is applied again
	}
	*l = live{
		found: true, deleting: o.DeletionTimestamp != nil, uid: o.UID, resourceVersion: o.ResourceVersion,
		partOf: o.Labels[partOfLabel], ours: labelledBy(o.ManagedFields, manager), owned: owned, applied: applied,
	}
}
