package envs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/stack/apply"
)

func (r *upRun) observePart(ctx context.Context, p part) (plan.Work, error) {
	if r.live == nil {
		return plan.Todo("apply %d objects", len(p.rendered.Objects)), nil
	}
	changes, err := r.live.Plan(ctx, p)
	if err != nil {
		return plan.Work{}, err
	}
	if changes.Changed() {
		return plan.Todo("%s", counts(changes)), nil
	}
	ready, why, err := r.live.Current(ctx, p)
	if err != nil {
		return plan.Work{}, err
	}
	if !ready {
		return plan.Todo("wait until it is ready: %s", why), nil
	}
	return plan.Nothing("%d objects unchanged, ready", len(changes)), nil
}

func (r *upRun) applyPart(ctx context.Context, p part) (string, error) {
	changes, err := r.live.Apply(ctx, p)
	if err != nil {
		return "", err
	}
	if err := r.live.Ready(ctx, p); err != nil {
		return "", err
	}
	return counts(changes) + ", ready", nil
}

func (r *upRun) observePolicy(ctx context.Context) (plan.Work, error) {
	p, err := r.policy()
	if err != nil {
		return plan.Work{}, err
	}
	return r.observePart(ctx, p)
}

func (r *upRun) applyPolicy(ctx context.Context) (string, error) {
	p, err := r.policy()
	if err != nil {
		return "", err
	}
	return r.applyPart(ctx, p)
}

// removed are the components that the cluster holds and the project does not.
// Of a cluster that does not run yet the record tells.
func (r *upRun) removed(ctx context.Context) ([]string, error) {
	names, err := r.held(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return name == policySet && r.policy != nil || slices.ContainsFunc(r.settled.parts, func(p part) bool { return p.Name == name })
	}), nil
}

func (r *upRun) held(ctx context.Context) ([]string, error) {
	if r.live != nil {
		return r.live.Sets(ctx)
	}
	record, err := r.records.Load()
	var names []string
	for _, c := range record.Components {
		names = append(names, c.Name)
	}
	return names, err
}

func (r *upRun) observeRemoved(ctx context.Context) (plan.Work, error) {
	names, err := r.removed(ctx)
	if err != nil {
		return plan.Work{}, err
	}
	if len(names) == 0 {
		return plan.Nothing("none"), nil
	}
	return plan.Todo("remove %s, which the project no longer has", strings.Join(names, ", ")), nil
}

func (r *upRun) prune(ctx context.Context) (string, error) {
	names, err := r.removed(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	for _, name := range names {
		changes, err := r.live.Remove(ctx, name)
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s: %s", name, counts(changes)))
	}
	return strings.Join(said, "; "), nil
}

// wanted is the record of a stack that is up whole.
func (r *upRun) wanted(before state.Record) state.Record {
	after := before
	after.Cluster = state.Cluster{Name: r.cluster.Name, Context: cluster.ContextName(r.settled.file.Metadata.Name), APIPort: portOf(r.cluster.Server)}
	if len(r.cluster.Nodes) > 0 {
		after.Cluster.Node = r.cluster.Nodes[0].ID
	}
	after.Registry = state.Registry{Container: r.registry.ID, Port: int(r.registry.Addr.Port())}
	after.Lock = r.settled.digest.String()
	after.Components = nil
	for _, c := range r.settled.lock.Components {
		after.Components = append(after.Components, state.Component{Name: c.Name, Rendered: c.Rendered.String()})
	}
	return after
}

func (r *upRun) observeRecord(context.Context) (plan.Work, error) {
	before, err := r.records.Load()
	if err != nil {
		return plan.Work{}, err
	}
	if r.live != nil && sameRecord(before, r.wanted(before)) {
		return plan.Nothing("is up to date"), nil
	}
	return plan.Todo("remember what is up"), nil
}

func (r *upRun) record(context.Context) (string, error) {
	before, err := r.records.Load()
	if err != nil {
		return "", err
	}
	after := r.wanted(before)
	return "remembered", r.records.Save(after)
}

func counts(c apply.ChangeSet) string {
	var parts []string
	for _, change := range []apply.Change{apply.Created, apply.Configured, apply.Deleted, apply.Skipped, apply.Unchanged} {
		if n := c.Count(change); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, change))
		}
	}
	if len(parts) == 0 {
		return "no objects"
	}
	return strings.Join(parts, ", ")
}
