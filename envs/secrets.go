package envs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// maxSecret bounds the value of one key, in bytes: what a Secret holds.
const maxSecret = 1 << 20

// given are the Secrets that the environment needs, with the values that
// somebody gave. The values go from here to the cluster and nowhere else. Of
// one whose values are not there, the second result says why.
func (e *Engine) given(environment string) ([]seed.Given, map[int]error) {
	var all []seed.Given
	missing := map[int]error{}
	for i, s := range e.file.Environments.SecretsOf(environment) {
		g := seed.Given{Namespace: s.Namespace, Name: s.Name, Type: s.Type, Data: map[string][]byte{}, There: len(s.Keys) == 0}
		for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
			value, err := e.secretValue(s.Keys[key])
			if err != nil {
				missing[i] = errors.Join(missing[i], &fault.Error{Op: "reading the value of a secret", Subject: fmt.Sprintf("%s/%s, key %s", s.Namespace, s.Name, key), Kind: fault.Preflight, Err: err})
			}
			g.Data[key] = value
		}
		all = append(all, g)
	}
	return all, missing
}

// secretsReady refuses to begin without the values, or without a Secret that
// has to be there.
func (p *promotion) secretsReady(ctx context.Context) error {
	all, missing := p.given(p.name)
	_, err := p.lookAt(ctx, all, missing)
	return errors.Join(append(slices.Collect(maps.Values(missing)), err)...)
}

func (e *Engine) secretValue(from project.SecretSource) ([]byte, error) {
	if from.Env != "" {
		value := e.getenv(from.Env)
		if value == "" {
			return nil, fmt.Errorf("the variable %s is not set", from.Env)
		}
		return []byte(value), nil
	}
	path := from.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.file.Dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has %d bytes: a Secret holds no more than %d", from.File, info.Size(), maxSecret)
	}
	return os.ReadFile(path)
}

// planSecrets says what would become of the environment's Secrets.
func (p *promotion) planSecrets(ctx context.Context) ([]seed.GivenChange, error) {
	all, missing := p.given(p.name)
	return p.lookAt(ctx, all, missing)
}

func (p *promotion) lookAt(ctx context.Context, all []seed.Given, missing map[int]error) ([]seed.GivenChange, error) {
	changes := []seed.GivenChange{}
	var problems []error
	for i, g := range all {
		change, err := seed.Untold(g, "no values are given here"), error(nil)
		if missing[i] == nil {
			change, err = p.live.seeder.PlanGiven(ctx, g, p.seeing.SecretKey)
		}
		changes, problems = append(changes, change), append(problems, err)
	}
	return changes, errors.Join(problems...)
}

// ensureSecrets puts those of the environment's Secrets in place that are wanted;
// nil: all.
func (p *promotion) ensureSecrets(ctx context.Context, lease *ledger.Lease, result *Promoted, wanted func(seed.Given) bool) error {
	all, missing := p.given(p.name)
	for _, err := range missing {
		return err // it was there when this began
	}
	seeder := p.live.seeder.Fenced(lease.Fence)
	for _, g := range all {
		if wanted != nil && !wanted(g) {
			continue
		}
		change, err := seeder.EnsureGiven(ctx, g, p.seeing.SecretKey)
		if err != nil {
			return err
		}
		p.seeded(change, result)
	}
	return nil
}

// secretsSet is what the Secrets are called among the components.
const secretsSet = "secrets"

// otherSecrets names the Secrets that are not what a plan saw.
func otherSecrets(planned, now []seed.GivenChange, keyed bool) []error {
	of := map[apply.Object]seed.GivenChange{}
	for _, c := range now {
		of[c.Object] = c
	}
	var all []error
	for _, c := range planned {
		n, ok := of[c.Object]
		delete(of, c.Object)
		switch {
		case c.Unchecked != "": // the plan saw nothing
		case !ok:
			all = append(all, fmt.Errorf("%s: the project does not name it any more", c.Object))
		case !seenAgain(c, n, keyed):
			all = append(all, fmt.Errorf("%s: its values, or those that are given, are not any more what the plan saw", c.Object))
		}
	}
	for o := range of {
		all = append(all, fmt.Errorf("%s: the plan does not have it", o))
	}
	return all
}
