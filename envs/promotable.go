package envs

import (
	"context"

	"github.com/kfdev/kfdev/internal/fault"
)

// take takes from a plan which release is meant.
func (o *PromoteOptions) take(environment string) error {
	switch {
	case o.Plan == nil:
		return nil
	case o.Plan.Environment != environment:
		return planFor(o.Plan, "the environment is "+environment)
	}
	o.Release = ""
	if o.Plan.Named {
		o.Release = o.Plan.Release
	}
	return nil
}

// promotable is the release that is to be promoted. One of the project's own
// that can't be made since the lock is not the project's is refused as the gates
// refuse it, and nothing else takes its place.
func (e *Engine) promotable(ctx context.Context, environment, digest string) (made, error) {
	m, err := e.chosenRelease(ctx, environment, digest)
	_, known := e.file.Environments.Others[environment]
	if kind := fault.KindOf(err); !known || digest != "" || err == nil || kind != fault.Drift && kind != fault.NotFound {
		return m, err
	}
	closed, failed := e.lockGate(ctx)
	switch {
	case failed != nil:
		return m, failed
	case closed != nil:
		return m, &fault.Error{Op: "promoting to", Subject: environment, Kind: fault.Gate, Err: closed}
	}
	return m, err
}
