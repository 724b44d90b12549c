//go:build integration

package envs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// A promoter carries out what a reader has planned, though a reader could not be
// told what would become of anything: as long as all of it is as it was, and
// nobody holds its fields.
func TestIntegrationAReadersPlanIsCarriedOut(t *testing.T) {
	t.Parallel()
	p := stagingOnly(t)
	p.grant(t, "staging", "reader", "reader")
	read := func() *SitePlan {
		t.Helper()
		plan, err := p.as(t, "reader").PlanSite(t.Context(), "staging", PlanOptions{})
		require.NoError(t, err)
		require.True(t, plan.Changed())
		return throughAFile(t, plan)
	}
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: read()})
	require.NoError(t, err, "from nothing")

	p.more(t)
	plan := read()
	p.deployed(t, "kubectl-edit", "storage", `{"spec":{"paused":true}}`)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: plan})
	require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "Deployment/storage/storage: it was to be configured, and it is not any more what the plan saw")
	p.deployed(t, "kubectl-edit", "storage", `{"spec":{"paused":null}}`)

	p.deployed(t, "kubectl-scale", "storage", `{"spec":{"replicas":2}}`)
	was := p.ledger(t, "staging").Attempted
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: read()})
	require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, `Deployment/storage/storage: the field spec.replicas is held by "kubectl-scale"`)
	require.Equal(t, was, p.ledger(t, "staging").Attempted)
	p.deployed(t, "kubectl-scale", "storage", `{"spec":{"replicas":1}}`)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{PlanOptions: PlanOptions{Force: []string{"kubectl-scale"}}})
	require.NoError(t, err)

	p.catalog["storage/all.yaml"] = file(strings.Replace(deployment("storage", "registry.example/storage:v1"), "replicas: 1", "replicas: 4", 1))
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: read()})
	require.NoError(t, err)
	require.Equal(t, 1, done.Changes["storage"].Count(apply.Configured))
}

// Components that share a namespace each write what they say of it. A plan knows
// it as it was before the first of them.
func TestIntegrationAPlanOfANamespaceThatComponentsShare(t *testing.T) {
	t.Parallel()
	p := newPlacesOf(t, strings.NewReplacer("after: [dev]", "", "components: {", "components: {aa: {folder: aa}, bb: {folder: bb}, ").Replace(threePlaces), "staging")
	for _, generation := range []string{"one", "two"} {
		for name, after := range map[string]string{"aa": "extra", "bb": "aa"} {
			p.component(t, name, "requires: ["+after+"]\n", fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: extra, labels: {%s: %s}}\n", name, generation))
		}
		_, err := p.lock(t, LockOptions{})
		require.NoError(t, err)
		plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
		require.NoError(t, err)
		_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
		require.NoError(t, err)
		labels := p.namespace(t, "staging", "extra").Labels
		require.Equal(t, []string{generation, generation}, []string{labels["aa"], labels["bb"]})
	}
}
