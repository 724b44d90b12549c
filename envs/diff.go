package envs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/envs/fingerprint/collect"
	"github.com/kfdev/kfdev/stack/imageref"
)

// Parity is how two environments compare: what is in force there, and what
// they are. What changed live since (drift) is no part of it.
type Parity struct {
	A ParitySide `json:"a"`
	B ParitySide `json:"b"`
	// Same is true where one and the same release is in force in both.
	Same bool `json:"same"`
	// Components are those that differ; Images those whose digests do.
	Components []ParityComponent `json:"components"`
	Images     []ParityImage     `json:"images"`
	// Configuration are the fields of the manifests that differ, and Environment
	// the dimensions of the fingerprints; what nothing allows comes first.
	Configuration []difference.Finding  `json:"configuration"`
	Environment   []fingerprint.Finding `json:"environment"`
	Budget        difference.Budget     `json:"budget"`
	// Suggested are entries that would allow what nothing does, for people to
	// judge, with their reason and owner.
	Suggested []difference.Entry `json:"suggested,omitempty"`
	Took      time.Duration      `json:"took"` // nanoseconds
}

// ParitySide is one environment.
type ParitySide struct {
	Environment string    `json:"environment"`
	Release     string    `json:"release"` // in force; digest
	Lock        string    `json:"lock"`
	Since       time.Time `json:"since"`
	Fingerprint string    `json:"fingerprint"` // digest
}

// ParityComponent is a component that is not the same; empty where one side
// lacks it.
type ParityComponent struct {
	Name string `json:"name"`
	A    string `json:"a,omitempty"` // version
	B    string `json:"b,omitempty"`
}

// ParityImage is an image whose digest is not the same.
type ParityImage struct {
	Repository string `json:"repository"`
	A          string `json:"a,omitempty"`
	B          string `json:"b,omitempty"`
}

// Undeclared is how many places differ that nothing allows; what is unknown and
// what an expired entry allows count as such.
func (p Parity) Undeclared() int {
	return p.Budget.Undeclared + p.Budget.Unknown + p.Budget.Expired + len(p.Images) + len(p.Components)
}

// paritySide is a side with what it is compared by.
type paritySide struct {
	ParitySide
	made
	objects []*unstructured.Unstructured
	images  *difference.Relocated
	finger  fingerprint.Fingerprint
}

