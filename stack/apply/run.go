package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// way is how a run writes: freely, as Apply does, or bound to a proposal.
type way interface {
	// review looks at what is to be written next, before anything of it is.
	review(ctx context.Context, items []*item) error
	// put brings an object in, and says whether that made it.
	put(ctx context.Context, i *item) (o *unstructured.Unstructured, created bool, err error)
	// drop deletes an object.
	drop(ctx context.Context, g gone) error
	// record writes the inventory and returns the version of its parent.
	record(ctx context.Context, i Inventory, version string) (string, error)
	// forget deletes the inventory that was read.
	forget(ctx context.Context, set string, only parent) error
}

// run is one set on its way into the cluster.
type run struct {
	applier *Applier
	set     Set
	work    *work
	way     way
	task    *progress.Task
	next    members // what the set will hold
}

// all takes the set through every stage, and prunes.
func (r *run) all(ctx context.Context) (ChangeSet, error) {
	if err := errors.Join(r.work.denied()...); err != nil {
		return nil, err
	}
	if err := r.way.review(ctx, r.work.items); err != nil {
		return nil, err
	}
	if err := r.announce(ctx); err != nil {
		return nil, err
	}
	var changes ChangeSet
	for s := range stages {
		items := r.work.of(s)
		if s == hooks && needsGate(items) {
			if err := r.applier.gate.Served(ctx, r.set.Name, Services(contents(items))); err != nil {
				return changes, err
			}
		}
		done, err := r.stage(ctx, items)
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	pruned, err := r.applier.prune(ctx, r.work.gone, r.set.Delete, r.way)
	changes = append(changes, pruned...)
	changes.sort()
	if err != nil {
		return changes, err
	}
	return changes, r.settle(ctx)
}

// announce records the union of what the set held and will hold.
func (r *run) announce(ctx context.Context) error {
	r.next = make(members, len(r.work.items))
	for _, item := range r.work.items {
		m := item.member
		m.Object = item.object
		if item.change != Unchanged {
			// It is about to be written: until that is recorded, nothing is known of it.
			m.Desired, m.Owned = "", ""
		}
		r.next[m.key()] = m
	}
	switch {
	case r.set.Leaves && r.work.parent.version == "":
		return nil // it is gone already
	case !r.set.Leaves && !r.work.changed():
		return nil
	}
	// A set that leaves is recorded as not whole in any case: whoever brings it in
	// again meanwhile records it anew, and the inventory is no longer what is deleted.
	union := maps.Clone(r.next)
	for _, m := range r.work.gone {
		union[m.key()] = m.Member
	}
	return r.record(ctx, union.inventory(r.set.Name, ""))
}

// settle records what the set holds now, where that is not recorded already.
func (r *run) settle(ctx context.Context) error {
	for _, g := range r.work.gone {
		if g.awaited() {
			r.next[g.key()] = g.Member
		}
	}
	if r.set.Leaves && len(r.next) == 0 {
		return r.forget(ctx)
	}
	next := r.next.inventory(r.set.Name, r.set.Hash)
	if !r.work.changed() && r.work.inventory.equal(next) {
		return nil
	}
	return r.record(ctx, next)
}

func (r *run) record(ctx context.Context, i Inventory) (err error) {
	r.work.parent.version, err = r.way.record(ctx, i, r.work.parent.version)
	return err
}

func (r *run) forget(ctx context.Context) error {
	if r.work.parent.version == "" {
		return nil
	}
	return r.way.forget(ctx, r.set.Name, r.work.parent)
}

// stage applies the items of one stage, several at once, and puts what the
// server answered into the inventory.
func (r *run) stage(ctx context.Context, items []*item) (ChangeSet, error) {
	if err := r.way.review(ctx, items); err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	var changes ChangeSet
	var problems []error
	for _, item := range items {
		group.Go(func() error {
			member, change, err := r.one(ctx, item)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, err)
				return nil
			}
			r.next[member.key()] = member
			changes = append(changes, Entry{Object: item.object, Change: change})
			r.task.Add(1)
			return nil
		})
	}
	_ = group.Wait() // the problems are gathered beside it
	if err := failed(ctx, problems); err != nil {
		return changes, err
	}
	return changes, r.applier.established(ctx, items)
}

// failed returns every problem once, or only the context's end where that is
// what caused them.
func failed(ctx context.Context, problems []error) error {
	if len(problems) > 0 && ctx.Err() != nil {
		return &fault.Error{Op: "applying the stack", Err: ctx.Err()}
	}
	return errors.Join(problems...)
}

// one applies one item, where there is something to do.
func (r *run) one(ctx context.Context, item *item) (Member, Change, error) {
	if item.change == Unchanged {
		return item.member, Unchanged, nil
	}
	if item.live.deleting {
		if err := r.applier.gone(ctx, item.object); err != nil {
			return Member{}, "", err
		}
		item.live = live{}
	}
	before := item.live
	result, created, err := r.way.put(ctx, item)
	if err != nil {
		return Member{}, "", refused(item.object, err)
	}
	if item.change == Unchanged {
		return item.member, Unchanged, nil // it came to be as planned meanwhile
	}
	owned, applied, err := ownership(result.GetManagedFields(), item.manager)
	if err != nil {
		return Member{}, "", fmt.Errorf("%s: %w", item.object, err)
	}
	change := Configured
	switch {
	case created:
		change = Created
	case result.GetResourceVersion() == item.live.resourceVersion:
		change = Unchanged
	case item.member.Desired == "" && owned == before.owned && applied.Equal(&before.applied):
		change = Unchanged // a controller wrote to it meanwhile, kfdev did not
	}
	return Member{Object: item.object, UID: result.GetUID(), Desired: item.desired, Owned: owned}, change, nil
}

// freely is the way of Apply: what came after the look is taken as it is, but
// for an object that another set has.
type freely struct{ applier *Applier }

func (freely) review(context.Context, []*item) error { return nil }

func (f freely) put(ctx context.Context, i *item) (*unstructured.Unstructured, bool, error) {
	if i.live.found {
		return f.applier.send(ctx, i, terms{})
	}
	o, created, err := f.applier.send(ctx, i, unlessThere())
	if !apierrors.IsConflict(err) {
		return o, created, err
	}
	found, err := f.applier.metadata(ctx, i.object) // somebody was quicker
	if err != nil {
		return nil, false, err
	}
	if found != nil {
		i.live.fill(found, i.manager)
	}
	if err := i.others(); err != nil {
		return nil, false, err
	}
	return f.applier.send(ctx, i, terms{})
}

func (f freely) drop(ctx context.Context, g gone) error { return f.applier.delete(ctx, g, "") }

func (f freely) record(ctx context.Context, i Inventory, version string) (string, error) {
	return f.applier.record(ctx, i, version)
}

func (f freely) forget(ctx context.Context, set string, only parent) error {
	return f.applier.forget(ctx, set, only)
}
