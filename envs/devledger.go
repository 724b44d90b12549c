package envs

import (
	"context"
	"errors"
	"time"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// recordDev has dev's cluster remember which release is up there, so that
// environments that come after it can ask. A project with dev alone has none,
// and one whose environments differ in what nobody declared has none yet:
// that is said, and nothing against what is up.
func (e *Engine) recordDev(ctx context.Context, s settled) error {
	if len(e.file.Environments.Others) == 0 {
		return nil
	}
	m, err := e.release(s)
	if err != nil {
		progress.Warn(e.sink, "no release can be made of this project yet: "+err.Error())
		return nil
	}
	return e.devLedger(ctx, func(l ledger.Ledger) bool { return l.InForce == nil || l.InForce.Release != m.digest() }, func(l *ledger.Ledger) error {
		now := time.Now()
		l.Begin(ledger.Entry{Release: m.digest(), Lock: m.LockDigest, By: holder(), At: now})
		l.Enforce(now)
		l.Finish(now)
		return nil
	})
}

// recordVerified has dev's cluster remember that what is up there was found to
// work, or not to.
func (e *Engine) recordVerified(ctx context.Context, s settled, tests []Tested) error {
	if len(e.file.Environments.Others) == 0 {
		return nil
	}
	m, err := e.release(s)
	if err != nil {
		return nil // said by up
	}
	v := ledger.Verification{Release: m.digest(), At: time.Now(), Results: []release.Result{{Name: "what runs is in the lock"}}}
	for _, t := range tests {
		v.Results = append(v.Results, release.Result{Name: t.Component, Failed: t.Error})
	}
	return e.devLedger(ctx, func(ledger.Ledger) bool { return true }, func(l *ledger.Ledger) error {
		if l.InForce == nil || l.InForce.Release != m.digest() {
			return &fault.Error{Op: "recording the verification", Subject: project.DevName, Kind: fault.Drift,
				Err: errors.New("the project has changed since it was brought up"), Hint: "kfdev up"}
		}
		l.Verify(v)
		return nil
	})
}

// devLedger changes dev's ledger, where that is wanted.
func (e *Engine) devLedger(ctx context.Context, wanted func(ledger.Ledger) bool, change func(*ledger.Ledger) error) (err error) {
	s, err := e.site(ctx, project.DevName)
	if err != nil {
		return err
	}
	defer s.close()
	l, _, err := s.ledger.Read(ctx)
	if err != nil || !wanted(l) {
		return err
	}
	lease, err := s.ledger.Acquire(ctx, holder(), e.leaseFor())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	_, err = lease.Update(ctx, change)
	return err
}
