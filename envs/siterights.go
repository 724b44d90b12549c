package envs

import (
	"context"
	"errors"
	"slices"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// permitted proposes everything before anything is written, so that every right
// that is lacking, every field that somebody else holds and every object that the
// server would refuse is told while nothing has happened yet. What sets before may
// mend is told when its turn comes.
func (p *promotion) permitted(ctx context.Context) error {
	plans, needs, err := p.foreseen(ctx)
	if err != nil {
		return err
	}
	missing, err := p.live.applier.Rights(ctx, plans, append(needs, p.keeping()...)...)
	if err != nil {
		return err
	}
	sets := make([]apply.Proposal, len(plans))
	for i, each := range plans {
		sets[i] = each.Proposal
	}
	return errors.Join(apply.Refuse(missing), p.refused(sets...))
}

// refused is a fault of kind Gate where a set can't be carried out: the server
// would refuse one of its objects, or somebody else holds a field of it.
func (p *promotion) refused(sets ...apply.Proposal) error {
	var problems []error
	hint := ""
	for _, s := range sets {
		problems = append(problems, s.Problems())
		if slices.ContainsFunc(s.Objects, func(o apply.Proposed) bool {
			return slices.ContainsFunc(o.Conflicts, func(c apply.Conflict) bool { return !c.Force })
		}) {
			hint = "fields are taken with --take-from MANAGER, or KIND/NAMESPACE/NAME"
		}
	}
	if err := errors.Join(problems...); err != nil {
		return &fault.Error{Op: "promoting to", Subject: p.name, Kind: fault.Gate, Err: err, Hint: hint}
	}
	return nil
}

// foreseen is what would be done for each set, those that are to go among them,
// and what putting in place what it needs takes.
func (p *promotion) foreseen(ctx context.Context) (plans []apply.Planned, needs []apply.Missing, err error) {
	for _, each := range p.parts {
		planned, seeded, err := p.propose(ctx, each, plans)
		if err != nil {
			return nil, nil, err
		}
		plans = append(plans, planned)
		for _, change := range seeded {
			needs = append(needs, secretNeeds(change.Object.Namespace, change.Change)...)
		}
	}
	removed, err := p.planRemoved(ctx)
	return append(plans, removed...), needs, err
}
