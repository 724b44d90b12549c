package envs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
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
	// Plan is a plan that was made before: exactly that is done, or refused. It
	// says itself which release it is for, and which fields are taken: Release and
	// Force add nothing to it.
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

// StepTook is how long a step took that was done: what comes before the first
// write (checked), the lease, and those of the journal.
type StepTook struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"` // nanoseconds
}

func (r *Promoted) took(name string, since time.Time) {
	r.Steps = append(r.Steps, StepTook{Name: name, Took: time.Since(since)})
}

// Promote takes a release to an environment: images by digest, a pull proven
// from a node, the objects in stages, the smoke tests, the record. What is in
// the way of it (a lock that is not the project's, an entry that has expired, an
// environment before it that has not this very release, verified and without
// drift) is a fault of kind Gate. It can be repeated, and goes on where it
// was cut off.
func (e *Engine) Promote(ctx context.Context, environment string, o PromoteOptions) (result Promoted, err error) {
	start := time.Now()
	if err := o.take(environment); err != nil {
		return result, err
	}
	var lockChecked func() (closed, failed error)
	if o.Release == "" {
		checking, cancel := context.WithCancel(ctx)
		lockChecked = e.checkLock(checking)
		defer func() { cancel(); _, _ = lockChecked() }() // it is over when this is
	}
	m, err := e.promotable(ctx, environment, o.Release)
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
	p := &promotion{Engine: e, site: s, made: m, options: o, writes: true, lockChecked: lockChecked}
	if err := p.ours(ctx); err != nil {
		return result, err
	}
	if err := p.checked(ctx); err != nil {
		return result, err
	}
	result = Promoted{Project: p.Project, Environment: environment, Release: p.digest(), Changes: map[string]apply.ChangeSet{}, Tests: []Tested{}, Steps: []StepTook{}}
	defer func() { result.Took = time.Since(start) }()
	result.took("checked", start)
	taking := time.Now()
	lease, err := s.ledger.Acquire(ctx, holder(), e.leaseFor())
	if err != nil {
		return result, err
	}
	result.took("lease taken", taking)
	ctx, cancel := lease.Context(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	if err = p.run(ctx, lease, &result); err != nil && p.begun {
		failed := err
		_, noted := lease.Update(context.WithoutCancel(ctx), func(l *ledger.Ledger) error {
			l.Fail(p.digest(), failed.Error(), time.Now())
			return nil
		})
		err = errors.Join(err, noted)
	}
	return result, err
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
	if err := p.belongs(before); err != nil {
		return err
	}
	if before.InForce != nil {
		result.Before = before.InForce.Release
	}
	start := time.Now()
	if !p.foresaw(before) {
		if err := p.prepare(ctx, before); err != nil {
			return err
		}
		if err := p.findKey(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(p.secretsReady(ctx), p.checkPlan(ctx), p.prunesByPlan(ctx), p.permitted(ctx, before)); err != nil {
		return err
	}
	result.took("looked at", start)
	if _, err := lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Project = p.Project
		l.Begin(ledger.Entry{Release: p.digest(), Lock: p.LockDigest, Repository: p.repository(), By: holder(), At: time.Now()})
		return nil
	}); err != nil {
		return err
	}
	p.begun = true
	if err := p.keepKey(ctx, lease); err != nil {
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
		result.took(string(step.name), start)
	}
	if _, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Finish(time.Now())
		return nil
	}); err != nil {
		return err
	}
	// The promotion is complete, whether this checkout can be written to or not.
	if err := p.rememberCluster(p.site); err != nil {
		progress.Warn(p.sink, err.Error()+"; "+strings.Join(fault.Hint(err), "; "))
	}
	return nil
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
	var refs []images.Ref
	for _, i := range p.lock.Images {
		refs = append(refs, i.Ref())
	}
	copier := images.Copier{From: p.nearby(r.target), To: r.target, Sink: p.sink, Task: "promote/images", Referrers: true}
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
	if err := p.ensureSecrets(ctx, lease, result, nil); err != nil {
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
	if err := p.rememberProfiles(ctx, lease); err != nil {
		return err
	}
	_, err := lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Enforce(time.Now())
		return nil
	})
	return err
}

func (p *promotion) applyPart(ctx context.Context, lease *ledger.Lease, each part) (apply.ChangeSet, error) {
	if changes, ok := p.idly(each.Name); ok {
		return changes, p.live.Ready(ctx, each)
	}
	return p.carryPart(ctx, lease, each)
}

func (p *promotion) carryPart(ctx context.Context, lease *ledger.Lease, each part) (apply.ChangeSet, error) {
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
	p.written(changes)
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