// Diff compares two environments.
func (e *Engine) Diff(ctx context.Context, a, b string) (parity Parity, err error) {
	start := time.Now()
	var sides [2]paritySide
	group, groupCtx := errgroup.WithContext(ctx)
	for i, name := range []string{a, b} {
		group.Go(func() (err error) {
			sides[i], err = e.paritySide(groupCtx, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Parity{}, err
	}
	parity = Parity{
		A: sides[0].ParitySide, B: sides[1].ParitySide, Same: sides[0].ParitySide.Release == sides[1].ParitySide.Release,
		Components: otherComponents(sides[0].made, sides[1].made), Images: otherImages(sides[0].made, sides[1].made),
	}
	prover := difference.Prover{Entries: e.entries(), Images: map[string]difference.Relocated{}, Source: difference.ByOwner}
	objects := map[string][]*unstructured.Unstructured{}
	for _, s := range sides {
		objects[s.Environment] = s.objects
		if s.images != nil {
			prover.Images[s.Environment] = *s.images
		}
	}
	proof, err := prover.Prove(objects)
	if err != nil {
		return parity, err
	}
	proof.Findings = slices.DeleteFunc(proof.Findings, e.follows)
	now := time.Now()
	parity.Budget = difference.Count(proof, e.entries(), now)
	parity.Configuration = append([]difference.Finding{}, proof.Findings...)
	slices.SortStableFunc(parity.Configuration, func(x, y difference.Finding) int { return cmp.Compare(worseFinding(y), worseFinding(x)) })
	rules, err := fingerprint.Tighten(fingerprint.DefaultRules(), e.file.Fingerprint)
	if err != nil {
		return parity, err
	}
	parity.Environment = e.budgeted(a, b, e.fingerprints(sides[0], sides[1], rules), &parity.Budget, now)
	suggested := append(difference.Suggest(proof.Findings), fingerprint.Suggest(a, b, parity.Environment)...)
	parity.Suggested = difference.Unique(suggested, e.file.Differences)
	parity.Took = time.Since(start)
	return parity, nil
}

func worseFinding(f difference.Finding) int {
	switch {
	case f.Allowed:
		return 0
	case !f.A.Present || !f.B.Present:
		return 2 // one side has not got it at all
	}
	return 1
}

// paritySide reads one environment.
func (e *Engine) paritySide(ctx context.Context, name string) (s paritySide, err error) {
	at, err := e.site(ctx, name)
	if err != nil {
		return s, err
	}
	defer at.close()
	p, err := e.inForce(ctx, at)
	if err != nil {
		return s, err
	}
	l, _, err := at.ledger.Read(ctx)
	if err != nil {
		return s, err
	}
	s.made = p.made
	s.ParitySide = ParitySide{Environment: name, Release: p.digest(), Lock: p.LockDigest, Since: l.InForce.At}
	parts, err := p.made.parts(name)
	if err != nil {
		return s, err
	}
	if err := s.take(name, parts); err != nil {
		return s, err
	}
	if s.finger, err = collect.Collect(ctx, at.live.client, collect.Options{Namespaces: namespacesOf(parts), Release: s.objects}); err != nil {
		return s, err
	}
	s.Fingerprint, err = s.finger.Digest()
	return s, err
}

// take takes the objects of the parts, each once, and where their images are.
func (s *paritySide) take(name string, parts []part) error {
	seen := map[difference.ObjectRef]bool{}
	if env, _ := s.made.Environment(name); env.Pull != "" {
		relocation, err := difference.NewRelocation(env.Pull, s.repositories())
		if err != nil {
			return err
		}
		s.images = &difference.Relocated{Relocation: relocation}
	}
	for _, p := range parts {
		for _, o := range p.rendered.Objects {
			if ref := difference.RefOf(o); !seen[ref] {
				seen[ref] = true
				s.objects = append(s.objects, o)
			}
		}
		if s.images == nil {
			continue
		}
		found, err := imageref.Find(p.rendered.Objects, present(p.Rules, p.rendered.Objects))
		if err != nil {
			return err
		}
		s.images.Found = append(s.images.Found, found...)
	}
	return nil
}

// otherComponents are the components that not both releases have in the same
// version.
func otherComponents(a, b made) []ParityComponent {
	all := map[string]ParityComponent{}
	for _, c := range a.Components {
		all[c.Name] = ParityComponent{Name: c.Name, A: c.Version}
	}
	for _, c := range b.Components {
		each := all[c.Name]
		each.Name, each.B = c.Name, c.Version
		all[c.Name] = each
	}
	differing := []ParityComponent{}
	for _, c := range all {
		if c.A != c.B {
			differing = append(differing, c)
		}
	}
	slices.SortFunc(differing, func(x, y ParityComponent) int { return cmp.Compare(x.Name, y.Name) })
	return differing
}

// otherImages are the images that not both locks have by the same digest.
func otherImages(a, b made) []ParityImage {
	all := map[string]ParityImage{}
	for _, i := range a.lock.Images {
		all[i.Repository] = ParityImage{Repository: i.Repository, A: i.Digest.String()}
	}
	for _, i := range b.lock.Images {
		each := all[i.Repository]
		each.Repository, each.B = i.Repository, i.Digest.String()
		all[i.Repository] = each
	}
	differing := []ParityImage{}
	for _, i := range all {
		if i.A != i.B {
			differing = append(differing, i)
		}
	}
	slices.SortFunc(differing, func(x, y ParityImage) int { return cmp.Compare(x.Repository, y.Repository) })
	return differing
}
