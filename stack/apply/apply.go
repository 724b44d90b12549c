// Package apply brings a set of objects into a cluster: server-side, in stages,
// several at once, never taking a field from another owner. What a set holds is
// recorded in the cluster before it is applied, so that it can be pruned, and
// so that a second apply of the same objects writes nothing.
package apply

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

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
	// Leaves says that the set itself is to go, and its inventory with it.
	Leaves bool
	// Beside are all sets that are brought in together. What one of them has in
	// the cluster and no longer among its objects, another may take over.
	Beside []Set
}

// task is what is told of bringing the set in, or taking it out.
func (s Set) task(sink progress.Sink) *progress.Task {
	if s.Leaves {
		return progress.Start(sink, "stack/"+s.Name+"/remove", "removing "+s.Name, 0, progress.Items)
	}
	return progress.Start(sink, "stack/"+s.Name+"/apply", "applying "+s.Name, int64(len(s.Objects)), progress.Items)
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
	problems := work.denied()
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
	task := set.task(a.sink)
	defer func() { task.End(err) }()
	work, err := a.examine(ctx, set)
	if err != nil {
		return nil, err
	}
	r := &run{applier: a, set: set, work: work, way: freely{a}, task: task}
	return r.all(ctx)
}
