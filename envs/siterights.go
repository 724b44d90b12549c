package envs

import (
	"context"
	"errors"
	"slices"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// foresight is what was seen before the lease was taken.
type foresight struct {
	plans []apply.Planned
	epoch int64 // of the ledger then
	whole bool  // all could be seen, and all rights are there
	seeds bool  // certificates, or Secrets of random values, are to be made
}

// foresaw reports whether what was seen before the lease was taken is good still:
// nobody else has held it since.
func (p *promotion) foresaw(now ledger.Ledger) bool {
	return p.ahead.whole && now.Epoch == p.ahead.epoch+1
}

// permitted proposes everything before anything is written, so that every right
// that is lacking, every field that somebody else holds and every object that the
// server would refuse is told while nothing has happened yet. What sets before may
// mend is told when its turn comes. What was seen before the lease was taken is
// enough, where it is good still: each write is held to what it is about anyway.
func (p *promotion) permitted(ctx context.Context, now ledger.Ledger) error {
	plans := p.ahead.plans
	if !p.foresaw(now) {
		found, needs, err := p.foreseen(ctx)
		if err != nil {
			return err
		}
		missing, err := p.live.applier.Rights(ctx, found, append(needs, p.keeping()...)...)
		if err != nil {
			return err
		}
		if err := apply.Refuse(missing); err != nil {
			return err
		}
		plans = found
	}
	p.ahead.plans = plans
	sets := make([]apply.Proposal, len(plans))
	p.idle = now.Settled(p.digest()) && !p.ahead.seeds
	for i, each := range plans {
		sets[i] = each.Proposal
		p.idle = p.idle && !each.Proposal.Changed()
	}
	return p.refused(sets...)
}

// idly is what becomes of a set where there is nothing to apply: what was just
// seen under the lease, or before it while nobody else held it.
func (p *promotion) idly(set string) (apply.ChangeSet, bool) {
	at := slices.IndexFunc(p.ahead.plans, func(each apply.Planned) bool { return each.Set.Name == set })
	if !p.idle || at < 0 {
		return nil, false
	}
	changes := apply.ChangeSet{}
	for _, o := range p.ahead.plans[at].Proposal.Objects {
		changes = append(changes, apply.Entry{Object: o.Object, Change: o.Change, Reason: o.Reason})
	}
	return changes, true
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
	plans, seeded, err := p.propose(ctx)
	if err != nil {
		return nil, nil, err
	}
	p.ahead.seeds = slices.ContainsFunc(seeded, apply.ChangeSet.Changed)
	for _, changes := range seeded {
		for _, change := range changes {
			needs = append(needs, secretNeeds(change.Object.Namespace, change.Change)...)
		}
	}
	removed, err := p.planRemoved(ctx)
	return append(plans, removed...), needs, err
}
