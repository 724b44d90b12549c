package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
)

// Strays names the objects that carry the set's label and are not in its
// inventory: what a promoter that was stopped, and woke up after another had
// finished, could still make. It looks at every kind that the server has.
func (a *Applier) Strays(ctx context.Context, set string) ([]Object, error) {
	fail := func(err error) ([]Object, error) {
		return nil, &fault.Error{Op: "looking for objects that are in no inventory", Subject: set, Err: err}
	}
	inventory, err := a.Inventory(ctx, set)
	if err != nil {
		return nil, err
	}
	members := map[objectKey]bool{}
	if inventory != nil {
		for _, m := range inventory.Members {
			members[m.key()] = true
		}
	}
	kinds, err := a.client.Mapper.Kinds(ctx)
	if err != nil {
		return fail(err)
	}
	seen := map[schema.GroupKind]bool{}
	var mu sync.Mutex
	var strays []Object
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, m := range kinds {
		if !m.List || seen[m.Kind.GroupKind()] {
			continue
		}
		seen[m.Kind.GroupKind()] = true
		group.Go(func() error {
			list, err := a.client.Metadata.Resource(m.Resource).List(ctx, metav1.ListOptions{LabelSelector: Selector(set)})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("listing %s: %w", m.Resource.Resource, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, found := range list.Items {
				o := Object{APIVersion: m.Kind.GroupVersion().String(), Kind: m.Kind.Kind, Namespace: found.Namespace, Name: found.Name}
				if !members[o.key()] {
					strays = append(strays, o)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fail(err)
	}
	slices.SortFunc(strays, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
	return strays, nil
}
