package envs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// SitePlan is what a promotion would do, object by object.
type SitePlan struct {
	Project     string       `json:"project"`
	Environment string       `json:"environment"`
	Cluster     string       `json:"cluster"`           // uid of kube-system
	Release     string       `json:"release"`           // digest
	Named       bool         `json:"named,omitempty"`   // an earlier release, that was asked for by its digest; else what the project is
	InForce     string       `json:"inForce,omitempty"` // release now; empty: none
	Lock        string       `json:"lock"`
	Sets        []PlannedSet `json:"sets"`
	Version     int          `json:"version"` // of this form
	// Key names the key of the hashes of Secrets, and says nothing of it. Empty:
	// there is none yet, or it may not be read. Then the plan has no such hashes,
	// and holds to what it says of Secrets by the versions of the live ones.
	Key string `json:"key,omitempty"`
	// Secrets are those that the environment needs, without a value.
	Secrets []seed.GivenChange `json:"secrets"`
	// Expired are the differences of the release whose last day has passed.
	Expired []ExpiredDifference `json:"expired"`
	// Removed are the components that the cluster has and the release has not.
	Removed []apply.Proposal `json:"removed"`
	// Orphaned are the namespaces of profiles that have left the project in an
	// earlier release.
	Orphaned []Orphan `json:"orphaned"`
	// Images are those of the lock that the environment's registry lacks.
	Images  []PlannedImage `json:"images"`
	Bytes   int64          `json:"bytes"`   // of these
	Verify  []string       `json:"verify"`  // the smoke tests that run at the end
	Resumes bool           `json:"resumes"` // an attempt of this release that was cut off goes on
}

// PlannedSet is one component.
type PlannedSet struct {
	apply.Proposal
	// Seeded is what is made in the cluster, and nowhere else: certificates, and
	// Secrets of random values.
	Seeded apply.ChangeSet `json:"seeded,omitempty"`
}

// Changed reports whether anything would be written or deleted.
func (s PlannedSet) Changed() bool { return s.Proposal.Changed() || s.Seeded.Changed() }

// PlannedImage is an image that would be copied.
type PlannedImage struct {
	From string `json:"from"` // as the lock names it
	To   string `json:"to"`   // where it is pushed to
	Size int64  `json:"size"` // of its blobs, bytes; what the registry has of them is not copied
}

// Changed reports whether the promotion has anything to do but to verify.
func (p SitePlan) Changed() bool {
	return p.InForce != p.Release || len(p.Images) > 0 || len(p.Removed) > 0 || p.Resumes ||
		slices.ContainsFunc(p.Sets, PlannedSet.Changed) ||
		slices.ContainsFunc(p.Secrets, func(c seed.GivenChange) bool { return c.Change != apply.Unchanged })
}

// PlanOptions say what is planned.
type PlanOptions struct {
	// Release is the digest of an earlier release; empty: what the project is now.
	Release string
	// Force has fields taken from whoever holds them, as MANAGER or KIND/NAME.
	Force []string
	// FromProject is the project that the environment is of until now, where this
	// one takes its place.
	FromProject string
	// PruneNamespaces deletes the namespaces of profiles that have left the
	// project, with everything in them. They stay otherwise.
	PruneNamespaces bool
}

// PlanSite says what promoting to an environment would do. It writes nothing.
// Where the plan can't be carried out, since the server would refuse an object or
// somebody else holds a field, that is a fault of kind Gate beside a plan that is
// whole; beside any other error the plan is empty.
func (e *Engine) PlanSite(ctx context.Context, environment string, o PlanOptions) (SitePlan, error) {
	m, err := e.chosenRelease(ctx, environment, o.Release)
	if err != nil {
		return SitePlan{}, err
	}
	s, err := e.site(ctx, environment)
	if err != nil {
		return SitePlan{}, err
	}
	defer s.close()
	p := &promotion{Engine: e, site: s, made: m, options: PromoteOptions{PlanOptions: o}}
	return p.plan(ctx)
}

// chosenRelease is the release that is to be promoted.
func (e *Engine) chosenRelease(ctx context.Context, environment, digest string) (made, error) {
	if environment == project.DevName {
		return made{}, &fault.Error{Op: "planning the promotion", Subject: environment, Kind: fault.Usage,
			Err: errors.New("dev is brought up by kfdev up"), Hint: "name one of " + strings.Join(e.file.Environments.Order()[1:], ", ")}
	}
	if _, ok := e.file.Environments.Others[environment]; !ok {
		return made{}, e.file.NoEnvironment(environment)
	}
	if digest != "" {
		return e.stored(ctx, environment, digest)
	}
	s, err := e.settled(ctx)
	if err != nil {
		return made{}, err
	}
	return e.release(s)
}

// promotion is one release on its way to one environment.
type promotion struct {
	*Engine
	*site
	made
	options PromoteOptions

	parts   []part
	seeing  apply.Seeing
	hashKey seed.HashKey
	planned map[string]PlannedSet // those of a plan that was made before, by name
	opened  []string              // namespaces that were made for Secrets
	wrote   []apply.Object        // namespaces that sets have written
	handing []part                // those of which others have taken objects over
	ahead   foresight             // before the lease was taken
	idle    bool                  // there is nothing to apply

	lockChecked func() (closed, failed error) // where the release is the project's own
	writes      bool                          // it is more than a look
	begun       bool                          // it is written down that it is under way
}

