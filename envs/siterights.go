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
	var plans []apply.Planned
	var sets []apply.Proposal
	for _, each := range p.parts {
		planned, _, err := p.propose(ctx, each, plans)
		if err != nil {
			return err
		}
		plans, sets = append(plans, planned), append(sets, planned.Proposal)
	}
	missing, err := p.live.applier.Rights(ctx, plans, p.proving()...)
	if err != nil {
		return err
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

// proving are the rights that the smoke tests need: those of profiles ask as
// other users.
func (p *promotion) proving() []apply.Missing {
	asks := func(each part) bool { return each.Name == profilesPart || each.Name == profileController }
	if !slices.ContainsFunc(p.parts, asks) {
		return nil
	}
	return []apply.Missing{{Verb: "impersonate", Resource: "users", Why: "to prove that profiles hold"}}
}
