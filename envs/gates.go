package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// gates refuses a promotion whose ground is not firm: all reasons in one.
func (p *promotion) gates(ctx context.Context) error {
	var stale, failed error
	env, _ := p.Environment(p.name)
	notYet := make([]error, len(env.After))
	var group errgroup.Group
	if p.options.Release == "" {
		group.Go(func() error { stale, failed = p.lockChecked(); return nil })
	}
	for i, before := range env.After {
		group.Go(func() error {
			if err := p.passedIn(ctx, before); err != nil {
				notYet[i] = fmt.Errorf("%s: %w", before, err)
			}
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	if failed != nil {
		return failed
	}
	closed := []error{stale}
	for _, e := range p.expired(time.Now()) {
		closed = append(closed, e.reason())
	}
	closed = slices.DeleteFunc(append(closed, notYet...), func(err error) bool { return err == nil })
	if len(closed) == 0 {
		return nil
	}
	return &fault.Error{Op: "promoting to", Subject: p.name, Kind: fault.Gate, Err: errors.Join(closed...),
		Hint: fmt.Sprintf("%s comes after %s: there this very release must be in force, verified and without drift", p.name, strings.Join(env.After, " and "))}
}

// checkLock begins to hold the lock against the project, and returns what waits
// for the outcome: nothing else has to wait for it.
func (e *Engine) checkLock(ctx context.Context) func() (closed, failed error) {
	var closed, failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		closed, failed = e.lockGate(ctx)
	}()
	return func() (error, error) {
		<-done
		return closed, failed
	}
}

// lockGate says that the lock is not the project's; failed, that this could not
// be found out.
func (e *Engine) lockGate(ctx context.Context) (closed, failed error) {
	_, err := e.Lock(ctx, LockOptions{Check: true})
	switch {
	case err == nil:
		return nil, nil
	case fault.KindOf(err) != fault.Drift:
		return nil, err
	}
	return fmt.Errorf("the lock is not the project's any more: %w", err), nil
}

// passedIn says why an environment is no proof of the release; nil where it
// is: in force there, verified, and without drift. Of one that can't be reached
// the registries may tell.
func (p *promotion) passedIn(ctx context.Context, name string) error {
	s, err := p.Engine.site(ctx, name)
	if err != nil {
		if fault.KindOf(err) == fault.Gate {
			return err // another cluster is no cluster out of reach
		}
		return p.attested(ctx, name, err)
	}
	defer s.close()
	l, found, err := s.ledger.Read(ctx)
	switch short := release.Short(p.digest()); {
	case err != nil:
		return err
	case !found || l.InForce == nil:
		return fmt.Errorf("no release is in force there; it would have to be %s (%s)", short, hintFor(name))
	case l.InForce.Release != p.digest():
		return fmt.Errorf("%s is in force there, not %s (%s)", release.Short(l.InForce.Release), short, hintFor(name))
	case l.Verified == nil || l.Verified.Release != p.digest():
		return fmt.Errorf("%s was not verified there (kfdev verify %s)", short, name)
	case !l.Verified.Passed():
		return fmt.Errorf("%s did not pass its tests there", short)
	case l.Complete == nil || l.Complete.Release != p.digest():
		return fmt.Errorf("the promotion of %s there did not come to its end (%s)", short, hintFor(name))
	}
	before := &promotion{Engine: p.Engine, site: s, made: p.made}
	report, err := before.scan(ctx, false)
	if err != nil {
		return err
	}
	return drifted("looking for drift", name, p.settledSecrets(name, report, *l.Complete))
}

// settledSecrets takes out of a report that Secrets are unknown to who has no
// right to read them, where the environment's own record says that all were what
// the release says when it settled: it is to take no right to read credentials
// to promote what comes after. It is told that this is taken on trust.
func (p *promotion) settledSecrets(name string, r drift.Report, complete ledger.Entry) drift.Report {
	r.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f drift.Finding) bool {
		trusted := f.Class == drift.Unknown && f.Settled && f.Object.Kind == "Secret" && f.Object.APIVersion == "v1"
		if trusted {
			progress.Warn(p.sink, fmt.Sprintf("%s: Secrets can't be read with these rights; the record there is taken instead, which nobody signed: all %d were what the release says when %s settled it on %s.",
				name, f.Count, complete.By, complete.At.Local().Format("2006-01-02 15:04")))
		}
		return trusted
	})
	return r
}

func hintFor(name string) string {
	if name == project.DevName {
		return "kfdev up, then kfdev verify"
	}
	return "kfdev promote " + name
}

// scan compares the environment with the release.
func (p *promotion) scan(ctx context.Context, full bool) (drift.Report, error) {
	l, _, err := p.ledger.Read(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	if err := p.prepare(ctx, l); err != nil {
		return drift.Report{}, err
	}
	if p.name == project.DevName {
		p.parts = p.parts[1:] // dev's policy warns, and is no part of what up applies
	}
	wanted, err := p.wanted(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	rules, err := p.noise()
	if err != nil {
		return drift.Report{}, err
	}
	return drift.New(p.live.client, rules, p.sink).Scan(ctx, wanted, drift.Options{Full: full})
}
