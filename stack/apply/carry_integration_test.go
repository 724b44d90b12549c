//go:build integration

package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

const crdText = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  names: {kind: Thing, plural: things, singular: thing}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {n: {type: integer}}}}}}}
`

// thirty returns a set of thirty objects with a kind and things of it, in a
// namespace of its own. Later generations differ in every third ConfigMap and
// have one object instead of another.
func thirty(tb testing.TB, name string, generation int) apply.Set {
	tb.Helper()
	set := apply.Set{Name: name, Namespace: name, Hash: fmt.Sprintf("generation %d", generation)}
	add := func(format string, args ...any) {
		set.Objects = append(set.Objects, object(tb, fmt.Sprintf(format, args...)))
	}
	add("{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", name)
	add(crdText, name)
	for n := range 3 {
		add("{apiVersion: %s.example.com/v1, kind: Thing, metadata: {name: thing-%d}, spec: {n: %d}}", name, n, n+generation)
	}
	for n := range 18 {
		add("{apiVersion: v1, kind: ConfigMap, metadata: {name: config-%d}, data: {key: 'of %d', other: same}}", n, generation*((n+2)%3/2))
	}
	add("{apiVersion: v1, kind: ConfigMap, metadata: {name: only-%d}}", generation)
	add("{apiVersion: v1, kind: ServiceAccount, metadata: {name: account}}")
	add("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{name: http, port: %d}]}}", 80+generation)
	add("{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}")
	add("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: [{kind: ServiceAccount, name: account}]}")
	for n := range 2 {
		add(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web-%[1]d}, spec: {replicas: 0, selector: {matchLabels: {app: web-%[1]d}}, template: {metadata: {labels: {app: web-%[1]d}},
			spec: {containers: [{name: main, image: 'web:%[2]d', env: [{name: A, value: a}, {name: B, value: b}], ports: [{containerPort: 80}]}]}}}}`, n, generation)
	}
	require.Len(tb, set.Objects, 30)
	return set
}

func propose(t *testing.T, a *apply.Applier, set apply.Set) apply.Proposal {
	t.Helper()
	p, err := a.Propose(t.Context(), set, apply.ProposeOptions{})
	require.NoError(t, err)
	return p
}

// planned returns the changes of a proposal, by object.
func planned(p apply.Proposal) map[string]apply.Change {
	m := map[string]apply.Change{}
	for _, o := range p.Objects {
		m[o.Object.String()] = o.Change
	}
	return m
}

func line(t *testing.T, p apply.Proposal, name string) apply.Proposed {
	t.Helper()
	for _, o := range p.Objects {
		if o.Object.String() == name {
			return o
		}
	}
	require.Failf(t, "not in the proposal", "%s", name)
	return apply.Proposed{}
}

// through is a proposal as it comes out of a file.
func through(t *testing.T, p apply.Proposal) apply.Proposal {
	t.Helper()
	data, err := json.Marshal(p)
	require.NoError(t, err)
	var back apply.Proposal
	require.NoError(t, json.Unmarshal(data, &back))
	return back
}

