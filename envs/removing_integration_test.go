//go:build integration

package envs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// onePlace is a project with components of its own and one environment.
const onePlace = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack: {preset: tiny, components: {COMPONENTS}}
environments:
  staging: {cluster: {context: staging}, registry: registry.staging.example/kfdev}
`

// components makes the project one of these components, each of ConfigMaps in
// the namespace shared, by name and value.
func (p *places) components(t *testing.T, all map[string]map[string]string) {
	t.Helper()
	var names []string
	for name, maps := range all {
		names = append(names, fmt.Sprintf("%[1]s: {folder: %[1]s}", name))
		text := "apiVersion: v1\nkind: Namespace\nmetadata: {name: shared}\n"
		for each, value := range maps {
			text += fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shared}\ndata: {value: %q}\n", each, value)
		}
		p.write(t, map[string]string{
			name + "/component.yaml":     "apiVersion: kfdev.dev/v1alpha1\nkind: Component\nname: " + name + "\nversion: v1\ntitle: for tests\nnamespace: shared\n",
			name + "/kustomization.yaml": "resources: [all.yaml]\n",
			name + "/all.yaml":           text,
		})
	}
	p.project(t, p.text(strings.Replace(onePlace, "COMPONENTS", strings.Join(names, ", "), 1)))
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
}

func (p *places) configMap(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("shared").Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return o
}

func (p *places) steady(t *testing.T) {
	t.Helper()
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.False(t, plan.Changed(), "%+v", plan)
}

// plannedLine is what a plan says of a ConfigMap of a set.
func plannedLine(t *testing.T, plan SitePlan, set, name string) apply.Proposed {
	t.Helper()
	all := plan.Removed
	for _, s := range plan.Sets {
		all = append(all, s.Proposal)
	}
	for _, s := range all {
		for _, o := range s.Objects {
			if s.Set == set && o.Object.Kind == "ConfigMap" && o.Object.Name == name {
				return o
			}
		}
	}
	require.Failf(t, "not in the plan", "%s of %s", name, set)
	return apply.Proposed{}
}

// A component that left the project is in the plan object by object, needs the
// rights that its removal takes, and goes as planned or not at all.
func TestIntegrationAComponentLeaves(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(onePlace, "COMPONENTS", "", 1), "staging")
	p.components(t, map[string]map[string]string{"ours": {"stays": "0"}, "more": {"one": "0", "two": "0"}})
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	p.components(t, map[string]map[string]string{"ours": {"stays": "1"}})
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Len(t, plan.Removed, 1)
	for _, name := range []string{"one", "two"} {
		goes := plannedLine(t, plan, "more", name)
		require.Equal(t, apply.Deleted, goes.Change)
		require.Equal(t, p.configMap(t, name).GetUID(), goes.UID)
		require.Equal(t, p.configMap(t, name).GetResourceVersion(), goes.ResourceVersion)
		require.NotEmpty(t, goes.Before)
	}

	// Without the right to delete, nothing at all is written.
	p.grant(t, "staging", "promoter", "promoter")
	p.grantWithout(t, "staging", "weak", "delete")
	_, err = p.as(t, "weak").Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "delete configmaps in shared")
	require.ErrorContains(t, err, "delete configmaps in kfdev-system")
	require.Equal(t, map[string]any{"value": "0"}, p.configMap(t, "stays").Object["data"])

	refused := func(plan SitePlan, why ...string) {
		t.Helper()
		before := p.ledger(t, "staging")
		_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
		require.Equal(t, fault.Gate, fault.KindOf(err))
		for _, text := range why {
			require.ErrorContains(t, err, text)
		}
		require.Equal(t, map[string]any{"value": "0"}, p.configMap(t, "stays").Object["data"])
		require.Equal(t, before.Attempted, p.ledger(t, "staging").Attempted)
	}
	// Of a plan, each removal counts: one that it does not have, one that it has no
	// more, and an object that is not what it saw.
	without := plan
	without.Removed = nil
	refused(without, "more: the component is to be removed, and the plan does not have that", "ConfigMap/shared/one: the plan does not have it")
	site := apply.New(p.clients["staging"], nil, progress.Discard)
	stray := apply.Set{Name: "stray", Namespace: "shared", Objects: []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "stray"}}}}}
	_, err = site.Apply(t.Context(), stray)
	require.NoError(t, err)
	refused(plan, "stray: the component is to be removed, and the plan does not have that", "ConfigMap/shared/stray: the plan does not have it")
	more, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	_, err = site.Remove(t.Context(), "stray")
	require.NoError(t, err)
	refused(more, "stray: it was to be removed, and there is nothing of it any more to remove")
	maps := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("shared")
	_, err = maps.Patch(t.Context(), "two", types.MergePatchType, []byte(`{"data":{"value":"theirs"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	require.NoError(t, err)
	refused(plan, "ConfigMap/shared/two: it was to be deleted, and it is not any more what the plan saw")

	plan, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	require.Equal(t, 2, done.Changes["more"].Count(apply.Deleted))
	require.Nil(t, p.configMap(t, "one"))
	require.Nil(t, p.configMap(t, "two"))
	inventory, err := site.Inventory(t.Context(), "more")
	require.NoError(t, err)
	require.Nil(t, inventory)
	p.steady(t)
}

// cut fails every write to the cluster from one on, as one that was cut off.
type cut struct {
	next http.RoundTripper
	at   string // the end of that write's address
	met  atomic.Bool
}

func (c *cut) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") == "" {
		if strings.HasSuffix(r.URL.Path, c.at) {
			c.met.Store(true)
		}
		if c.met.Load() && !strings.Contains(r.URL.Path, "/leases/") {
			return nil, errors.New("cut off")
		}
	}
	return c.next.RoundTrip(r)
}

