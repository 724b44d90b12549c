package envs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
	"github.com/kfdev/kfdev/stack/smoke"
)

// pullManager is the field manager that lends accounts the pull secret; a rule
// of package noise knows it.
const pullManager = "kfdev-pull"

// accountsWithin is how long Kubernetes may take to make a namespace's default
// account.
const accountsWithin = 30 * time.Second

// withPullSecret has every account of the objects, and every pod that uses its
// namespace's default account, pull with the Secret of that name. A part's own
// objects stay as they are.
func withPullSecret(objects []*unstructured.Unstructured, name string) []*unstructured.Unstructured {
	objects = copies(objects)
	for _, o := range objects {
		if o.GetKind() == "ServiceAccount" && o.GetAPIVersion() == "v1" {
			lend(o.Object, name)
			continue
		}
		eachPod(o.Object, func(pod map[string]any) {
			if account, _ := pod["serviceAccountName"].(string); account == "" || account == "default" {
				lend(pod, name)
			}
		})
	}
	return objects
}

// eachPod finds the specifications of pods, in objects of any kind.
func eachPod(node any, do func(map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		if containers, ok := node["containers"].([]any); ok && len(containers) > 0 {
			do(node)
			return
		}
		for _, each := range node {
			eachPod(each, do)
		}
	case []any:
		for _, each := range node {
			eachPod(each, do)
		}
	}
}

// lend adds the Secret to a pod's or an account's, and reports whether it was
// not there.
func lend(to map[string]any, name string) bool {
	have, _ := to["imagePullSecrets"].([]any)
	has := slices.ContainsFunc(have, func(v any) bool {
		m, ok := v.(map[string]any)
		return ok && m["name"] == name
	})
	if !has {
		to["imagePullSecrets"] = append(slices.Clone(have), map[string]any{"name": name})
	}
	return !has
}

// pullSecret is the name of the Secret that the environment's nodes pull with;
// empty where they need none.
func (p *promotion) pullSecret() string {
	return p.lent().Name
}

// lent is the Secret that smoke tests are lent: the original, for the component
// under test need not have a copy.
func (p *promotion) lent() smoke.PullSecret {
	if s := p.file.Environments.Others[p.name].Registry.PullSecret; s != nil {
		return smoke.PullSecret{Namespace: s.Namespace, Name: s.Name}
	}
	return smoke.PullSecret{}
}

// isPullSecret reports whether a Secret is the one that nodes pull with.
func (p *promotion) isPullSecret(g seed.Given) bool {
	s := p.file.Environments.Others[p.name].Registry.PullSecret
	return s != nil && s.Namespace == g.Namespace && s.Name == g.Name
}

// lendPullSecret copies the pull secret into every namespace of the release,
// and lends it to the accounts that are there.
func (p *promotion) lendPullSecret(ctx context.Context, lease *ledger.Lease, result *Promoted) error {
	from := p.file.Environments.Others[p.name].Registry.PullSecret
	if from == nil {
		return nil
	}
	fail := func(subject string, err error) error {
		return &fault.Error{Op: "lending the pull secret", Subject: subject, Err: err,
			Hint: fmt.Sprintf("environments.%s.registry.pullSecret names the Secret to copy", p.name)}
	}
	seeder := p.live.seeder.Fenced(lease.Fence)
	given, err := seeder.Copied(ctx, from.Namespace, from.Name)
	if err != nil {
		return fail(p.name, err)
	}
	for _, namespace := range namespacesOf(p.parts) {
		if given.Namespace = namespace; namespace != from.Namespace {
			change, err := seeder.EnsureGiven(ctx, given, p.seeing.SecretKey)
			if err != nil {
				return err
			}
			p.seeded(change, result)
		}
		if err := p.lendAccounts(ctx, lease, namespace, from.Name); err != nil {
			return fail(namespace, err)
		}
	}
	return nil
}

// seeded notes a Secret that was put in place, and the namespace that came with
// it.
func (p *promotion) seeded(change seed.GivenChange, result *Promoted) {
	done := result.Changes[secretsSet]
	if slices.ContainsFunc(done, func(e apply.Entry) bool { return e.Object == change.Object }) {
		return // the pull secret comes first, and with the others again
	}
	result.Changes[secretsSet] = append(done, apply.Entry{Object: change.Object, Change: change.Change})
	if change.Change == apply.Created {
		p.opened = append(p.opened, change.Namespace)
	}
}

// opens reports whether a set has to do with a namespace that was made for a
// Secret: a plan that was made before could not know that it is there.
func (p *promotion) opens(set apply.Set) bool {
	return slices.Contains(p.opened, set.Namespace) || slices.ContainsFunc(set.Objects, func(o *unstructured.Unstructured) bool {
		return slices.Contains(p.opened, o.GetNamespace()) || o.GetKind() == "Namespace" && slices.Contains(p.opened, o.GetName())
	})
}

// lendAccounts lends the Secret to the accounts of a namespace, the default one
// among them.
func (p *promotion) lendAccounts(ctx context.Context, lease *ledger.Lease, namespace, name string) error {
	accounts := p.live.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	waiting, cancel := context.WithTimeout(ctx, accountsWithin)
	defer cancel()
	if err := kube.Until(waiting, accounts, "default", func(o *unstructured.Unstructured) (bool, error) { return o != nil, nil }); err != nil {
		return fmt.Errorf("waiting for the default account: %w", err)
	}
	list, err := accounts.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		account := &list.Items[i]
		if !lend(account.Object, name) {
			continue
		}
		if err := lease.Fence(ctx); err != nil {
			return err
		}
		patch, err := json.Marshal(map[string]any{
			"metadata":         map[string]any{"resourceVersion": account.GetResourceVersion()},
			"imagePullSecrets": account.Object["imagePullSecrets"],
		})
		if err == nil {
			_, err = accounts.Patch(ctx, account.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: pullManager})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
