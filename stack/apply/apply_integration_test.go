//go:build integration

package apply_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/render"
)

// open lets every webhook in at once, and notes which services were asked for.
type open struct{ asked []types.NamespacedName }

func (o *open) Served(_ context.Context, _ string, services []types.NamespacedName) error {
	o.asked = append(o.asked, services...)
	return nil
}

func object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(tb, err)
	o := &unstructured.Unstructured{}
	require.NoError(tb, o.UnmarshalJSON(data))
	return o
}

func changes(set apply.ChangeSet) map[string]apply.Change {
	m := map[string]apply.Change{}
	for _, e := range set {
		m[e.Object.String()] = e.Change
	}
	return m
}

func TestIntegrationApply(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	gate := &open{}
	applier := apply.New(client, gate, progress.Discard)
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

	t.Run("the catalog, and again", func(t *testing.T) {
		names, err := catalog.Names(catalog.Files())
		require.NoError(t, err)
		namespaces := map[string]bool{}
		for _, name := range names {
			c, err := catalog.Component(catalog.Files(), name)
			require.NoError(t, err)
			r, err := render.Render(c, nil, nil)
			require.NoError(t, err)
			hash, err := render.Hash(r.Objects)
			require.NoError(t, err)
			set := apply.Set{Name: name, Namespace: c.Namespace, Hash: hash, Objects: r.Objects}

			planned, err := applier.Plan(t.Context(), set)
			require.NoError(t, err)
			started := time.Now()
			done, err := applier.Apply(t.Context(), set)
			require.NoError(t, err, name)
			first := time.Since(started)
			require.Equal(t, changes(planned), changes(done), name)
			shared := 0 // namespaces that another component has made
			for _, o := range r.Objects {
				if o.GetKind() == "Namespace" && namespaces[o.GetName()] {
					shared++
				} else if o.GetKind() == "Namespace" {
					namespaces[o.GetName()] = true
				}
			}
			require.Equal(t, len(r.Objects)-shared, done.Count(apply.Created), name)

			started = time.Now()
			again, err := applier.Apply(t.Context(), set)
			require.NoError(t, err)
			t.Logf("%s: %d objects, first %s, again %s", name, len(r.Objects), first, time.Since(started))
			require.False(t, again.Changed(), "%v", again)
			require.Equal(t, len(r.Objects), again.Count(apply.Unchanged), name)
			planned, err = applier.Plan(t.Context(), set)
			require.NoError(t, err)
			require.False(t, planned.Changed())
		}
		require.Contains(t, gate.asked, types.NamespacedName{Namespace: "kubeflow", Name: "training-operator"})
		all, err := applier.Inventories(t.Context())
		require.NoError(t, err)
		require.Len(t, all, len(names))
	})

	t.Run("change, restore, conflict, prune", func(t *testing.T) {
		one := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: b}}")
		two := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: two}, data: {a: b}}")
		namespace := object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: mine}}")
		claim := object(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")
		set := apply.Set{Name: "mine", Namespace: "mine", Hash: "h1", Objects: []*unstructured.Unstructured{one, two, namespace, claim}}
		done, err := applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, 4, done.Count(apply.Created))

		// Our own change goes in; the untouched object is not written.
		changed := one.DeepCopy()
		require.NoError(t, unstructured.SetNestedField(changed.Object, "c", "data", "a"))
		set.Objects[0] = changed
		planned, err := applier.Plan(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, apply.Configured, changes(planned)["ConfigMap/mine/one"])
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, map[string]apply.Change{"ConfigMap/mine/one": apply.Configured, "ConfigMap/mine/two": apply.Unchanged,
			"Namespace/mine": apply.Unchanged, "PersistentVolumeClaim/mine/data": apply.Unchanged}, changes(done))

		// A field that another manager took is not taken back, and both plan and apply name it.
		_, err = client.Dynamic.Resource(configMaps).Namespace("mine").Patch(t.Context(), "two", types.MergePatchType, []byte(`{"data":{"a":"theirs"}}`),
			metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
		for _, try := range []func(context.Context, apply.Set) (apply.ChangeSet, error){applier.Plan, applier.Apply} {
			_, err = try(t.Context(), set)
			require.ErrorContains(t, err, `ConfigMap/mine/two: the field data.a is held by "kubectl-edit"`)
			require.Equal(t, fault.Drift, fault.KindOf(err))
		}
		_, err = client.Dynamic.Resource(configMaps).Namespace("mine").Patch(t.Context(), "two", types.MergePatchType, []byte(`{"data":{"a":"b"}}`),
			metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, apply.Configured, changes(done)["ConfigMap/mine/two"], "kfdev owns the field again, beside the other")
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.False(t, done.Changed())

		// What others add is left alone; what they delete comes back.
		_, err = client.Dynamic.Resource(configMaps).Namespace("mine").Patch(t.Context(), "two", types.MergePatchType, []byte(`{"data":{"more":"x"}}`),
			metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
		require.NoError(t, client.Dynamic.Resource(configMaps).Namespace("mine").Delete(t.Context(), "one", metav1.DeleteOptions{}))
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, apply.Created, changes(done)["ConfigMap/mine/one"])
		require.Equal(t, apply.Unchanged, changes(done)["ConfigMap/mine/two"])

		// An object that left the set is pruned; one with data is not, unless it is named.
		set.Objects = []*unstructured.Unstructured{changed, namespace}
		planned, err = applier.Plan(t.Context(), set)
		require.NoError(t, err)
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, changes(planned), changes(done))
		require.Equal(t, apply.Deleted, changes(done)["ConfigMap/mine/two"])
		require.Equal(t, apply.Skipped, changes(done)["PersistentVolumeClaim/mine/data"])

		// Another set may not have what is this set's.
		_, err = applier.Apply(t.Context(), apply.Set{Name: "other", Namespace: "mine", Objects: []*unstructured.Unstructured{one}})
		require.ErrorContains(t, err, "ConfigMap/mine/one belongs to another set")

		// Removed: everything but the namespace.
		done, err = applier.Remove(t.Context(), "mine")
		require.NoError(t, err)
		require.Equal(t, map[string]apply.Change{"ConfigMap/mine/one": apply.Deleted, "Namespace/mine": apply.Skipped}, changes(done))
		inventory, err := applier.Inventory(t.Context(), "mine")
		require.NoError(t, err)
		require.Nil(t, inventory)
		done, err = applier.Remove(t.Context(), "mine")
		require.NoError(t, err)
		require.Empty(t, done)
	})

	t.Run("components share a namespace", func(t *testing.T) {
		for _, name := range []string{"left", "right"} {
			_, err := applier.Apply(t.Context(), apply.Set{Name: name, Namespace: "shared", Objects: []*unstructured.Unstructured{
				object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shared, labels: {of-"+name+": yes-it-is}}}"),
				object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}}"),
			}})
			require.NoError(t, err)
		}
		done, err := applier.Apply(t.Context(), apply.Set{Name: "left", Namespace: "shared", Objects: []*unstructured.Unstructured{
			object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shared, labels: {of-left: yes-it-is}}}"),
			object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: left}}"),
		}})
		require.NoError(t, err)
		require.False(t, done.Changed())
	})

	t.Run("a kind and its objects in one set", func(t *testing.T) {
		crd := object(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things, singular: thing}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {n: {type: integer}}}}}}}
