package drift

import (
	"context"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// Needs are the rights that Settle takes: to see all that is in the
// environment's namespaces, for what can't be read is unknown, and to record
// the baseline.
func (d *Detector) Needs(ctx context.Context, wanted Wanted) ([]apply.Missing, error) {
	wants, err := d.prepare(ctx, wanted)
	if err != nil {
		return nil, err
	}
	kinds, err := d.client.Mapper.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	needs := BaselineNeeds()
	spaces := (&scan{wants: wants}).namespaces()
	for _, m := range kinds {
		if !d.looksThrough(m) {
			continue
		}
		for _, space := range spaces {
			needs = append(needs, apply.Need("to see drift", "list", m.Resource.GroupResource().String(), space)...)
		}
	}
	return needs, nil
}

// BaselineNeeds are the rights to record a baseline.
func BaselineNeeds() []apply.Missing {
	return apply.Need("for the baseline of drift", "list create patch delete", configMaps().Resource, apply.SystemNamespace)
}

// looksThrough reports whether a kind is looked through for what the release
// does not have.
func (d *Detector) looksThrough(m kube.Mapping) bool {
	return m.Namespaced && m.List && !d.rules.Ignores(m.Kind.Group, m.Kind.Kind)
}

// Planned are the steps of a plan, for their rights to be asked for.
func (p Plan) Planned(wanted Wanted) []apply.Planned {
	planned := make([]apply.Planned, 0, len(wanted.Sets)+1)
	for _, set := range wanted.Sets { // a role is bound to in one set, and made in another
		planned = append(planned, apply.Planned{Set: set, Mends: true})
	}
	steps := apply.Planned{Mends: true}
	for _, s := range p.Steps {
		steps.Proposal.Objects = append(steps.Proposal.Objects, s.proposed())
	}
	return append(planned, steps)
}

func (s Step) proposed() apply.Proposed {
	o := apply.Proposed{Object: s.Object, Change: apply.Configured}
	switch s.Action {
	case Create:
		o.Change = apply.Created
	case Delete:
		o.Change = apply.Deleted
	case Mend:
	}
	for _, paths := range [][]string{s.Put, s.Remove} {
		for _, path := range paths {
			o.Fields = append(o.Fields, apply.FieldChange{Path: path})
		}
	}
	return o
}
