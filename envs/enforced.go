package envs

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/policy"
	"github.com/kfdev/kfdev/stack/render"
)

// policySet is the set of the policy that keeps other images out.
const policySet = project.PolicyName

// enforced is what keeps images out that no lock names: those of this release
// and those that are still in use are let in.
func (p *promotion) enforced(ctx context.Context, parts []part, kept []string) (part, error) {
	digests := append(slices.Clone(kept), p.locked()...)
	live, found, err := policy.Read(ctx, p.live.client)
	if err != nil {
		return part{}, err
	}
	if found {
		still, err := policy.Retain(ctx, p.live.client, live.Digests, digests)
		if apierrors.IsForbidden(err) && !p.writes {
			progress.Warn(p.sink, "not everything may be read that can name images of before: all of them are taken to be named still")
			still, err = live.Digests, nil
		}
		if err != nil {
			return part{}, err
		}
		digests = append(digests, still...)
	}
	return p.policyOf(parts, digests)
}

// locked are the digests of the release's lock.
func (p *promotion) locked() []string {
	return digestsOf(p.lock)
}

func digestsOf(l lock.Lock) []string {
	var all []string
	for digest := range l.Digests() {
		all = append(all, digest.String())
	}
	return all
}

// policyOf is the policy that lets exactly the digests in.
func (p *promotion) policyOf(parts []part, digests []string) (part, error) {
	return policyPart(parts, digests, p.name == project.DevName)
}

func policyPart(parts []part, digests []string, warn bool) (part, error) {
	slices.Sort(digests)
	objects, err := policy.Objects(policy.Options{Namespaces: namespacesOf(parts), Digests: slices.Compact(digests), Warn: warn})
	if err != nil {
		return part{}, err
	}
	hash, err := render.Hash(objects)
	return part{Component: stack.Component{Name: policySet}, rendered: render.Rendered{Objects: objects}, hash: hash}, err
}

// namespacesOf are the stack's own namespaces, without those that are never locked.
func namespacesOf(parts []part) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p.Namespace)
		for _, o := range p.rendered.Objects {
			all = append(all, o.GetNamespace())
			if o.GetKind() == "Namespace" && o.GetAPIVersion() == "v1" {
				all = append(all, o.GetName())
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(n string) bool { return n == "" || policy.Exempt(n) })
}