`)
		thing := object(t, "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a}, spec: {n: 1}}")
		set := apply.Set{Name: "things", Objects: []*unstructured.Unstructured{thing, crd}}
		done, err := applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, 2, done.Count(apply.Created))
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.False(t, done.Changed())

		bad := thing.DeepCopy()
		require.NoError(t, unstructured.SetNestedField(bad.Object, "x", "spec", "unheard"))
		set.Objects[0] = bad
		_, err = applier.Apply(t.Context(), set)
		require.ErrorContains(t, err, "unheard", "a field that the kind does not have is refused, not dropped")

		done, err = applier.Remove(t.Context(), "things")
		require.NoError(t, err)
		require.Equal(t, apply.Deleted, changes(done)["Thing/default/a"])
		require.Equal(t, apply.Skipped, changes(done)["CustomResourceDefinition/things.example.com"])
	})

	t.Run("a kind that nobody brings", func(t *testing.T) {
		set := apply.Set{Name: "lost", Objects: []*unstructured.Unstructured{object(t, "{apiVersion: nowhere.example.com/v1, kind: Lost, metadata: {name: a}}")}}
		planned, err := applier.Plan(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, 1, planned.Count(apply.Created))
		_, err = applier.Apply(t.Context(), set)
		require.ErrorContains(t, err, "the cluster serves no nowhere.example.com/v1 Lost")
	})

	t.Run("half way, and then whole", func(t *testing.T) {
		config := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: half}, data: {a: b}}")
		wrong := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: half}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: other}}, spec: {containers: [{name: c, image: i}]}}}}")
		set := apply.Set{Name: "half", Hash: "h", Objects: []*unstructured.Unstructured{config, wrong}}
		done, err := applier.Apply(t.Context(), set)
		require.ErrorContains(t, err, "Deployment/default/half")
		require.Equal(t, apply.Created, changes(done)["ConfigMap/default/half"])
		inventory, err := applier.Inventory(t.Context(), "half")
		require.NoError(t, err)
		require.Len(t, inventory.Members, 2, "what may be there is recorded before it is")
		require.Empty(t, inventory.Hash)

		right := wrong.DeepCopy()
		require.NoError(t, unstructured.SetNestedField(right.Object, "b", "spec", "template", "metadata", "labels", "a"))
		set.Objects[1] = right
		done, err = applier.Apply(t.Context(), set)
		require.NoError(t, err)
		require.Equal(t, map[string]apply.Change{"ConfigMap/default/half": apply.Unchanged, "Deployment/default/half": apply.Created}, changes(done))
		inventory, err = applier.Inventory(t.Context(), "half")
		require.NoError(t, err)
		require.Equal(t, "h", inventory.Hash)
		done, err = applier.Remove(t.Context(), "half")
		require.NoError(t, err)
		require.Equal(t, 2, done.Count(apply.Deleted))
	})

	t.Run("cut off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := applier.Apply(ctx, apply.Set{Name: "cut", Objects: []*unstructured.Unstructured{object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: cut}}")}})
		require.Equal(t, fault.Canceled, fault.KindOf(err))
	})
}
