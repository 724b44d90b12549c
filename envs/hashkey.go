package envs

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// planVersion is the form of a plan. Up to 1, hashes of Secrets were keyed with
// what the plan itself says.
const planVersion = 2

// findKey gets the key of the hashes that stand for what is in Secrets. Who has
// none (nothing was promoted there yet, or the Secret may not be read) plans
// without such hashes. A promotion needs them to hold on to what it saw: it takes
// a new key where there is none, which keepKey gives to the cluster, or the rights
// that it lacks are told before that.
func (p *promotion) findKey(ctx context.Context) error {
	if len(p.hashKey.Key) > 0 {
		return nil
	}
	key, err := p.live.seeder.HashKey(ctx)
	if apierrors.IsForbidden(err) {
		err = nil
	}
	if err == nil && len(key.Key) == 0 && p.writes {
		key, err = seed.NewHashKey()
	}
	p.hashKey = key
	p.seeing.SecretKey, p.seeing.Keyless = key.Key, len(key.Key) == 0
	return err
}

// keeping are the rights that the key needs.
func (p *promotion) keeping() []apply.Missing {
	const why = "the key of the hashes of Secrets"
	rights := []apply.Missing{{Verb: "get", Resource: "secrets", Namespace: apply.SystemNamespace, Name: seed.HashKeyName, Why: why}}
	if p.hashKey.Name == "" {
		rights = append(rights, apply.Missing{Verb: "create", Resource: "secrets", Namespace: apply.SystemNamespace, Why: why})
	}
	return rights
}

// keepKey gives a new key to the cluster.
func (p *promotion) keepKey(ctx context.Context, lease *ledger.Lease) (err error) {
	if p.hashKey.Name == "" {
		p.hashKey, err = p.live.seeder.Fenced(lease.Fence).KeepHashKey(ctx, p.hashKey)
	}
	return err
}

// readable refuses a plan whose form, or whose hashes, say nothing here.
func (p *promotion) readable(plan *SitePlan) error {
	switch {
	case plan.Version != planVersion:
		return planFor(plan, fmt.Sprintf("it has the form %d, where this kfdev reads %d", plan.Version, planVersion))
	case plan.Key != "" && plan.Key != string(p.hashKey.Name):
		return planFor(plan, "its hashes of Secrets are of a key that is not the cluster's, or that may not be read")
	}
	return nil
}

// completed is what a plan proposes, with what its maker could not see taken from
// how it is now: of Secrets the hashes, where the plan has no key, as long as the
// live one is the very version that the plan saw; and what the server would make
// of an object, where the maker had no right to ask. What the plan does say stays.
func completed(planned, now apply.Proposal, keyed bool) apply.Proposal {
	of := map[apply.Object]apply.Proposed{}
	for _, o := range now.Objects {
		of[o.Object] = o
	}
	objects := make([]apply.Proposed, len(planned.Objects))
	for i, o := range planned.Objects {
		n, there := of[o.Object]
		switch {
		case there && unread(o) && len(n.Conflicts) == 0: // a conflict is taken only where the plan says so
			o = n
		case o.Unchecked != "" && o.After == "":
			o.After = n.After
		}
		if secret := o.Object.Kind == "Secret" && o.Object.APIVersion == "v1"; secret && !keyed && o.UID == n.UID && o.ResourceVersion == n.ResourceVersion {
			o.Before, o.After = n.Before, n.After
		}
		objects[i] = o
	}
	planned.Objects = objects
	return planned
}

// unread reports whether the maker of a plan might not read an object: it is said
// to change, and not which one it is.
func unread(o apply.Proposed) bool {
	return o.Change == apply.Configured && o.UID == "" && o.Unchecked != ""
}

// seenAgain reports whether a Secret is what a plan saw: by hashes of its values,
// and of those that are given; without a key by the version of the live one.
func seenAgain(planned, now seed.GivenChange, keyed bool) bool {
	if !keyed {
		now.Before, now.After = "", ""
		return planned == now
	}
	return planned.Change == now.Change && planned.Before == now.Before && planned.After == now.After
}
