package envs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/stack/apply"
)

// leaseDuration is how long a promoter that says nothing more keeps others waiting.
const leaseDuration = 30 * time.Second

func (e *Engine) leaseFor() time.Duration {
	if e.world.Lease != 0 {
		return e.world.Lease
	}
	return leaseDuration
}

// PromoteOptions say what is promoted.
type PromoteOptions struct {
	PlanOptions
	// Plan is a plan that was made before: exactly that is done, or refused.
	Plan *SitePlan
}

// Promoted is what a promotion did.
type Promoted struct {
	Project     string                     `json:"project"`
	Environment string                     `json:"environment"`
	Release     string                     `json:"release"`
	Before      string                     `json:"before,omitempty"` // the release that was in force
	Copied      images.Copied              `json:"copied"`
	Changes     map[string]apply.ChangeSet `json:"changes"` // by component
	Tests       []Tested                   `json:"tests"`
	Steps       []StepTook                 `json:"steps"` // in order
	Took        time.Duration              `json:"took"`  // nanoseconds
}

// StepTook is how long a step took that was done.
type StepTook struct {
	Name ledger.StepName `json:"name"`
	Took time.Duration   `json:"took"` // nanoseconds
}

// Promote takes a release to an environment: images by digest, a pull proven
// from a node, the objects in stages, the smoke tests, the record. What is in
// the way of it (a lock that is not the project's, an entry that has expired, an
// environment before it that has not this very release, verified and without
// drift) is a fault of kind Gate. It can be repeated, and goes on where it
// was cut off.
func (e *Engine) Promote(ctx context.Context, environment string, o PromoteOptions) (result Promoted, err error) {
	start := time.Now()
	if o.Plan != nil {
		if o.Plan.Environment != environment {
			return result, planFor(o.Plan, "the environment is "+environment)
		}
		o.Release = o.Plan.Release
	}
	m, err := e.plannedRelease(ctx, environment, o)
	if err != nil {
		return result, err
	}
	if o.Plan != nil && o.Plan.Release != m.digest() {
		return result, planFor(o.Plan, "the project makes "+m.digest())
	}
	s, err := e.site(ctx, environment)
	if err != nil {
		return result, err
	}
	defer s.close()
	p := &promotion{Engine: e, site: s, made: m, options: o}
	if err := p.gates(ctx); err != nil {
		return result, err
	}
	result = Promoted{Project: p.Project, Environment: environment, Release: p.digest(), Changes: map[string]apply.ChangeSet{}, Tests: []Tested{}, Steps: []StepTook{}}
	defer func() { result.Took = time.Since(start) }()
	lease, err := s.ledger.Acquire(ctx, holder(), e.leaseFor())
	if err != nil {
		return result, err
	}
	ctx, cancel := lease.Context(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	if err = p.run(ctx, lease, &result); err != nil {
		failed := err
		_, noted := lease.Update(context.WithoutCancel(ctx), func(l *ledger.Ledger) error {
			l.Fail(failed.Error(), time.Now())
			return nil
		})
		err = errors.Join(err, noted)
	}
	return result, err
}

// plannedRelease is the release that is to be promoted: a plan of what the
// project is now needs no registry to find it.
func (e *Engine) plannedRelease(ctx context.Context, environment string, o PromoteOptions) (made, error) {
	if o.Plan == nil {
		return e.chosenRelease(ctx, environment, o.Release)
	}
	if m, err := e.chosenRelease(ctx, environment, ""); err == nil && m.digest() == o.Plan.Release {
		return m, nil
	}
	return e.chosenRelease(ctx, environment, o.Plan.Release)
}

// holder names whoever promotes, for others who wait.
func holder() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine"
	}
	return fmt.Sprintf("%s on %s (process %d)", name, host, os.Getpid())
}

// run promotes, holding the lease.
func (p *promotion) run(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	before, _, err := p.ledger.Read(ctx)
	if err != nil {
		return err
	}
	if before.InForce != nil {
		result.Before = before.InForce.Release
	}
	p.writes = true
	if err := p.prepare(ctx, before); err != nil {
		return err
	}
	if err := errors.Join(p.secretsReady(ctx), p.checkPlan(ctx), p.permitted(ctx)); err != nil {
		return err
	}
	if _, err := lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Begin(ledger.Entry{Release: p.digest(), Lock: p.LockDigest, Repository: p.repository(), By: holder(), At: time.Now()})
		return nil
	}); err != nil {
		return err
	}
	steps := []struct {
		name ledger.StepName
		do   func(context.Context, *ledger.Lease, *Promoted) error
	}{
		{ledger.Copied, p.copyImages}, {ledger.Pulled, p.provePull}, {ledger.Applied, p.applySets}, {ledger.Checked, p.verifySite}, {ledger.Recorded, p.settle},
	}
	for _, step := range steps {
		start := time.Now()
		if err := p.step(ctx, lease, step.name, func(ctx context.Context) error { return step.do(ctx, lease, result) }); err != nil {
			return err
		}
		result.Steps = append(result.Steps, StepTook{Name: step.name, Took: time.Since(start)})
	}
	if err := p.rememberCluster(p.site); err != nil {
		return err
	}
	_, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Finish(time.Now())
		return nil
	})
	return err
}

