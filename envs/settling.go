package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/policy"
	"github.com/kfdev/kfdev/stack/running"
	"github.com/kfdev/kfdev/sync/helper/image"
)

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
	if _, err := p.carryPart(ctx, lease, narrowed); err != nil {
		return err
	}
	_, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.Kept = kept
		return nil
	})
	return err
}

// settle records what is now, so that drift is found quickly.
func (p *promotion) settle(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	if err := p.narrow(ctx, lease); err != nil {
		return err
	}
	if err := p.lendPullSecret(ctx, lease, result); err != nil { // to accounts that were made since
		return err
	}
	if err := lease.Fence(ctx); err != nil {
		return err
	}
	wanted, err := p.wanted(ctx)
	if err != nil {
		return err
	}
	rules, err := p.noise()
	if err != nil {
		return err
	}
	report, err := drift.New(p.live.client, rules, p.sink).Settle(ctx, wanted)
	if err != nil {
		return err
	}
	mine, others := own(report)
	if err := drifted("what others added", p.name, others); err != nil {
		progress.Warn(p.sink, err.Error())
	}
	return drifted("settling the release", p.name, mine)
}

// wanted is what the environment is to be.
func (p *promotion) wanted(ctx context.Context) (drift.Wanted, error) {
	w := drift.Wanted{Release: p.digest(), Images: allowed(p.lock, nil), Profiles: profilesPart}
	if err := p.allowBeside(ctx, w.Images); err != nil {
		return w, err
	}
	for _, each := range p.parts {
		seeded, err := p.live.seeder.Trusted(ctx, each.Component)
		if err != nil {
			return w, err
		}
		set, err := p.setOf(ctx, each, seeded.Authorities)
		if err != nil {
			return w, err
		}
		w.Sets = append(w.Sets, set)
	}
	return w, nil
}

// allowBeside adds what may run beside the release: images of earlier ones, as
// long as something names them and the policy lets them in; in dev the helper of
// kfdev sync, which is kfdev itself.
func (p *promotion) allowBeside(ctx context.Context, images running.Allowed) error {
	l, _, err := p.ledger.Read(ctx)
	if err != nil {
		return err
	}
	for _, text := range l.Kept {
		if digest, ok := running.Digest(text); ok {
			images.Add("an earlier release", digest)
		}
	}
	if p.name == project.DevName {
		images.Add(image.Repository, helperDigests()...)
	}
	return nil
}

// own are the findings about what the release itself brought: these say that it
// did not come to its end. What others added beside it is drift, which the
// environment after this one waits for, and no fault of the promotion.
func own(r drift.Report) (own, others drift.Report) {
	own, others = r, r
	own.Findings, others.Findings = nil, nil
	for _, f := range r.Findings {
		switch f.Class {
		case drift.ForeignField, drift.ForeignObject, drift.ForeignImage:
			others.Findings = append(others.Findings, f)
		default:
			own.Findings = append(own.Findings, f)
		}
	}
	return own, others
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
		v.Results = append(v.Results, release.Result{Name: each.Name, Failed: tested.Error})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", each.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(v.Results) == 0 { // a stack without tests is verified by being ready
		v.Results = []release.Result{{Name: "ready"}}
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
	r, attached := p.siteRegistry(p.name, p.repositories())
	if attached == nil {
		attached = p.attach(ctx, r, attestation(p.name, p.identity.UID, v))
	}
	return errors.Join(err, noted, attached)
}

func (p *promotion) smokeSite(ctx context.Context, each part) (Tested, error) {
	tested := Tested{Component: each.Name}
	var err error
	if each.Name != profilesPart {
		var c stack.Component
		c, err = p.component(p.file, each.Name, p.file.Stack.Components[each.Name].Folder)
		each.Files, each.Dir = c.Files, c.Dir // the program that a test trains with
	}
	if err == nil {
		tested.Result, err = p.smoke(ctx, each, p.live, p.lent())
	}
	tested.OK = err == nil
	if err != nil {
		tested.Error = err.Error()
	}
	return tested, err
}
