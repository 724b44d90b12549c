//go:build integration

package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// stagingOnly are the places of threePlaces without what would have to come before.
func stagingOnly(t *testing.T) *places {
	t.Helper()
	p := newPlacesOf(t, strings.Replace(threePlaces, "after: [dev]", "", 1), "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	return p
}

// A plan is no way around the lock: one of the project's own release is carried
// out only where the lock is still the project's and makes that release, though
// the registry has it. One of a release that was named needs neither.
func TestIntegrationAPlanNeedsTheLock(t *testing.T) {
	t.Parallel()
	p := stagingOnly(t)
	first, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err, "from now on the registry has it")
	own, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Equal(t, first.Release, own.Release)
	require.False(t, own.Named)
	named, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{Release: first.Release})
	require.NoError(t, err)
	require.True(t, named.Named)

	file, err := os.ReadFile(filepath.Join(p.dir, "kfdev.yaml"))
	require.NoError(t, err)
	written, err := os.ReadFile(filepath.Join(p.dir, lock.FileName))
	require.NoError(t, err)
	before := p.ledger(t, "staging")
	refused := func(text string) {
		t.Helper()
		_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, own)})
		require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, text)
		require.Equal(t, before, p.ledger(t, "staging"))
		done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, named)})
		require.NoError(t, err)
		require.Equal(t, first.Release, done.Release)
		before = p.ledger(t, "staging")
	}

	require.NoError(t, os.Remove(filepath.Join(p.dir, lock.FileName)))
	refused("the lock is not the project's any more")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "without a plan it is no other")
	_, err = p.engine(t).Promote(t.Context(), "nowhere", PromoteOptions{})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)

	require.NoError(t, os.WriteFile(filepath.Join(p.dir, lock.FileName), written, 0o600))
	p.project(t, strings.Replace(string(file), "components: {extra: {enabled: true}}", "components: {}", 1))
	refused("the lock is not the project's any more")

	p.project(t, strings.Replace(string(file), "staging: 2", "staging: 3", 1))
	refused("the project makes sha256:")

	p.project(t, string(file))
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, own)})
	require.NoError(t, err)
}

// deployed changes the Deployment of a component in staging, as somebody else.
func (p *places) deployed(t *testing.T, manager, name, patch string) {
	t.Helper()
	_, err := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(name).
		Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
	require.NoError(t, err)
}

// A plan that takes fields is carried out as it is written, without anything
// being said again; and it takes nothing that it does not say, nor by a flag.
func TestIntegrationAPlanTakesWhatItsLinesSay(t *testing.T) {
	t.Parallel()
	p := stagingOnly(t)
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	extra := func(plan SitePlan) apply.Proposed {
		t.Helper()
		for _, set := range plan.Sets {
			for _, o := range set.Objects {
				if o.Object.String() == "Deployment/extra/extra" {
					return o
				}
			}
		}
		require.Fail(t, "the plan does not have it")
		return apply.Proposed{}
	}
	p.deployed(t, "kubectl-scale", "extra", `{"spec":{"replicas":4}}`)
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{Force: []string{"kubectl-scale"}})
	require.NoError(t, err)
	require.Len(t, extra(plan).Conflicts, 1)
	require.True(t, extra(plan).Conflicts[0].Force)

	// Another one takes another field, and a third one comes to hold the same.
	before := p.ledger(t, "staging")
	for patch, told := range map[string]string{
		`{"spec":{"template":{"metadata":{"labels":{"app":"extra"}},"spec":{"containers":[{"name":"main","image":"example.com/theirs:v1"}]}}}}`: `kubectl-edit holds spec.template.spec.containers`,
		`{"spec":{"replicas":5}}`: `now: kubectl-edit holds spec.replicas`,
	} {
		was := p.get(t, "staging", "Deployment", "extra", "extra")
		p.deployed(t, "kubectl-edit", "extra", patch)
		for _, force := range [][]string{nil, {"kubectl-edit"}, {"Deployment/extra/extra"}} {
			_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan), PlanOptions: PlanOptions{Force: force}})
			require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
			require.ErrorContains(t, err, "carrying out the plan: staging: Deployment/extra/extra: ")
			require.ErrorContains(t, err, told)
			require.Equal(t, before.InForce, p.ledger(t, "staging").InForce)
		}
		p.restore(t, "kubectl-scale", was)
	}

	// As it was planned from again. That the manager wrote once more, so that it
	// holds the field since another time, changes nothing.
	extra(plan).Conflicts[0].Since = &metav1.Time{Time: time.Now().Add(-time.Hour)}
	done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	require.Equal(t, 1, done.Changes["extra"].Count(apply.Configured))
	replicas, _, err := unstructured.NestedInt64(p.get(t, "staging", "Deployment", "extra", "extra"), "spec", "replicas")
	require.NoError(t, err)
	require.EqualValues(t, 2, replicas)
	after, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.False(t, after.Changed(), "%+v", after)
}

// restore has a Deployment in staging be as it was, by the manager.
func (p *places) restore(t *testing.T, manager string, was map[string]any) {
	t.Helper()
	o := &unstructured.Unstructured{Object: was}
	deployments := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(o.GetNamespace())
	require.NoError(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := deployments.Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		o.SetResourceVersion(now.GetResourceVersion())
		_, err = deployments.Update(t.Context(), o, metav1.UpdateOptions{FieldManager: manager})
		return err
	}))
}
