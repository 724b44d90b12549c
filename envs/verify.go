package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/running"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/suite"
	"github.com/kfdev/kfdev/sync/helper/image"
)

// Verification is the outcome of a verify.
type Verification struct {
	Project string          `json:"project"`
	Lock    string          `json:"lock"` // digest
	Tests   []Tested        `json:"tests"`
	Running *running.Report `json:"running,omitempty"` // nil where it did not come to that
	Took    time.Duration   `json:"took"`              // nanoseconds
}

// Tested is the outcome of one component's smoke test.
type Tested struct {
	Component string `json:"component"`
	OK        bool   `json:"ok"`
	smoke.Result
	Error string `json:"error,omitempty"`
}

// Verify runs the smoke tests of the named components, or of all, and compares
// what runs in the cluster with the lock. The verification is whole also where
// the error says that something of it failed.
func (e *Engine) Verify(ctx context.Context, names []string) (v Verification, err error) {
	start := time.Now()
	s, err := e.settled(ctx)
	if err != nil {
		return Verification{}, err
	}
	parts, err := s.tested(names)
	if err != nil {
		return Verification{}, err
	}
	live, got, err := e.running(ctx, s)
	if err != nil {
		return Verification{}, err
	}
	defer live.Close()
	v = Verification{Project: s.file.Metadata.Name, Lock: s.digest.String(), Tests: []Tested{}}
	defer func() { v.Took = time.Since(start) }()
	var errs []error
	for _, p := range parts {
		result, err := e.smoke(ctx, p, live, smoke.PullSecret{})
		tested := Tested{Component: p.Name, OK: err == nil, Result: result}
		if err != nil {
			tested.Error = err.Error()
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
		}
		v.Tests = append(v.Tests, tested)
		if ctx.Err() != nil {
			return v, errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	pods, err := live.Pods(ctx)
	if err != nil {
		return v, errors.Join(append(errs, err)...)
	}
	report := compare(pods, allowed(s.lock, got.Holds))
	v.Running = &report
	if err := foreign(report, s.digest.String()); err != nil {
		errs = append([]error{err}, errs...) // it comes first, and so decides what the whole is
	}
	if len(names) == 0 && len(errs) == 0 {
		return v, e.recordVerified(ctx, s, v.Tests)
	}
	return v, errors.Join(errs...)
}

// compare holds what runs against what may. The helper of kfdev sync is no part
// of the stack, and comes with this program: exactly its image may run, as an
// ephemeral container, and nothing else that has its name.
func compare(pods []corev1.Pod, may running.Allowed) running.Report {
	report := running.Compare(pods, may)
	helps := func(f running.Foreigner) bool {
		return f.Role == running.Ephemeral && strings.HasPrefix(f.Image, image.Repository+"@")
	}
	if !slices.ContainsFunc(report.Foreigners, helps) {
		return report
	}
	ours := running.Allowed{}
	ours.Add(image.Repository, helperDigests()...)
	report.Foreigners = slices.DeleteFunc(report.Foreigners, func(f running.Foreigner) bool {
		runs := f.ImageID
		if runs == "" {
			runs = f.Image
		}
		digest, ok := running.Digest(runs)
		return ok && helps(f) && ours[digest] != ""
	})
	return report
}

// tested returns the named parts that have a smoke test, or all of them.
func (s settled) tested(names []string) ([]part, error) {
	for _, name := range names {
		p, err := s.part(name)
		if err != nil {
			return nil, err
		}
		if p.Smoke == "" {
			return nil, &fault.Error{Op: "verifying", Subject: name, Kind: fault.Usage, Err: errors.New("it has no smoke test")}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.parts), func(p part) bool {
		return p.Smoke == "" || (len(names) > 0 && !slices.Contains(names, p.Name))
	}), nil
}

// smoke runs a part's smoke test. What it makes pulls with the Secret that is given.
func (e *Engine) smoke(ctx context.Context, p part, live live, pull smoke.PullSecret) (smoke.Result, error) {
	test, err := suite.Of(p.Component)
	if err != nil {
		return smoke.Result{}, err
	}
	env, err := live.Smoke()
	if err != nil {
		return smoke.Result{}, err
	}
	env.Component, env.PullSecret, env.Sink = p.Namespace, pull, e.sink
	env.Images, env.Objects = p.refs, p.rendered.Objects
	return smoke.Run(ctx, test, env)
}