// plan is what promoting would do, and what of it the server would refuse.
func (p *promotion) plan(ctx context.Context) (SitePlan, error) {
	plan, err := p.look(ctx)
	if err != nil {
		return SitePlan{}, err
	}
	var sets []apply.Proposal
	for _, s := range plan.Sets {
		sets = append(sets, s.Proposal)
	}
	return plan, p.refused(sets...)
}

// look looks at everything and proposes.
func (p *promotion) look(ctx context.Context) (SitePlan, error) {
	plan := SitePlan{
		Project: p.Project, Environment: p.name, Cluster: p.identity.UID, Release: p.digest(), Named: p.options.Release != "", Lock: p.LockDigest,
		Sets: []PlannedSet{}, Secrets: []seed.GivenChange{}, Removed: []apply.Proposal{}, Orphaned: []Orphan{}, Images: []PlannedImage{}, Verify: []string{},
		Expired: p.expired(time.Now()),
	}
	l, found, err := p.ledger.Read(ctx)
	if err != nil {
		return plan, err
	}
	if found && l.InForce != nil {
		plan.InForce = l.InForce.Release
	}
	if err := p.findKey(ctx); err != nil {
		return plan, err
	}
	plan.Version, plan.Key = planVersion, string(p.hashKey.Name)
	plan.Resumes = found && l.Attempted != nil && l.Attempted.Release == plan.Release && (l.Underway || l.Failed != "")
	if err := p.belongs(l); err != nil {
		return plan, err
	}
	if err := p.prepare(ctx, l); err != nil {
		return plan, err
	}
	if err := p.planImages(ctx, &plan); err != nil {
		return plan, err
	}
	if plan.Secrets, err = p.planSecrets(ctx); err != nil {
		return plan, err
	}
	sets, seeded, err := p.propose(ctx)
	if err != nil {
		return plan, err
	}
	for i, each := range p.parts {
		plan.Sets = append(plan.Sets, PlannedSet{Proposal: sets[i].Proposal, Seeded: seeded[i]})
		if each.Smoke != "" {
			plan.Verify = append(plan.Verify, each.Name)
		}
	}
	removed, err := p.planRemoved(ctx)
	if err != nil {
		return plan, err
	}
	for _, r := range removed {
		plan.Removed = append(plan.Removed, r.Proposal)
	}
	plan.Orphaned, err = p.orphans(ctx, p.teams())
	return plan, err
}

// prepare works out the sets of the environment, the policy's among them.
func (p *promotion) prepare(ctx context.Context, l ledger.Ledger) error {
	parts, err := p.made.parts(p.name)
	if err != nil {
		return err
	}
	enforced, err := p.enforced(ctx, parts, l.Kept)
	if err != nil {
		return err
	}
	p.parts = together(append([]part{enforced}, parts...))
	if p.seeing.Noise, err = p.known(ctx); err != nil {
		return err
	}
	return nil
}

// proposing is how many sets are looked at at once.
const proposing = 4

// propose proposes every set, with what its certificates are now, as it would
// come after the sets before.
func (p *promotion) propose(ctx context.Context) ([]apply.Planned, []apply.ChangeSet, error) {
	plans, seeded := make([]apply.Planned, len(p.parts)), make([]apply.ChangeSet, len(p.parts))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(proposing)
	for i, each := range p.parts {
		group.Go(func() error {
			set, made, err := p.setNow(groupCtx, each)
			if err != nil {
				return err
			}
			proposal, err := p.live.applier.Propose(groupCtx, set, apply.ProposeOptions{Seeing: p.seeing, Force: p.force})
			plans[i], seeded[i] = apply.Planned{Set: set, Proposal: proposal}, made.Changes
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i := range plans {
		plans[i].Proposal = plans[i].Proposal.Behind(plans[:i])
	}
	return plans, seeded, nil
}

// setNow is a part as a set, with what its certificates are now.
func (p *promotion) setNow(ctx context.Context, each part) (apply.Set, seed.Result, error) {
	seeded, err := p.live.seeder.Plan(ctx, each.Component)
	if err != nil {
		return apply.Set{}, seeded, err
	}
	set, err := p.setOf(ctx, each, seeded.Authorities)
	return set, seeded, err
}

func (p *promotion) planImages(ctx context.Context, plan *SitePlan) error {
	r, err := p.siteRegistry(p.name, p.repositories())
	if err != nil {
		return err
	}
	for _, i := range p.lock.Images {
		if _, err := images.Walk(ctx, r.target, i.Ref(), nil); fault.KindOf(err) != fault.NotFound {
			if err != nil {
				return err
			}
			continue
		}
		to, _ := r.pushed.Ref(i.Ref())
		plan.Images = append(plan.Images, PlannedImage{From: i.Ref().String(), To: to.String(), Size: i.Size})
		plan.Bytes += i.Size
	}
	return nil
}
