package envs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

func planFor(p *SitePlan, is string) error {
	return &fault.Error{
		Op: "reading the plan", Subject: p.Environment, Kind: fault.Gate, Hint: "make a new plan: kfdev plan",
		Err: fmt.Errorf("it is for %s with the release %s, and %s", p.Environment, p.Release, is),
	}
}

// checkPlan holds a plan that was made before against the cluster that this is.
func (p *promotion) checkPlan(ctx context.Context) error {
	if p.options.Plan == nil {
		return nil
	}
	if p.options.Plan.Cluster != p.identity.UID {
		return planFor(p.options.Plan, "this is another cluster: "+p.identity.UID)
	}
	now, err := p.plan(ctx)
	if err != nil {
		return err
	}
	p.planned = map[string]PlannedSet{}
	var other []error
	for i, set := range p.options.Plan.Sets {
		if i >= len(now.Sets) || now.Sets[i].Set != set.Set {
			other = append(other, fmt.Errorf("%s: the components are others", set.Set))
			continue
		}
		other = append(other, differing(set.Proposal, now.Sets[i].Proposal)...)
		p.planned[set.Set] = set
	}
	other = append(other, otherRemovals(p.options.Plan.Removed, now.Removed)...)
	other = append(other, otherSecrets(p.options.Plan.Secrets, now.Secrets)...)
	if len(other) == 0 {
		return nil
	}
	return &fault.Error{Op: "carrying out the plan", Subject: p.name, Kind: fault.Gate, Err: errors.Join(other...), Hint: "look at a new plan: kfdev plan " + p.name}
}

// differing names the objects that are not what a plan saw, or would become
// something else.
func differing(planned, now apply.Proposal) []error {
	var all []error
	of := map[apply.Object]apply.Proposed{}
	for _, o := range now.Objects {
		of[o.Object] = o
	}
	for _, o := range planned.Objects {
		n, ok := of[o.Object]
		delete(of, o.Object)
		switch {
		case !ok:
			all = append(all, fmt.Errorf("%s: it is no part of this any more", o.Object))
		case n.Change != o.Change || n.UID != o.UID || n.Before != o.Before || n.After != o.After || !sameJSON(n.Conflicts, o.Conflicts):
			all = append(all, fmt.Errorf("%s: it was to be %s, and it is not any more what the plan saw (now: %s)", o.Object, o.Change, n.Change))
		}
	}
	for o := range of {
		all = append(all, fmt.Errorf("%s: the plan does not have it", o))
	}
	return all
}

func sameJSON(a, b any) bool {
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && string(one) == string(two)
}

// proposal is what is carried out: a plan's, where there is one. A plan that was
// made before the set's certificates were could not know them.
func (p *promotion) proposal(ctx context.Context, set apply.Set, seeded apply.ChangeSet) (apply.Proposal, error) {
	if planned, ok := p.planned[set.Name]; ok && !seeded.Changed() && !p.opens(set) {
		return planned.Proposal, planned.Problems()
	}
	proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
	if err == nil {
		err = proposal.Problems()
	}
	return proposal, err
}
