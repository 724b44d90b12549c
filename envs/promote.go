package envs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
	"github.com/kfdev/kfdev/stack/policy"
)

// leaseFor is how long a promoter that says nothing more keeps others waiting.
const leaseFor = 30 * time.Second

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
	Took        time.Duration              `json:"took"` // nanoseconds
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
	m, err := e.chosenRelease(ctx, environment, o.releaseOf(e, environment))
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
	result = Promoted{Project: p.Project, Environment: environment, Release: p.digest(), Changes: map[string]apply.ChangeSet{}, Tests: []Tested{}}
	defer func() { result.Took = time.Since(start) }()
	lease, err := s.ledger.Acquire(ctx, holder(), leaseFor)
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

// releaseOf is the digest to look for: a plan of what the project is now needs
// no registry.
func (o PromoteOptions) releaseOf(e *Engine, _ string) string {
	if o.Plan == nil {
		return o.Release
	}
	if s, err := e.settled(context.Background()); err == nil {
		if m, err := e.release(s); err == nil && m.digest() == o.Release {
			return ""
		}
	}
	return o.Release
}

func planFor(p *SitePlan, is string) error {
	return &fault.Error{
		Op: "reading the plan", Subject: p.Environment, Kind: fault.Gate, Hint: "make a new plan: kfdev plan",
		Err: fmt.Errorf("it is for %s with the release %s, and %s", p.Environment, p.Release, is),
	}
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
	if err := p.prepare(ctx, before); err != nil {
		return err
	}
	if err := p.checkPlan(ctx); err != nil {
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
		if err := p.step(ctx, lease, step.name, func(ctx context.Context) error { return step.do(ctx, lease, result) }); err != nil {
			return err
		}
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

// checkPlan holds a plan that was made before against the cluster that this is.
func (p *promotion) checkPlan(ctx context.Context) error {
	if p.options.Plan == nil {
		return nil
	}
	if p.options.Plan.Cluster != p.identity.UID {
		return planFor(p.options.Plan, "this is another cluster: "+p.identity.UID)
	}
	now, err := p.plan(ctx)
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
		other = append(other, differing(set.Proposal, now.Sets[i].Proposal)...)
		p.planned[set.Set] = set
	}
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
		case n.Change != o.Change || n.UID != o.UID || n.Before != o.Before || n.After != o.After || !sameJSON(n.Conflicts, o.Conflicts):
			all = append(all, fmt.Errorf("%s: it was to be %s, and it is not any more what the plan saw (now: %s)", o.Object, o.Change, n.Change))
		}
	}
	for o := range of {
		all = append(all, fmt.Errorf("%s: the plan does not have it", o))
	}
	return all
}

func sameJSON(a, b any) bool {
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && string(one) == string(two)
}

// copyImages brings every image of the lock and the release itself into the
// environment's registry, and has them kept there.
func (p *promotion) copyImages(ctx context.Context, _ *ledger.Lease, result *Promoted) error {
	r, err := p.siteRegistry(p.name, p.repositories())
	if err != nil {
		return err
	}
	from, err := p.origin(ctx, p.made.lock, p.made.lock.Images)
	if err != nil {
		return err
	}
	var refs []images.Ref
	for _, i := range p.made.lock.Images {
		refs = append(refs, i.Ref())
	}
	copier := images.Copier{From: from, To: r.target, Sink: p.sink, Task: "promote/images"}
	if result.Copied, err = copier.Copy(ctx, refs...); err != nil {
		return err
	}
	ref := images.Ref{Repository: release.Repository(p.Project), Digest: p.artifact.Digest}
	copier = images.Copier{From: release.Origin(p.artifact, ref.Repository), To: r.target, Sink: p.sink, Task: "promote/release"}
	if _, err := copier.Copy(ctx, ref); err != nil {
		return err
	}
	for _, each := range append(refs, ref) {
		if err := r.target.Keep(ctx, each); err != nil {
			return err
		}
	}
	return nil
}

// applySets brings the objects in, each set after what it requires, and takes
// out what the release has not.
func (p *promotion) applySets(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	for _, each := range p.parts {
		changes, err := p.applyPart(ctx, lease, each)
		result.Changes[each.Name] = changes
		if err != nil {
			return err
		}
	}
	if err := p.proveDenial(ctx); err != nil {
		return err
	}
	removed, err := p.planRemoved(ctx)
	if err != nil {
		return err
	}
	for _, r := range removed {
		if err := lease.Fence(ctx); err != nil {
			return err
		}
		if result.Changes[r.Name], err = p.live.Remove(ctx, r.Name); err != nil {
			return err
		}
	}
	_, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Enforce(time.Now())
		return nil
	})
	return err
}

