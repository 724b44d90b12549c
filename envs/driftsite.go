package envs

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
)

// DriftOptions say how drift is looked for, and what is done about it.
type DriftOptions struct {
	Full bool // read every object, whatever the baseline says
	Fix  bool // mend what was found
	// Delete names foreign objects that Fix may delete, as KIND/NAMESPACE/NAME.
	Delete []string
}

// Drifted is what was found, and what was done about it.
type Drifted struct {
	Environment string `json:"environment"`
	drift.Report
	// Plan is how it is mended, and Done what was, with Fix.
	Plan *drift.Plan   `json:"plan,omitempty"`
	Done []drift.Step  `json:"done,omitempty"`
	Took time.Duration `json:"took"` // nanoseconds
}

// Drift compares an environment with the release in force there.
func (e *Engine) Drift(ctx context.Context, environment string, o DriftOptions) (result Drifted, err error) {
	start := time.Now()
	result = Drifted{Environment: environment}
	defer func() { result.Took = time.Since(start) }()
	s, err := e.site(ctx, environment)
	if err != nil {
		return result, err
	}
	defer s.close()
	if o.Fix {
		err = e.mend(ctx, s, o, &result)
		return result, err
	}
	p, err := e.inForce(ctx, s)
	if err != nil {
		return result, err
	}
	err = p.planMending(ctx, o, &result)
	return result, err
}

// planMending looks for drift, and plans how it is mended.
func (p *promotion) planMending(ctx context.Context, o DriftOptions, result *Drifted) (err error) {
	if result.Report, err = p.scan(ctx, o.Full); err != nil {
		return err
	}
	plan := drift.PlanFix(result.Report, named(result.Report, o.Delete)...)
	result.Plan = &plan
	return nil
}

// mend takes drift back. It looks whether it may before it writes anything, and
// again once it holds the lease, so that no promotion makes another release what
// is wanted meanwhile; and it says what it will do before it does.
func (e *Engine) mend(ctx context.Context, s *site, o DriftOptions, result *Drifted) (err error) {
	if _, err := e.toMend(ctx, s, o, result); err != nil || len(result.Plan.Steps) == 0 {
		return err
	}
	lease, err := s.ledger.Acquire(ctx, holder(), e.leaseFor())
	if err != nil {
		return err
	}
	ctx, cancel := lease.Context(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	wanted, err := e.toMend(ctx, s, o, result)
	if err != nil || len(result.Plan.Steps) == 0 {
		return err
	}
	for _, step := range result.Plan.Steps {
		progress.Say(e.sink, step.String())
	}
	rules, err := e.noise()
	if err != nil {
		return err
	}
	detector := drift.New(s.live.client, rules, e.sink)
	if result.Done, err = detector.Fix(ctx, wanted, *result.Plan, lease.Fence); err != nil {
		return err
	}
	if err := lease.Fence(ctx); err != nil {
		return err
	}
	result.Report, err = detector.Settle(ctx, wanted)
	return err
}

// toMend looks for drift, plans how it is mended, and asks for the rights to.
func (e *Engine) toMend(ctx context.Context, s *site, o DriftOptions, result *Drifted) (wanted drift.Wanted, err error) {
	result.Plan = &drift.Plan{}
	p, unseen := e.inForce(ctx, s)
	if unseen == nil {
		unseen = p.planMending(ctx, o, result)
	}
	if unseen == nil {
		wanted, unseen = p.wanted(ctx)
	}
	if unseen == nil && !result.Drifted() {
		return wanted, nil
	}
	if err := s.mayMend(ctx, wanted, *result.Plan); err != nil {
		return wanted, err // it is also why something could not be seen
	}
	return wanted, unseen
}

// noise are the rules for what is no drift, the project's own among them.
func (e *Engine) noise() (noise.Rules, error) {
	rules := noise.Default()
	if e.file.Noise == "" {
		return rules, nil
	}
	root, err := os.OpenRoot(e.file.Dir)
	if err != nil {
		return rules, &fault.Error{Op: "reading what is no drift", Subject: e.file.Noise, Err: err}
	}
	defer root.Close() //nolint:errcheck // nothing was written
	data, err := root.ReadFile(e.file.Noise)
	var own noise.Rules
	if err == nil {
		own, err = noise.Parse(e.file.Noise, data)
	}
	if err != nil {
		return rules, &fault.Error{Op: "reading what is no drift", Subject: e.file.Noise, Kind: fault.Usage, Err: err, Hint: "docs/drift.md shows the form"}
	}
	return rules.And(own), nil
}

// named are the foreign objects of a report that a person named.
func named(r drift.Report, names []string) []apply.Object {
	var all []apply.Object
	for _, f := range r.Findings {
		for _, name := range names {
			if f.Class == drift.ForeignObject && f.Object.String() == name {
				all = append(all, f.Object)
			}
		}
	}
	return all
}

// inForce is the release that is in force in an environment, to be compared
// with it.
func (e *Engine) inForce(ctx context.Context, s *site) (*promotion, error) {
	l, found, err := s.ledger.Read(ctx)
	if err != nil {
		return nil, err
	}
	if !found || l.InForce == nil {
		return nil, &fault.Error{Op: "looking for the release in force", Subject: s.name, Kind: fault.NotFound,
			Err: errors.New("nothing was promoted there yet"), Hint: hintFor(s.name)}
	}
	if err := e.belongs(s.name, l, ""); err != nil {
		return nil, err
	}
	m, err := e.releaseInForce(ctx, s.name, *l.InForce)
	return &promotion{Engine: e, site: s, made: m}, err
}

// releaseInForce is the project's own, where that is it; else it is read from a
// registry.
func (e *Engine) releaseInForce(ctx context.Context, environment string, entry ledger.Entry) (made, error) {
	own, err := e.settled(ctx)
	if err == nil {
		var m made
		if m, err = e.release(own); err == nil && m.digest() == entry.Release {
			return m, nil
		}
	}
	if environment == project.DevName {
		return made{}, errors.Join(&fault.Error{Op: "looking for the release in force", Subject: environment, Kind: fault.NotFound,
			Err: errors.New("the project has changed since it was brought up"), Hint: "kfdev up"}, err)
	}
	return e.stored(ctx, environment, entry.Release)
}
