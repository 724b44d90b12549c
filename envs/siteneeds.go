package envs

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/suite"
)

// checked is all that is looked at before anything is written: the gates, and
// the rights. What closes a gate is told first.
func (p *promotion) checked(ctx context.Context) error {
	var closed, lacking error
	var group errgroup.Group
	group.Go(func() error { closed = p.gates(ctx); return nil })
	group.Go(func() error { lacking = p.mayBegin(ctx); return nil })
	_ = group.Wait() // each has its own error
	if closed != nil {
		return closed
	}
	return lacking
}

// mayBegin asks for every right that the promotion takes before anything at all
// is written, the lease that it will hold among it: its own, and those of its
// sets as they are now. Those are asked for again where another promotion ended
// before the lease was taken.
func (p *promotion) mayBegin(ctx context.Context) error {
	needs, err := p.needs()
	if err != nil {
		return err
	}
	plans, more, unseen := p.lookAhead(ctx)
	missing, err := p.live.applier.Rights(ctx, plans, append(needs, more...)...)
	if err != nil {
		return err
	}
	if err := apply.Refuse(missing); err != nil {
		return err // it is also why something could not be seen
	}
	p.ahead.plans, p.ahead.whole = plans, unseen == nil
	switch {
	case fault.KindOf(unseen) == fault.Preflight:
		return unseen // a Secret that has to be there is not
	case apierrors.IsForbidden(unseen):
		return &fault.Error{Op: "checking the rights", Kind: fault.Preflight, Err: unseen}
	}
	return nil // another promotion may be at work; what is wrong still is told once the lease is held
}

// lookAhead is what is known only by looking at the cluster.
func (p *promotion) lookAhead(ctx context.Context) ([]apply.Planned, []apply.Missing, error) {
	needs, err := policy.Needs(ctx, p.live.client)
	if err != nil {
		return nil, needs, err
	}
	l, _, err := p.ledger.Read(ctx)
	if err != nil {
		return nil, needs, err
	}
	p.ahead.epoch = l.Epoch
	if err := p.findKey(ctx); err != nil {
		return nil, needs, err
	}
	needs = append(needs, p.keeping()...)
	if err := p.prepare(ctx, l); err != nil {
		return nil, needs, err
	}
	plans, more, err := p.foreseen(ctx)
	needs = append(needs, more...)
	if err != nil {
		return plans, needs, err
	}
	rules, err := p.noise()
	if err != nil {
		return plans, needs, err
	}
	wanted := drift.Wanted{Profiles: profilesPart}
	for _, each := range plans {
		wanted.Sets = append(wanted.Sets, each.Set)
	}
	more, err = drift.New(p.live.client, rules, p.sink).Needs(ctx, wanted)
	needs = append(needs, more...)
	if err != nil {
		return plans, needs, err
	}
	secrets, err := p.planSecrets(ctx)
	for _, s := range secrets {
		needs = append(needs, secretNeeds(s.Namespace, s.Change)...)
	}
	return plans, needs, err
}

// needs are the rights that the promotion takes for itself, whatever its sets
// are now.
func (p *promotion) needs() ([]apply.Missing, error) {
	parts, err := p.made.parts(p.name)
	if err != nil {
		return nil, err
	}
	tests, err := smokeNeeds(parts, p.lent())
	if err != nil {
		return nil, err
	}
	namespaces := namespacesOf(parts)
	return slices.Concat(holdingNeeds(), p.pullNeeds(namespaces), p.lendingNeeds(namespaces), tests), nil
}

// holdingNeeds are the rights to hold an environment's lease and to write down
// what becomes of it, in kfdev's own namespace.
func holdingNeeds() []apply.Missing {
	return slices.Concat(
		[]apply.Missing{{Verb: "get", Path: "/api", Why: "to see what is served"}, {Verb: "get", Path: "/apis", Why: "to see what is served"}},
		apply.Need("for kfdev's own namespace", "get create", "namespaces", ""),
		apply.Need("for the lease of whoever promotes", "get list watch create update", "leases.coordination.k8s.io", apply.SystemNamespace),
		apply.Need("for what the environment remembers", "get create update", "configmaps", apply.SystemNamespace),
	)
}

// pullNeeds are the rights to have a node pull, and to see that a foreign image
// is denied.
func (p *promotion) pullNeeds(namespaces []string) []apply.Missing {
	var needs []apply.Missing
	if _, any := smallestOf(p.lock); any {
		in := apply.SystemNamespace
		if secret := p.file.Environments.Others[p.name].Registry.PullSecret; secret != nil {
			in = secret.Namespace
		}
		needs = apply.Need("to have a node pull", "list watch create delete", "pods", in)
	}
	if len(namespaces) > 0 {
		needs = append(needs, apply.Need("to see that a foreign image is denied", "create", "pods", namespaces[0])...)
	}
	return needs
}

// lendingNeeds are the rights to lend the pull secret: which accounts there will
// be, and whether it was renewed, is seen when it is lent.
func (p *promotion) lendingNeeds(namespaces []string) []apply.Missing {
	from := p.file.Environments.Others[p.name].Registry.PullSecret
	if from == nil {
		return nil
	}
	const why = "to lend the pull secret"
	needs := apply.Need(why, "get", "secrets", from.Namespace)
	for _, namespace := range namespaces {
		if namespace != from.Namespace {
			needs = append(needs, apply.Need(why, "get create patch", "secrets", namespace)...)
		}
		needs = append(needs, apply.Need(why, "list watch patch", "serviceaccounts", namespace)...)
	}
	return needs
}

// secretNeeds are the rights to put a Secret in place.
func secretNeeds(namespace string, change apply.Change) []apply.Missing {
	verbs := "get"
	switch change {
	case apply.Created:
		verbs = "get create"
	case apply.Configured:
		verbs = "get patch"
	case apply.Unchanged, apply.Deleted, apply.Skipped:
	}
	return apply.Need("for the Secrets of the environment", verbs, "secrets", namespace)
}

// smokeNeeds are the rights that the smoke tests say they take.
func smokeNeeds(parts []part, pull smoke.PullSecret) ([]apply.Missing, error) {
	var needs []apply.Missing
	for _, each := range parts {
		more, err := suite.Needs(each.Component, pull)
		if err != nil {
			return nil, err
		}
		needs = append(needs, more...)
	}
	return needs, nil
}

// mayMend asks for every right that mending takes.
func (s *site) mayMend(ctx context.Context, wanted drift.Wanted, plan drift.Plan) error {
	needs := append(holdingNeeds(), drift.BaselineNeeds()...)
	missing, err := s.live.applier.Rights(ctx, plan.Planned(wanted), needs...)
	if err != nil {
		return err
	}
	return apply.Refuse(missing)
}

// mayVerify asks for every right that the smoke tests take, and writing down
// how they ended.
func (p *promotion) mayVerify(ctx context.Context) error {
	parts, err := p.made.parts(p.name)
	if err != nil {
		return err
	}
	tests, err := smokeNeeds(parts, p.lent())
	if err != nil {
		return err
	}
	missing, err := p.live.applier.Rights(ctx, nil, append(holdingNeeds(), tests...)...)
	if err != nil {
		return err
	}
	return apply.Refuse(missing)
}