func (p *promotion) applyPart(ctx context.Context, lease *ledger.Lease, each part) (apply.ChangeSet, error) {
	if err := lease.Fence(ctx); err != nil {
		return nil, err
	}
	seeded, err := p.live.seeder.Ensure(ctx, each.Component)
	if err != nil {
		return nil, err
	}
	set, err := setOf(each, seeded.Authorities)
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
	return changes, p.live.Ready(ctx, each)
}

// proposal is what is carried out: a plan's, where there is one. A plan that was
// made before the set's certificates were could not know them.
func (p *promotion) proposal(ctx context.Context, set apply.Set, seeded apply.ChangeSet) (apply.Proposal, error) {
	if planned, ok := p.planned[set.Name]; ok && !seeded.Changed() {
		return planned.Proposal, planned.Problems()
	}
	proposal, err := p.live.applier.Propose(ctx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
	if err == nil {
		err = proposal.Problems()
	}
	return proposal, err
}

// narrow takes digests of earlier releases out of the policy that nothing in
// the cluster names any more; what something still names is kept, and written
// down.
func (p *promotion) narrow(ctx context.Context, lease *ledger.Lease) error {
	live, _, err := policy.Read(ctx, p.live.client)
	if err != nil {
		return err
	}
	locked := p.locked()
	kept, err := policy.Retain(ctx, p.live.client, live.Digests, locked)
	if err != nil {
		return err
	}
	narrowed, err := p.policyOf(p.parts[1:], append(slices.Clone(kept), locked...))
	if err != nil {
		return err
	}
	p.parts[0] = narrowed
	delete(p.planned, policySet) // it was for while both releases are there
	if _, err := p.applyPart(ctx, lease, narrowed); err != nil {
		return err
	}
	_, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Kept = kept
		return nil
	})
	return err
}

// settle records what is now, so that drift is found quickly.
func (p *promotion) settle(ctx context.Context, lease *ledger.Lease, _ *Promoted) error {
	if err := p.narrow(ctx, lease); err != nil {
		return err
	}
	if err := lease.Fence(ctx); err != nil {
		return err
	}
	wanted, err := p.wanted(ctx)
	if err != nil {
		return err
	}
	report, err := drift.New(p.live.client, noise.Default(), p.sink).Settle(ctx, wanted)
	if err != nil {
		return err
	}
	return drifted("settling the release", p.name, report)
}

// wanted is what the environment is to be.
func (p *promotion) wanted(ctx context.Context) (drift.Wanted, error) {
	w := drift.Wanted{Release: p.digest(), Images: allowed(p.made.lock, nil)}
	for _, each := range p.parts {
		seeded, err := p.live.seeder.Plan(ctx, each.Component)
		if err != nil {
			return w, err
		}
		set, err := setOf(each, seeded.Authorities)
		if err != nil {
			return w, err
		}
		w.Sets = append(w.Sets, set)
	}
	return w, nil
}

// drifted is the fault of a report with findings.
func drifted(op, subject string, r drift.Report) error {
	if !r.Drifted() {
		return nil
	}
	found := make([]error, 0, len(r.Findings))
	for _, f := range r.Findings {
		found = append(found, errors.New(f.String()))
	}
	return &fault.Error{Op: op, Subject: subject, Kind: fault.Drift, Err: errors.Join(found...),
		Hint: fmt.Sprintf("kfdev drift %s tells more; kfdev drift %s --fix shows how it is mended", subject, subject)}
}

// verifySite runs the smoke tests of the environment and writes down how they
// ended.
func (p *promotion) verifySite(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	task := progress.Start(p.sink, "promote/verify", "verifying "+p.name, 0, progress.None)
	var errs []error
	v := ledger.Verification{Release: p.digest(), At: time.Now()}
	for _, each := range p.parts {
		if each.Smoke == "" {
			continue
		}
		tested, err := p.smokeSite(ctx, each)
		result.Tests = append(result.Tests, tested)
		v.Results = append(v.Results, ledger.Result{Name: each.Name, Failed: tested.Error})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", each.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(v.Results) == 0 { // a stack without tests is verified by being ready
		v.Results = []ledger.Result{{Name: "ready"}}
	}
	err := errors.Join(errs...)
	task.End(err)
	if ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	_, noted := lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Verify(v)
		return nil
	})
	return errors.Join(err, noted)
}

func (p *promotion) smokeSite(ctx context.Context, each part) (Tested, error) {
	tested := Tested{Component: each.Name}
	c, err := p.component(p.file, each.Name, p.file.Stack.Components[each.Name].Folder)
	if err == nil {
		each.Files, each.Dir = c.Files, c.Dir // the program that a test trains with
		tested.Result, err = p.smoke(ctx, each, p.live)
	}
	tested.OK = err == nil
	if err != nil {
		tested.Error = err.Error()
	}
	return tested, err
}

// sorted are the names of the components that changed.
func (r Promoted) Sorted() []string {
	names := make([]string, 0, len(r.Changes))
	for name := range r.Changes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
