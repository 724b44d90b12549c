package envs

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/running"
)

// HasEnvironment reports whether a name is one of the project's environments
// beside dev.
func (e *Engine) HasEnvironment(name string) bool {
	_, ok := e.file.Environments.Others[name]
	return ok
}

// VerifySite runs the smoke tests of the release that is in force in an
// environment, compares what runs in the stack's namespaces with its lock and
// what may run beside it, and has the environment and its registry remember how the tests ended. It holds
// the environment's lease meanwhile.
func (e *Engine) VerifySite(ctx context.Context, environment string) (v Verification, err error) {
	start := time.Now()
	s, err := e.site(ctx, environment)
	if err != nil {
		return v, err
	}
	defer s.close()
	p, err := e.inForce(ctx, s)
	if err != nil {
		return v, err
	}
	v = Verification{Project: p.Project, Lock: p.LockDigest, Tests: []Tested{}}
	defer func() { v.Took = time.Since(start) }()
	if err := p.mayVerify(ctx); err != nil {
		return v, err
	}
	lease, err := s.ledger.Acquire(ctx, holder(), e.leaseFor())
	if err != nil {
		return v, err
	}
	ctx, cancel := lease.Context(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	l, _, err := s.ledger.Read(ctx)
	if err == nil {
		err = p.prepare(ctx, l)
	}
	if err != nil {
		return v, err
	}
	result := Promoted{}
	err = p.verifySite(ctx, lease, &result)
	v.Tests = append(v.Tests, result.Tests...)
	pods, podsErr := s.live.Pods(ctx)
	if podsErr != nil {
		return v, errors.Join(err, podsErr)
	}
	ours := namespacesOf(p.parts)
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return !slices.Contains(ours, pod.Namespace) })
	may := allowed(p.lock, nil)
	if besideErr := p.allowBeside(ctx, may); besideErr != nil {
		return v, errors.Join(err, besideErr)
	}
	report := compare(pods, may)
	v.Running = &report
	return v, errors.Join(foreign(report, v.Lock), err)
}

// foreign is the fault of what runs and is in no lock.
func foreign(report running.Report, lock string) error {
	if len(report.Foreigners) == 0 {
		return nil
	}
	all := make([]error, 0, len(report.Foreigners))
	for _, f := range report.Foreigners {
		all = append(all, errors.New(f.String()))
	}
	return &fault.Error{Op: "comparing what runs with the lock", Subject: lock, Kind: fault.Drift, Err: errors.Join(all...)}
}
