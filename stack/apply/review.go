package apply

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// review holds every item against the plan, and settles on which terms it is
// written. It returns everything that is not as planned.
func (b *bound) review(ctx context.Context, items []*item) error {
	var changing []*item
	for _, i := range items {
		if b.looked && i.change != Unchanged {
			i.live = live{}
			changing = append(changing, i)
		}
	}
	if len(changing) > 0 {
		again := &work{inventory: b.work.inventory, items: changing}
		if err := b.applier.look(ctx, b.work.inventory.Name, again); err != nil {
			return err
		}
	}
	b.looked = true
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	var problems []error
	for _, i := range items {
		group.Go(func() error {
			if err := b.hold(ctx, i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, err)
			}
			return nil
		})
	}
	_ = group.Wait() // the problems are gathered beside it
	return failed(ctx, problems)
}

// hold holds one item against the plan by its metadata, and by its content where
// that is not enough.
func (b *bound) hold(ctx context.Context, i *item) error {
	p := b.planned[i.object.key()]
	switch {
	case i.live.denied != nil:
		return notAsPlanned(i.object, "it may not be read: %w", i.live.denied)
	case p.Change == Unchanged && i.change == Unchanged:
		return nil
	case p.Change == Created && !i.live.found:
		i.terms = unlessThere()
		return nil
	case p.Change == Created && i.live.deleting && p.Reason == beingDeleted:
		i.terms = unlessThere() // once it is gone
		return nil
	case !i.live.found:
		return notAsPlanned(i.object, "it is gone")
	case i.live.deleting:
		return notAsPlanned(i.object, "it is being deleted")
	case p.Change != Created && p.UID != i.live.uid:
		return notAsPlanned(i.object, "it was deleted and made anew")
	case p.Change == Configured && p.ResourceVersion == i.live.resourceVersion && len(p.Conflicts) == 0:
		i.terms = terms{uid: p.UID, resourceVersion: p.ResourceVersion}
		return nil
	}
	return b.again(ctx, i)
}

// again looks at the object itself: whether it is still as it was planned from,
// or already as it was planned to be.
func (b *bound) again(ctx context.Context, i *item) error {
	p := b.planned[i.object.key()]
	for range attempts {
		now, err := b.applier.read(ctx, i.object)
		if apierrors.IsNotFound(err) && p.Change == Created {
			i.terms = unlessThere()
			return nil
		}
		if apierrors.IsNotFound(err) {
			return notAsPlanned(i.object, "it is gone")
		}
		if err != nil {
			return refused(i.object, err)
		}
		settled, err := b.compare(ctx, i, p, now)
		if settled || err != nil {
			return err
		}
	}
	return notAsPlanned(i.object, "it changes faster than it can be looked at")
}

// compare settles the terms for an object that is now so; false where it moved
// again meanwhile.
func (b *bound) compare(ctx context.Context, i *item, p *Proposed, now *unstructured.Unstructured) (bool, error) {
	only := terms{uid: now.GetUID(), resourceVersion: now.GetResourceVersion()}
	ask := only
	ask.dryRun = true
	after, _, err := b.applier.send(ctx, i, ask)
	conflicts := conflictsOf(err, now)
	hash, failed := b.options.hash(now)
	if failed != nil {
		return false, failed
	}
	switch {
	case b.reached(i, p, now, after, hash, err):
		return true, i.settle(now)
	case apierrors.IsConflict(err) && len(conflicts) == 0:
		return false, nil
	case err != nil && len(conflicts) == 0 && p.Unchecked == "":
		return false, refused(i.object, err)
	}
	if p.Change != Configured || p.UID != now.GetUID() || hash != p.Before {
		return false, notAsPlanned(i.object, "%s has written to it since", lastManager(now))
	}
	if !SameConflicts(conflicts, p.Conflicts) {
		return false, notAsPlanned(i.object, "other managers hold its fields than in the plan")
	}
	only.force = len(conflicts) > 0
	i.terms, i.change = only, Configured
	return true, nil
}

// reached reports whether an object is as it was planned to be already. That
// nothing would change is not enough: a field that the plan removes may have gone
// to another manager instead. Of a new object the server may have filled in other
// values than in the dry run, so there it is.
func (b *bound) reached(i *item, p *Proposed, now, after *unstructured.Unstructured, hash string, err error) bool {
	if p.Change != Created && p.After != "" && p.After != hash {
		return false
	}
	if err != nil {
		return p.Unchecked != "" && b.holds(i, now)
	}
	return done(now, after)
}

// holds reports whether an object has all that is wanted, and as kfdev's: what
// an earlier run wrote, where the server cannot be asked in a dry run.
func (b *bound) holds(i *item, now *unstructured.Unstructured) bool {
	owned, _, err := ownership(now.GetManagedFields(), i.manager)
	return err == nil && owned != "" && len(b.options.changes(now, i.content, true)) == 0
}

// settle takes an item for done, and notes who owns it now.
func (i *item) settle(now *unstructured.Unstructured) error {
	owned, _, err := ownership(now.GetManagedFields(), i.manager)
	if err != nil {
		return err
	}
	i.change = Unchanged
	i.member = Member{Object: i.object, UID: now.GetUID(), Desired: i.desired, Owned: owned}
	return nil
}

// SameConflicts reports whether the same managers hold the same fields; since
// when is no part of it.
func SameConflicts(a, b []Conflict) bool {
	type held struct{ field, manager string }
	names := func(all []Conflict) map[held]bool {
		set := map[held]bool{}
		for _, c := range all {
			set[held{c.Field, c.Manager}] = true
		}
		return set
	}
	x, y := names(a), names(b)
	if len(x) != len(y) {
		return false
	}
	for h := range x {
		if !y[h] {
			return false
		}
	}
	return true
}

// lastManager says who wrote an object last.
func lastManager(o *unstructured.Unstructured) string {
	entries := o.GetManagedFields()
	entries = slices.DeleteFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return e.Time == nil || e.Subresource == "status" })
	if len(entries) == 0 {
		return "somebody"
	}
	ours := func(e metav1.ManagedFieldsEntry) int {
		if strings.HasPrefix(e.Manager, Manager) {
			return 1
		}
		return 0
	}
	// Times are whole seconds: within one, another manager tells more.
	last := slices.MaxFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(a.Time.Compare(b.Time.Time), ours(b)-ours(a))
	})
	return last.Manager
}
