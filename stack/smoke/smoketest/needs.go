// Package smoketest holds smoke tests to what they say that they need.
package smoketest

import (
	"slices"
	"testing"

	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

// Client is a fake client that remembers what was asked of it.
type Client interface {
	Actions() []clienttesting.Action
}

// Said fails where a run of the test asked for something that it does not say
// it needs. Clients are those that it had, but for those that were other users.
func Said(t *testing.T, test smoke.Test, env smoke.Env) {
	t.Helper()
	needs := smoke.Needs(test, env.Component, env.PullSecret)
	for _, each := range []any{env.Kube, env.Dynamic} {
		client, ok := each.(Client)
		if !ok {
			t.Fatalf("%T does not tell what was asked of it", each)
		}
		for _, a := range client.Actions() {
			if !covered(needs, a) {
				t.Errorf("%s %s %s in %q is not among what the smoke test %s says it needs", a.GetVerb(), a.GetResource().GroupResource(), a.GetSubresource(), a.GetNamespace(), test.Name())
			}
		}
	}
}

func covered(needs []apply.Missing, a clienttesting.Action) bool {
	resource := a.GetResource().Resource
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	return slices.ContainsFunc(needs, func(m apply.Missing) bool {
		return m.Verb == a.GetVerb() && m.Group == a.GetResource().Group && m.Resource == resource && (m.Namespace == "" || m.Namespace == a.GetNamespace())
	})
}
