// Package apply brings a set of objects into a cluster: server-side, in stages,
// several at once, never taking a field from another owner. What a set holds is
// recorded in the cluster before it is applied, so that it can be pruned, and
// so that a second apply of the same objects writes nothing.
package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

// Manager is the field manager that kfdev applies as.
const Manager = "kfdev"

// parallel is how many requests of one stage are under way at once.
const parallel = 8

// Set is the objects of one component.
type Set struct {
	Name      string // the component's
	Namespace string // of objects that need one and name none; "default" when empty
	Hash      string // rendered hash, recorded with the inventory
	Objects   []*unstructured.Unstructured
	// Delete names objects that may be pruned though their kind is otherwise
	// kept: namespaces, volumes, kinds.
	Delete []Object
}

// Gate holds webhooks back until the services that they call are served.
type Gate interface {
	// Served returns once every service has an endpoint that is ready.
	Served(ctx context.Context, set string, services []types.NamespacedName) error
}

// Applier applies sets to one cluster. It is safe for concurrent use by sets of
// different names.
type Applier struct {
	client *kube.Client
	gate   Gate
	sink   progress.Sink
}

// New returns an Applier.
func New(client *kube.Client, gate Gate, sink progress.Sink) *Applier {
	return &Applier{client: client, gate: gate, sink: sink}
}

// Plan says what Apply would do, and writes nothing. Objects that would change
// are put to the server as a dry run, so that a conflict shows here too.
func (a *Applier) Plan(ctx context.Context, set Set) (ChangeSet, error) {
	work, err := a.examine(ctx, set)
	if err != nil {
		return nil, err
	}
	var changes ChangeSet
	var problems []error
	for _, item := range work.items {
		change := item.change
		if change == Configured && item.live.found && !item.live.deleting {
			if change, err = a.dryRun(ctx, item); err != nil {
				problems = append(problems, err)
			}
		}
		changes = append(changes, Entry{Object: item.object, Change: change})
	}
	changes = append(changes, work.prunes(set.Delete)...)
	changes.sort()
	return changes, errors.Join(problems...)
}

// Apply brings the set's objects into the cluster and prunes what the set held
// before and holds no more. It stops at the first stage that fails, reports
// everything that failed in it, and can be called again.
func (a *Applier) Apply(ctx context.Context, set Set) (changes ChangeSet, err error) {
	task := progress.Start(a.sink, "stack/"+set.Name+"/apply", "applying "+set.Name, int64(len(set.Objects)), progress.Items)
	defer func() { task.End(err) }()
	work, err := a.examine(ctx, set)
	if err != nil {
		return nil, err
	}
	next, err := a.announce(ctx, set, work)
	if err != nil {
		return nil, err
	}
	for s := range stages {
		items := work.of(s)
		if s == hooks && needsGate(items) {
			if err := a.gate.Served(ctx, set.Name, Services(contents(items))); err != nil {
				return changes, err
			}
		}
		done, err := a.stage(ctx, items, &next, task)
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	pruned, err := a.prune(ctx, work.gone, set.Delete)
	changes = append(changes, pruned...)
	changes.sort()
	if err != nil {
		return changes, err
	}
	next.Hash = set.Hash
	return changes, a.settle(ctx, work, next)
}

// announce records the union of what the set held and will hold.
func (a *Applier) announce(ctx context.Context, set Set, work *work) (Inventory, error) {
	next := Inventory{Version: inventoryVersion, Name: set.Name}
	for _, item := range work.items {
		m := work.inventory.member(item.object.key())
		m.Object = item.object
		next.put(m)
	}
	if !work.changed() {
		return next, nil
	}
	if err := a.ensureSystemNamespace(ctx); err != nil {
		return next, err
	}
	union := Inventory{Version: inventoryVersion, Name: set.Name, Members: append([]Member(nil), next.Members...)}
	for _, m := range work.gone {
		union.put(m.Member)
	}
	return next, a.record(ctx, union)
}

// settle records what the set holds now, where that is not recorded already.
func (a *Applier) settle(ctx context.Context, work *work, next Inventory) error {
	if !work.changed() && work.inventory.Hash == next.Hash {
		return nil
	}
	return a.record(ctx, next)
}

// stage applies the items of one stage, several at once, and puts what the
// server answered into the inventory.
func (a *Applier) stage(ctx context.Context, items []*item, next *Inventory, task *progress.Task) (ChangeSet, error) {
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	var changes ChangeSet
	var problems []error
	for _, item := range items {
		group.Go(func() error {
			member, change, err := a.one(ctx, item)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, err)
				return nil
			}
			next.put(member)
			changes = append(changes, Entry{Object: item.object, Change: change})
			task.Add(1)
			return nil
		})
	}
	_ = group.Wait() // the problems are gathered beside it
	if err := failed(ctx, problems); err != nil {
		return changes, err
	}
	return changes, a.established(ctx, items)
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
func (a *Applier) one(ctx context.Context, item *item) (Member, Change, error) {
	if item.change == Unchanged {
		return item.member, Unchanged, nil
	}
	if item.live.deleting {
		if err := a.gone(ctx, item.object); err != nil {
			return Member{}, "", err
		}
		item.live = live{}
	}
	mapping, err := a.client.Mapper.Mapping(ctx, item.object.GroupVersionKind())
	if err != nil {
		return Member{}, "", refused(item.object, err)
	}
	result, err := a.patch(ctx, mapping, item, false)
	if err != nil {
		return Member{}, "", refused(item.object, err)
	}
	owned, applied, err := ownership(result.GetManagedFields(), item.manager)
	if err != nil {
		return Member{}, "", fmt.Errorf("%s: %w", item.object, err)
	}
	change := Configured
	switch {
	case !item.live.found:
		change = Created
	case result.GetResourceVersion() == item.live.resourceVersion:
		change = Unchanged
	case item.member.Desired == "" && owned == item.live.owned && applied.Equal(&item.live.applied):
		change = Unchanged // a controller wrote to it meanwhile, kfdev did not
	}
	return Member{Object: item.object, UID: result.GetUID(), Desired: item.desired, Owned: owned}, change, nil
}
