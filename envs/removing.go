package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// leavingSets are the components that the cluster has and the release has not,
// as sets that are to go.
func (p *promotion) leavingSets(ctx context.Context) ([]apply.Set, error) {
	known, err := p.live.Sets(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(known)
	if !slices.Contains(names, profilesPart) {
		names = append(names, profilesPart) // teams that have left may have left namespaces behind
	}
	var sets []apply.Set
	for _, name := range names {
		if slices.ContainsFunc(p.parts, func(each part) bool { return each.Name == name }) {
			continue
		}
		set := apply.Set{Name: name, Leaves: true, Beside: besides(p.parts)}
		if set.Delete, err = p.leaving(ctx, set); err != nil {
			return nil, err
		}
		if name == profilesPart && len(set.Delete) == 0 && !slices.Contains(known, name) {
			continue
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// planRemoved says what would become of components that the release has not,
// object by object.
func (p *promotion) planRemoved(ctx context.Context) ([]apply.Planned, error) {
	sets, err := p.leavingSets(ctx)
	if err != nil {
		return nil, err
	}
	var removed []apply.Planned
	for _, set := range sets {
		proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing})
		if err != nil {
			return nil, err
		}
		removed = append(removed, apply.Planned{Set: set, Proposal: proposal})
	}
	return removed, nil
}

// removeSets takes out what the release has not: of a plan that was made before
// exactly what that says.
func (p *promotion) removeSets(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	removed, err := p.planRemoved(ctx)
	if err != nil {
		return err
	}
	for _, r := range removed {
		if p.options.Plan != nil {
			at := slices.IndexFunc(p.options.Plan.Removed, func(o apply.Proposal) bool { return o.Set == r.Set.Name })
			if at < 0 {
				return unplannedRemoval(r.Set.Name)
			}
			r.Proposal = completed(p.options.Plan.Removed[at], r.Proposal, p.options.Plan.Key != "")
		}
		if result.Changes[r.Set.Name], err = p.live.applier.Carry(ctx, r.Set, r.Proposal, apply.CarryOptions{Seeing: p.seeing, Fence: lease.Fence}); err != nil {
			return err
		}
	}
	return nil
}

func unplannedRemoval(name string) error {
	return &fault.Error{Op: "carrying out the plan", Subject: name, Kind: fault.Gate,
		Err: errors.New("the component is to be removed, and the plan does not have that"), Hint: "plan again"}
}

// otherRemovals names what is to be removed now and was not when a plan was made,
// or the other way round, object by object.
func otherRemovals(planned, now []apply.Proposal, keyed bool) []error {
	var all []error
	left := slices.Clone(now)
	for _, was := range planned {
		at := slices.IndexFunc(left, func(o apply.Proposal) bool { return o.Set == was.Set })
		if at < 0 {
			all = append(all, fmt.Errorf("%s: it was to be removed, and there is nothing of it any more to remove", was.Set))
			continue
		}
		all = append(all, differing(completed(was, left[at], keyed), left[at])...)
		left = slices.Delete(left, at, at+1)
	}
	for _, more := range left {
		all = append(all, unplannedRemoval(more.Set))
		all = append(all, differing(apply.Proposal{}, more)...)
	}
	return all
}
