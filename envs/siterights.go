package envs

import (
	"context"
	"slices"

	"github.com/kfdev/kfdev/stack/apply"
)

// permitted proposes everything before anything is written, so that every right
// that is lacking is told while nothing has happened yet. What else is in the way
// of a set is told when its turn comes: sets before it may mend that.
func (p *promotion) permitted(ctx context.Context) error {
	var plans []apply.Planned
	for _, each := range p.parts {
		set, _, err := p.setNow(ctx, each)
		if err != nil {
			return err
		}
		proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
		if err != nil {
			return err
		}
		plans = append(plans, apply.Planned{Set: set, Proposal: proposal})
	}
	removed, err := p.planRemoved(ctx)
	if err != nil {
		return err
	}
	plans = append(plans, removed...)
	missing, err := p.live.applier.Rights(ctx, plans, p.proving()...)
	if err != nil {
		return err
	}
	return apply.Refuse(missing)
}

// proving are the rights that the smoke tests need: those of profiles ask as
// other users.
func (p *promotion) proving() []apply.Missing {
	asks := func(each part) bool { return each.Name == profilesPart || each.Name == profileController }
	if !slices.ContainsFunc(p.parts, asks) {
		return nil
	}
	return []apply.Missing{{Verb: "impersonate", Resource: "users", Why: "to prove that profiles hold"}}
}