// WrappedRoundTripper leads to the connections that Close of a client drops.
func (c *cut) WrappedRoundTripper() http.RoundTripper { return c.next }

// A component is renamed, and an object moves from one to another, both ways:
// what they have is taken over as it is, wherever the promotion was cut off.
func TestIntegrationObjectsMoveBetweenComponents(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(onePlace, "COMPONENTS", "", 1), "staging")
	forms := []map[string]map[string]string{
		{"alpha": {"stays": "0", "moves": "0"}, "beta": {"own": "0"}, "named": {"kept": "0", "dropped": "0"}},
		{"alpha": {"stays": "0"}, "beta": {"own": "0", "moves": "1"}, "renamed": {"kept": "0"}},
	}
	p.components(t, forms[0])
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	kept, moves := p.configMap(t, "kept").GetUID(), p.configMap(t, "moves").GetUID()

	p.components(t, forms[1])
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	taken := plannedLine(t, plan, "renamed", "kept")
	require.Equal(t, []any{apply.Configured, "taken over from named", kept}, []any{taken.Change, taken.Reason, taken.UID})
	require.Equal(t, "taken over from alpha", plannedLine(t, plan, "beta", "moves").Reason)
	require.Equal(t, apply.Skipped, plannedLine(t, plan, "alpha", "moves").Change)
	require.Equal(t, apply.Skipped, plannedLine(t, plan, "named", "kept").Change)
	require.Equal(t, apply.Deleted, plannedLine(t, plan, "named", "dropped").Change)

	sets := []map[string]string{{"moves": "alpha", "kept": "named"}, {"moves": "beta", "kept": "renamed"}}
	arrived := func(form int, how string) {
		t.Helper()
		require.Equal(t, kept, p.configMap(t, "kept").GetUID(), how)
		require.Equal(t, moves, p.configMap(t, "moves").GetUID(), how)
		for name, set := range sets[form] {
			require.Equal(t, apply.SetID(set), p.configMap(t, name).GetLabels()["applyset.kubernetes.io/part-of"], how)
		}
		require.Equal(t, form == 0, p.configMap(t, "dropped") != nil, how)
		site := apply.New(p.clients["staging"], nil, progress.Discard)
		inventories, err := site.Inventories(t.Context())
		require.NoError(t, err)
		seen := map[string]string{}
		for _, i := range inventories {
			require.NotEmpty(t, i.Hash, how)
			for _, m := range i.Members {
				if m.Kind == "ConfigMap" {
					require.Empty(t, seen[m.Name], how)
					seen[m.Name] = i.Name
				}
			}
		}
		for name, set := range sets[form] {
			require.Equal(t, set, seen[name], how)
		}
		p.steady(t)
	}
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	arrived(1, "undisturbed")

	form := 1
	for _, at := range []string{"/configmaps/kfdev-alpha", "/configmaps/kfdev-beta", "/configmaps/moves", "/configmaps/kept", "/configmaps/kfdev-renamed", "/configmaps/kfdev-named"} {
		form = 1 - form
		p.components(t, forms[form])
		how := fmt.Sprintf("cut off at %s on the way to form %d", at, form)
		e := p.engine(t)
		e.world.Site = func(context.Context, string) (*kube.Client, error) {
			config := rest.CopyConfig(p.clients["staging"].Config)
			config.Wrap(transport.WrapperFunc(func(next http.RoundTripper) http.RoundTripper { return &cut{next: next, at: at} }))
			return kube.Connect(config)
		}
		_, err := e.Promote(t.Context(), "staging", PromoteOptions{})
		require.ErrorContains(t, err, "cut off", how)
		_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
		require.NoError(t, err, how)
		arrived(form, how)
	}
}

// What moves is taken over in dev, too, and the component that was renamed goes.
func TestIntegrationUpTakesOver(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(onePlace, "COMPONENTS", "", 1), "staging")
	live := newLiveStack(p.clients["staging"], progress.Discard)
	up := func(forms map[string]map[string]string) {
		t.Helper()
		p.components(t, forms)
		s, err := p.engine(t).settled(t.Context())
		require.NoError(t, err)
		for _, each := range s.parts {
			_, err := live.Plan(t.Context(), each)
			require.NoError(t, err)
			_, err = live.Apply(t.Context(), each)
			require.NoError(t, err)
		}
	}
	up(map[string]map[string]string{"alpha": {"stays": "0", "moves": "0"}, "beta": {"own": "0"}, "named": {"kept": "0", "dropped": "0"}})
	kept, moves := p.configMap(t, "kept").GetUID(), p.configMap(t, "moves").GetUID()
	up(map[string]map[string]string{"alpha": {"stays": "0"}, "beta": {"own": "0", "moves": "1"}, "renamed": {"kept": "0"}})
	done, err := live.Remove(t.Context(), "named")
	require.NoError(t, err)
	require.Equal(t, 1, done.Count(apply.Deleted))
	require.Nil(t, p.configMap(t, "dropped"))
	require.Equal(t, kept, p.configMap(t, "kept").GetUID())
	require.Equal(t, moves, p.configMap(t, "moves").GetUID())
	require.Equal(t, apply.SetID("renamed"), p.configMap(t, "kept").GetLabels()["applyset.kubernetes.io/part-of"])
	require.Equal(t, apply.SetID("beta"), p.configMap(t, "moves").GetLabels()["applyset.kubernetes.io/part-of"])
	names, err := live.Sets(t.Context())
	require.NoError(t, err)
	require.NotContains(t, names, "named")
}