// step does one step with its place in the journal. Every step is one that may
// be repeated, and looks first.
func (p *promotion) step(ctx context.Context, lease *ledger.Lease, name ledger.StepName, do func(context.Context) error) error {
	write := func(change func(l *ledger.Ledger)) error {
		_, err := lease.Update(ctx, func(l *ledger.Ledger) error { change(l); return nil })
		return err
	}
	if err := write(func(l *ledger.Ledger) { l.Start(name, "", time.Now()) }); err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	return write(func(l *ledger.Ledger) { l.End(name, "", "", time.Now()) })
}

func (p *promotion) repository() string {
	return p.file.Environments.Others[p.name].Registry.Pull + "/" + release.Repository(p.Project)
}

// copyImages brings every image of the lock and the release itself into the
// environment's registry, and has them kept there.
func (p *promotion) copyImages(ctx context.Context, _ *ledger.Lease, result *Promoted) error {
	r, err := p.siteRegistry(p.name, p.repositories())
	if err != nil {
		return err
	}
	from, err := p.origin(ctx, p.lock, p.lock.Images)
	if err != nil {
		return err
	}
	var refs []images.Ref
	for _, i := range p.lock.Images {
		refs = append(refs, i.Ref())
	}
	copier := images.Copier{From: from, To: r.target, Sink: p.sink, Task: "promote/images", Referrers: true}
	if result.Copied, err = copier.Copy(ctx, refs...); err != nil {
		return err
	}
	for _, ref := range refs {
		if err := r.target.Keep(ctx, ref); err != nil {
			return err
		}
	}
	return p.publish(ctx, r, p.sink, "promote/release")
}

// applySets brings the objects in, each set after what it requires, and takes
// out what the release has not.
func (p *promotion) applySets(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	if err := p.ensureSecrets(ctx, lease, result); err != nil {
		return err
	}
	if err := p.lendPullSecret(ctx, lease, result); err != nil {
		return err
	}
	for _, each := range p.parts {
		changes, err := p.applyPart(ctx, lease, each)
		result.Changes[each.Name] = changes
		if err != nil {
			return err
		}
	}
	for _, each := range p.handing { // what they held is the others' by now
		if _, err := p.applyPart(ctx, lease, each); err != nil {
			return err
		}
	}
	if err := p.proveDenial(ctx); err != nil {
		return err
	}
	if err := p.removeSets(ctx, lease, result); err != nil {
		return err
	}
	_, err := lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Enforce(time.Now())
		return nil
	})
	return err
}

func (p *promotion) applyPart(ctx context.Context, lease *ledger.Lease, each part) (apply.ChangeSet, error) {
	if err := lease.Fence(ctx); err != nil {
		return nil, err
	}
	seeded, err := p.live.seeder.Fenced(lease.Fence).Ensure(ctx, each.Component)
	if err != nil {
		return nil, err
	}
	set, err := p.setOf(ctx, each, seeded.Authorities)
	if err != nil {
		return seeded.Changes, err
	}
	proposal, err := p.proposal(ctx, set, seeded.Changes)
	if err != nil {
		return seeded.Changes, err
	}
	missing, err := p.live.applier.Rights(ctx, []apply.Planned{{Set: set, Proposal: proposal}})
	if err == nil {
		err = apply.Refuse(missing)
	}
	if err != nil {
		return seeded.Changes, err
	}
	changes, err := p.live.applier.Carry(ctx, set, proposal, apply.CarryOptions{Seeing: p.seeing, Fence: lease.Fence})
	changes = append(seeded.Changes, changes...)
	if err != nil {
		return changes, err
	}
	if proposal.HandsOver() {
		p.handing = append(p.handing, each)
	}
	return changes, p.live.Ready(ctx, each)
}

// Sorted are the names of the components that changed.
func (r Promoted) Sorted() []string {
	names := make([]string, 0, len(r.Changes))
	for name := range r.Changes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
