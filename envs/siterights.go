package envs

import (
	"context"

	"github.com/kfdev/kfdev/stack/apply"
)

// permitted proposes everything before anything is written, so that every right
// that is lacking is told while nothing has happened yet. What else is in the way
// of a set is told when its turn comes: sets before it may mend that.
func (p *promotion) permitted(ctx context.Context) error {
	plans, needs, err := p.foreseen(ctx)
	if err != nil {
		return err
	}
	missing, err := p.live.applier.Rights(ctx, plans, append(needs, p.keeping()...)...)
	if err != nil {
		return err
	}
	return apply.Refuse(missing)
}

// foreseen is what would be done for each set, and what putting in place what
// it needs takes.
func (p *promotion) foreseen(ctx context.Context) (plans []apply.Planned, needs []apply.Missing, err error) {
	for _, each := range p.parts {
		set, seeded, err := p.setNow(ctx, each)
		if err != nil {
			return nil, nil, err
		}
		proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
		if err != nil {
			return nil, nil, err
		}
		plans = append(plans, apply.Planned{Set: set, Proposal: proposal})
		for _, change := range seeded.Changes {
			needs = append(needs, secretNeeds(change.Object.Namespace, change.Change)...)
		}
	}
	return plans, needs, nil
}