func TestIntegrationCarry(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, false))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	edit := func(t *testing.T, namespace, name, patch string) {
		t.Helper()
		_, err := configMaps.Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
	}

	t.Run("from nothing, on, and again", func(t *testing.T) {
		p := propose(t, a, thirty(t, "whole", 0))
		require.Len(t, p.Objects, 30)
		require.NoError(t, p.Problems())
		require.Equal(t, "the namespace whole is not there yet", line(t, p, "ConfigMap/whole/config-0").Unchecked)
		brought := apply.Set{Name: "brought", Objects: []*unstructured.Unstructured{object(t, fmt.Sprintf(crdText, "brought")), object(t, "{apiVersion: brought.example.com/v1, kind: Thing, metadata: {name: one}}")}}
		require.Equal(t, "its kind is not served yet", line(t, propose(t, a, brought), "Thing/default/one").Unchecked)
		require.NotEmpty(t, line(t, p, "Namespace/whole").After)
		done, err := a.Carry(t.Context(), thirty(t, "whole", 0), through(t, p), apply.CarryOptions{})
		require.NoError(t, err)
		require.Equal(t, 30, done.Count(apply.Created))
		p = propose(t, a, thirty(t, "whole", 0))
		require.False(t, p.Changed(), "%+v", p)

		set := thirty(t, "whole", 1)
		p = propose(t, a, set)
		require.NoError(t, p.Problems())
		require.Equal(t, apply.Created, line(t, p, "ConfigMap/whole/only-1").Change)
		require.Equal(t, apply.Deleted, line(t, p, "ConfigMap/whole/only-0").Change)
		require.Equal(t, apply.Unchanged, line(t, p, "ConfigMap/whole/config-1").Change)
		config := line(t, p, "ConfigMap/whole/config-0")
		require.Equal(t, []apply.FieldChange{{Path: "data/key", From: "of 0", To: "of 1"}}, config.Fields)
		require.NotEqual(t, config.Before, config.After)
		require.Equal(t, []apply.FieldChange{{Path: "spec/template/spec/containers[name=main]/image", From: "web:0", To: "web:1"}},
			line(t, p, "Deployment/whole/web-0").Fields)
		done, err = a.Carry(t.Context(), set, through(t, p), apply.CarryOptions{})
		require.NoError(t, err)
		require.Equal(t, planned(p), changes(done))
		p = propose(t, a, set)
		require.False(t, p.Changed(), "%+v", p)
		require.Empty(t, line(t, p, "ConfigMap/whole/config-0").Before, "what metadata shows to be as it was costs no request")
	})

	t.Run("only what was planned", func(t *testing.T) {
		set := thirty(t, "bound", 0)
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
		next := thirty(t, "bound", 1)
		p := propose(t, a, next)

		_, err = a.Carry(t.Context(), set, p, apply.CarryOptions{})
		require.ErrorContains(t, err, "it was made for other objects")
		require.Equal(t, fault.Gate, fault.KindOf(err))

		edit(t, "bound", "config-3", `{"data":{"more":"x"}}`)
		require.NoError(t, configMaps.Namespace("bound").Delete(t.Context(), "config-6", metav1.DeleteOptions{}))
		edit(t, "bound", "only-0", `{"data":{"more":"x"}}`)
		_, err = configMaps.Namespace("bound").Create(t.Context(), object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: only-1}, data: {a: theirs}}"), metav1.CreateOptions{})
		require.NoError(t, err)
		wrote := writes(client, "bound")
		_, err = a.Carry(t.Context(), next, p, apply.CarryOptions{Before: func(_ context.Context, o apply.Object, _ apply.Change) error {
			require.Failf(t, "nothing is to be written", "%s", o)
			return nil
		}})
		require.Equal(t, fault.Gate, fault.KindOf(err))
		require.ErrorContains(t, err, "ConfigMap/bound/config-3: kubectl-edit has written to it since")
		require.ErrorContains(t, err, "ConfigMap/bound/config-6: it is gone")
		require.ErrorContains(t, err, "ConfigMap/bound/only-1: ")
		require.Equal(t, wrote, writes(client, "bound"))
		_, err = configMaps.Namespace("bound").Get(t.Context(), "only-0", metav1.GetOptions{})
		require.NoError(t, err)
	})

	t.Run("cut off, and back to the release before", func(t *testing.T) {
		first, second := thirty(t, "back", 0), thirty(t, "back", 1)
		_, err := a.Carry(t.Context(), first, propose(t, a, first), apply.CarryOptions{})
		require.NoError(t, err)
		want := snapshot(t, client, "back")
		var after []string
		var mu sync.Mutex
		_, err = a.Carry(t.Context(), second, propose(t, a, second), apply.CarryOptions{
			Before: func(_ context.Context, o apply.Object, c apply.Change) error {
				if c == apply.Deleted {
					return errors.New("cut off")
				}
				return nil
			},
			After: func(_ context.Context, o apply.Object, _ apply.Change, err error) error {
				mu.Lock()
				defer mu.Unlock()
				after = append(after, o.String())
				return err
			},
		})
		require.ErrorContains(t, err, "cut off")
		require.Contains(t, after, "ConfigMap/back/config-0")
		// What was written has the same fields and owners as before, with other values.
		p := propose(t, a, first)
		require.Equal(t, apply.Configured, line(t, p, "ConfigMap/back/config-0").Change)
		_, err = a.Carry(t.Context(), first, p, apply.CarryOptions{})
		require.NoError(t, err)
		require.Equal(t, want, snapshot(t, client, "back"))
	})

	t.Run("noise is no reason", func(t *testing.T) {
		set := thirty(t, "noisy", 0)
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
		next := thirty(t, "noisy", 1)
		p := propose(t, a, next)
		deployments := client.Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("noisy")
		_, err = deployments.Patch(t.Context(), "web-0", types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
		// And while it is under way, between the last look and the write.
		var once sync.Once
		done, err := a.Carry(t.Context(), next, p, apply.CarryOptions{Before: func(ctx context.Context, o apply.Object, _ apply.Change) error {
			var err error
			if o.Name == "web-1" {
				once.Do(func() {
					_, err = deployments.Patch(ctx, "web-1", types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`), metav1.PatchOptions{}, "status")
				})
			}
			return err
		}})
		require.NoError(t, err)
		require.Equal(t, planned(p), changes(done))
	})

	t.Run("ownership", func(t *testing.T) {
		set := thirty(t, "owned", 0)
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
		edit(t, "owned", "config-1", `{"data":{"key":"theirs"}}`)
		edit(t, "owned", "config-2", `{"data":{"key":"theirs"}}`)
		p := propose(t, a, set)
		conflicts := line(t, p, "ConfigMap/owned/config-1").Conflicts
		require.Len(t, conflicts, 1)
		require.Equal(t, "data.key", conflicts[0].Field)
		require.Equal(t, "kubectl-edit", conflicts[0].Manager)
		require.NotNil(t, conflicts[0].Since)
		_, err = a.Carry(t.Context(), set, p, apply.CarryOptions{})
		require.ErrorContains(t, err, `ConfigMap/owned/config-2: the field data.key is held by "kubectl-edit"`)
		require.Equal(t, fault.Drift, fault.KindOf(err))

		force := apply.ProposeOptions{Force: func(apply.Object, apply.Conflict) bool { return true }}
		p, err = a.Propose(t.Context(), set, force)
		require.NoError(t, err)
		require.NoError(t, p.Problems())
		edit(t, "owned", "config-2", `{"data":{"other":"theirs too"}}`)
		_, err = a.Carry(t.Context(), set, p, apply.CarryOptions{})
		require.ErrorContains(t, err, "ConfigMap/owned/config-2: kubectl-edit has written to it since")

		p, err = a.Propose(t.Context(), set, force)
		require.NoError(t, err)
		_, err = a.Carry(t.Context(), set, through(t, p), apply.CarryOptions{})
		require.NoError(t, err)
		p = propose(t, a, set)
		require.False(t, p.Changed())
		now, err := configMaps.Namespace("owned").Get(t.Context(), "config-2", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, map[string]any{"key": "of 0", "other": "same"}, now.Object["data"])
	})
}

// writes tells whether anything of a namespace changed: the versions of all of
// its ConfigMaps.
func writes(client *kube.Client, namespace string) map[string]string {
	list, err := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil
	}
	versions := map[string]string{}
	for _, o := range list.Items {
		versions[o.GetName()] = o.GetResourceVersion()
	}
	return versions
}
