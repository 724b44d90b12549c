package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	if err := p.readable(p.options.Plan); err != nil {
		return err
	}
	keyed := p.options.Plan.Key != ""
	now, err := p.look(ctx)
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
		set.Proposal = completed(set.Proposal, now.Sets[i].Proposal, keyed)
		other = append(other, differing(set.Proposal, now.Sets[i].Proposal)...)
		p.planned[set.Set] = set
	}
	other = append(other, otherRemovals(p.options.Plan.Removed, now.Removed, keyed)...)
	other = append(other, otherSecrets(p.options.Plan.Secrets, now.Secrets, keyed)...)
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
		case o.Unchecked != "" && n.UID == o.UID && n.Before == o.Before && (n.Change == o.Change || n.Change == apply.Unchanged):
			// What it would become the plan could not know: it is still what it was.
			// A field that somebody holds is refused with all others.
		case !apply.SameConflicts(n.Conflicts, o.Conflicts):
			all = append(all, fmt.Errorf("%s: other managers hold its fields than in the plan (then: %s; now: %s)", o.Object, holders(o.Conflicts), holders(n.Conflicts)))
		case n.Change != o.Change || n.UID != o.UID || n.Before != o.Before || n.After != o.After:
			all = append(all, fmt.Errorf("%s: it was to be %s, and it is not any more what the plan saw (now: %s)", o.Object, o.Change, n.Change))
		}
	}
	for o := range of {
		all = append(all, fmt.Errorf("%s: the plan does not have it", o))
	}
	return all
}

// holders names the fields that conflict and who holds them.
func holders(conflicts []apply.Conflict) string {
	var all []string
	for _, c := range conflicts {
		all = append(all, c.Manager+" holds "+c.Field)
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// force says which fields are taken: what a plan that was made before says, and
// else what is asked for.
func (p *promotion) force(o apply.Object, c apply.Conflict) bool {
	if p.options.Plan != nil {
		return p.options.Plan.takes(o, c)
	}
	return slices.Contains(p.options.Force, c.Manager) || slices.Contains(p.options.Force, o.String())
}

// takes reports whether a line of the plan says that the field is taken.
func (p *SitePlan) takes(o apply.Object, c apply.Conflict) bool {
	for _, set := range p.Sets {
		for _, line := range set.Objects {
			if line.Object == o && slices.ContainsFunc(line.Conflicts, func(l apply.Conflict) bool {
				return l.Force && l.Field == c.Field && l.Manager == c.Manager
			}) {
				return true
			}
		}
	}
	return false
}

// proposal is what is carried out: a plan's, where there is one. A plan that was
// made before the set's certificates were could not know them; nor what sets
// before have written into a namespace that they share with this one.
func (p *promotion) proposal(ctx context.Context, set apply.Set, seeded apply.ChangeSet) (apply.Proposal, error) {
	planned, ok := p.planned[set.Name]
	ok = ok && !seeded.Changed() && !p.opens(set)
	if ok && !slices.ContainsFunc(planned.Objects, p.shared) {
		return planned.Proposal, p.refused(planned.Proposal)
	}
	proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
	if err == nil && ok {
		proposal = p.renewed(planned.Proposal, proposal)
	}
	if err == nil {
		err = p.refused(proposal)
	}
	return proposal, err
}

// shared reports whether a line is of a namespace that a set before has written.
func (p *promotion) shared(o apply.Proposed) bool { return slices.Contains(p.wrote, o.Object) }

// renewed is a planned proposal with such lines as they are now.
func (p *promotion) renewed(planned, now apply.Proposal) apply.Proposal {
	planned.Objects = slices.Clone(planned.Objects)
	for i, o := range planned.Objects {
		n := slices.IndexFunc(now.Objects, func(n apply.Proposed) bool { return n.Object == o.Object })
		if n >= 0 && p.shared(o) {
			planned.Objects[i] = now.Objects[n]
		}
	}
	return planned
}

// written notes the namespaces that a set has written.
func (p *promotion) written(changes apply.ChangeSet) {
	for _, c := range changes {
		if c.Object.Kind == "Namespace" && c.Object.APIVersion == "v1" && c.Change != apply.Unchanged {
			p.wrote = append(p.wrote, c.Object)
		}
	}
}
