package envs

import (
	"context"
	"fmt"
	"strings"

	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// secretsStep puts the Secrets that the project names into dev's cluster.
const secretsStep = "secrets"

// devSecret is a Secret that dev needs, and why its values are not here.
type devSecret struct {
	seed.Given
	missing error
}

// devSecrets are those of the project. One whose values are not here any more
// stays as an earlier up has made it: a variable need not be set in every shell.
func (e *Engine) devSecrets() []devSecret {
	all, missing := e.given(project.DevName)
	out := make([]devSecret, len(all))
	for i, g := range all {
		g.There = g.There || missing[i] != nil
		out[i] = devSecret{g, missing[i]}
	}
	return out
}

func (r *upRun) observeSecrets(ctx context.Context) (plan.Work, error) {
	var change []string
	all := r.devSecrets()
	for _, s := range all {
		becomes, err := apply.Created, s.missing
		if r.live != nil {
			becomes, err = r.live.PlanSecret(ctx, s.Given)
			err = s.because(err)
		}
		if err != nil {
			return plan.Work{}, err
		}
		switch {
		case becomes == apply.Unchanged:
		case s.There:
			change = append(change, "look for "+s.Namespace+"/"+s.Name)
		default:
			change = append(change, "write "+s.Namespace+"/"+s.Name)
		}
	}
	if len(change) == 0 {
		return plan.Nothing("%d unchanged", len(all)), nil
	}
	return plan.Todo("%s", strings.Join(change, ", ")), nil
}

func (r *upRun) ensureSecrets(ctx context.Context) (string, error) {
	var changes apply.ChangeSet
	for _, s := range r.devSecrets() {
		change, err := r.live.EnsureSecret(ctx, s.Given)
		if err = s.because(err); err != nil {
			return "", err
		}
		changes = append(changes, apply.Entry{Object: apply.Object{APIVersion: "v1", Kind: "Secret", Namespace: s.Namespace, Name: s.Name}, Change: change})
	}
	return counts(changes), nil
}

// because puts the reason why values are missing before that their Secret is.
func (s devSecret) because(err error) error {
	if err != nil && s.missing != nil {
		return fmt.Errorf("%w; and %w", s.missing, err)
	}
	return err
}
