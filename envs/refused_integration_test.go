//go:build integration

package envs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
)

// thingKind is a kind, whose objects' n is of a type, in one version.
const thingKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things, singular: thing}
  scope: Namespaced
  versions:
  - {name: VERSION, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {n: {type: TYPE}}}}}}}
`

// component writes a component of the project's own into its folder.
func (p *places) component(t *testing.T, name, more, manifest string) {
	t.Helper()
	p.write(t, map[string]string{
		name + "/component.yaml":     "apiVersion: kfdev.dev/v1alpha1\nkind: Component\nname: " + name + "\nversion: v1\ntitle: for tests\nnamespace: extra\n" + more,
		name + "/kustomization.yaml": "resources: [all.yaml]\n",
		name + "/all.yaml":           manifest,
	})
}

// more has the project have more replicas of storage, which
// comes first, so that a promotion has something to write before it comes to
// what is in its way.
func (p *places) more(t *testing.T) {
	t.Helper()
	p.catalog["storage/all.yaml"] = file(strings.Replace(deployment("storage", "registry.example/storage:v1"), "replicas: 1", "replicas: 3", 1))
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
}

// What stands in the way of a release and can be known is told before anything of
// it is written: no component before the one that can't be carried out is touched.
// A plan of it is whole, and a fault.
func TestIntegrationWhatCannotBeDoneIsRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	p := newPlacesOf(t, strings.NewReplacer("after: [dev]", "", "components: {", "components: {kinds: {folder: kinds}, ").Replace(threePlaces), "staging")
	p.component(t, "kinds", "requires: [extra]\n", strings.NewReplacer("VERSION", "v1", "TYPE", "integer").Replace(thingKind))
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	before, deployed := p.ledger(t, "staging"), p.get(t, "staging", "Deployment", "storage", "storage")
	refused := func(texts ...string) {
		t.Helper()
		plan, planned := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
		require.Len(t, plan.Sets, 4, "it is whole")
		require.Equal(t, []string{}, plan.Verify)
		_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
		_, asPlanned := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
		for _, err := range []error{planned, err, asPlanned} {
			require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
			for _, text := range texts {
				require.ErrorContains(t, err, text)
			}
		}
		require.Equal(t, before.InForce, p.ledger(t, "staging").InForce)
		require.Equal(t, before.Attempted, p.ledger(t, "staging").Attempted, "it was not even begun")
		require.Equal(t, deployed, p.get(t, "staging", "Deployment", "storage", "storage"))
	}
	extra := p.catalog["extra/all.yaml"]

	p.more(t)
	p.deployed(t, "kubectl-scale", "extra", `{"spec":{"replicas":4}}`)
	refused(`Deployment/extra/extra: the field spec.replicas is held by "kubectl-scale"`)
	p.deployed(t, "kubectl-scale", "extra", `{"spec":{"replicas":2}}`)

	p.catalog["extra/all.yaml"] = file(strings.ReplaceAll(deployment("extra", "registry.example/extra:v1"), "{app: extra}", "{app: extra, more: x}"))
	p.more(t)
	refused("Deployment/extra/extra: spec.selector: ")
	p.catalog["extra/all.yaml"] = extra

	p.component(t, "kinds", "requires: [extra]\n", strings.NewReplacer("VERSION", "v2", "TYPE", "integer").Replace(thingKind))
	p.more(t)
	refused("CustomResourceDefinition/things.example.com: objects are stored as v1, which the new kind no longer has")

	p.component(t, "kinds", "requires: [extra]\n", strings.NewReplacer("VERSION", "v1", "TYPE", "integer").Replace(thingKind))
	p.more(t)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.NotEqual(t, deployed, p.get(t, "staging", "Deployment", "storage", "storage"))
}

// What a component before brings or changes is no reason to refuse those after
// it: their objects fit once it is there. With a plan it is the same.
func TestIntegrationWhatAComponentBeforeMendsIsNoReason(t *testing.T) {
	t.Parallel()
	p := newPlacesOf(t, strings.NewReplacer("after: [dev]", "", "components: {", "components: {kinds: {folder: kinds}, things: {folder: things}, ").Replace(threePlaces), "staging")
	at := func(most, value string) {
		t.Helper()
		p.component(t, "kinds", "requires: [extra]\n", strings.NewReplacer("VERSION", "v1", "TYPE", "integer, maximum: "+most).Replace(thingKind))
		p.component(t, "things", "requires: [kinds]\n", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one, namespace: extra}\nspec: {n: "+value+"}\n")
		_, err := p.lock(t, LockOptions{})
		require.NoError(t, err)
	}
	at("5", "1")
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)

	at("10", "7")
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	things := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}).Namespace("extra")
	one, err := things.Get(t.Context(), "one", metav1.GetOptions{})
	require.NoError(t, err)
	n, _, _ := unstructured.NestedInt64(one.Object, "spec", "n")
	require.EqualValues(t, 7, n)

	at("20", "11")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)

	// A kind that stays as it is mends nothing.
	at("20", "21")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "Thing/extra/one: ")
}
