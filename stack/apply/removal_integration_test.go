//go:build integration

package apply_test

import (
	"context"
	"errors"
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

// setOf is a set of objects in the default namespace.
func setOf(t *testing.T, name string, texts ...string) apply.Set {
	t.Helper()
	set := apply.Set{Name: name, Namespace: "default", Hash: "whole"}
	for _, text := range texts {
		set.Objects = append(set.Objects, object(t, text))
	}
	return set
}

// A set leaves as it comes: exactly what was proposed goes, each object and the
// inventory while they are what was seen, and only while the fence stands.
func TestIntegrationASetLeaves(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	carry := func(t *testing.T, set apply.Set) {
		t.Helper()
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
	}
	coming := func(t *testing.T, name string) apply.Set {
		t.Helper()
		return setOf(t, name, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}, data: {a: b}}",
			"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: "+name+"}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")
	}

	t.Run("as proposed", func(t *testing.T) {
		carry(t, coming(t, "plain"))
		leaves := apply.Set{Name: "plain", Leaves: true}
		p := propose(t, a, leaves)
		config := line(t, p, "ConfigMap/default/plain")
		require.Equal(t, apply.Deleted, config.Change)
		require.NotEmpty(t, config.UID)
		require.NotEmpty(t, config.ResourceVersion)
		require.NotEmpty(t, config.Before)
		require.Equal(t, apply.Skipped, line(t, p, "PersistentVolumeClaim/default/plain").Change)
		done, err := a.Carry(t.Context(), leaves, through(t, p), apply.CarryOptions{})
		require.NoError(t, err)
		require.Equal(t, planned(p), changes(done))
		inventory, err := a.Inventory(t.Context(), "plain")
		require.NoError(t, err)
		require.Nil(t, inventory)
		done, err = a.Carry(t.Context(), leaves, propose(t, a, leaves), apply.CarryOptions{})
		require.NoError(t, err, "nothing is left to do")
		require.Empty(t, done)
		inventory, err = a.Inventory(t.Context(), "plain")
		require.NoError(t, err)
		require.Nil(t, inventory)
	})

	t.Run("behind a fence", func(t *testing.T) {
		carry(t, coming(t, "fenced"))
		leaves := apply.Set{Name: "fenced", Leaves: true}
		p := propose(t, a, leaves)
		inventory, err := a.Inventory(t.Context(), "fenced")
		require.NoError(t, err)
		for open := range 3 { // the inventory, the object, the inventory
			asked := 0
			_, err = a.Carry(t.Context(), leaves, p, apply.CarryOptions{Fence: func(context.Context) error {
				if asked++; asked > open {
					return &fault.Error{Op: "promoting", Kind: fault.Gate, Err: errors.New("the lease is another's")}
				}
				return nil
			}})
			require.ErrorContains(t, err, "the lease is another's")
			_, err = configMaps.Namespace("default").Get(t.Context(), "fenced", metav1.GetOptions{})
			require.Equal(t, open == 2, err != nil, "after %d writes", open)
			now, err := a.Inventory(t.Context(), "fenced")
			require.NoError(t, err)
			require.Len(t, now.Members, len(inventory.Members), "it is recorded for as long as the set has not left")
		}
		_, err = a.Carry(t.Context(), leaves, p, apply.CarryOptions{})
		require.NoError(t, err, "the same proposal is carried on")
	})

	t.Run("not what somebody has written to", func(t *testing.T) {
		carry(t, coming(t, "edited"))
		leaves := apply.Set{Name: "edited", Leaves: true}
		p := propose(t, a, leaves)
		_, err := configMaps.Namespace("default").Patch(t.Context(), "edited", types.MergePatchType, []byte(`{"data":{"a":"theirs"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
		_, err = a.Carry(t.Context(), leaves, p, apply.CarryOptions{})
		require.Equal(t, fault.Gate, fault.KindOf(err))
		require.ErrorContains(t, err, "ConfigMap/default/edited")
		_, err = configMaps.Namespace("default").Get(t.Context(), "edited", metav1.GetOptions{})
		require.NoError(t, err)
	})

	// Who was stopped before its last write, and wakes up after another has brought
	// the set in again, takes no inventory out, though no object differs.
	t.Run("not the inventory of who brought it in again", func(t *testing.T) {
		kept := setOf(t, "again", "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: again}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}")
		carry(t, kept)
		leaves := apply.Set{Name: "again", Leaves: true}
		asked := 0
		_, err := a.Carry(t.Context(), leaves, propose(t, a, leaves), apply.CarryOptions{Fence: func(context.Context) error {
			if asked++; asked == 2 {
				carry(t, kept)
			}
			return nil
		}})
		require.Equal(t, 2, asked)
		require.Equal(t, fault.Gate, fault.KindOf(err))
		inventory, err := a.Inventory(t.Context(), "again")
		require.NoError(t, err)
		require.Len(t, inventory.Members, 1)
		require.Equal(t, "whole", inventory.Hash)
	})

	t.Run("only with the right to delete the inventory", func(t *testing.T) {
		r := roles{t, client.Config, client}
		weak := apply.New(r.user("no-delete", without(r.file("promoter"), "delete")), &open{}, progress.Discard)
		missing, err := weak.Rights(t.Context(), []apply.Planned{{Set: apply.Set{Name: "nothing", Leaves: true}}})
		require.NoError(t, err)
		require.Equal(t, "delete configmaps in kfdev-system", join(missing))
	})
}

// What moves from one set to another is taken over as it is, and deleted by
// neither, in whatever order they come.
func TestIntegrationASetTakesOver(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
	config := func(name string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + "}, data: {a: b}}"
	}
	together := func(sets ...apply.Set) []apply.Set {
		for n := range sets {
			sets[n].Beside = sets
		}
		return sets
	}
	carry := func(t *testing.T, set apply.Set) apply.Proposal {
		t.Helper()
		p := propose(t, a, set)
		_, err := a.Carry(t.Context(), set, through(t, p), apply.CarryOptions{})
		require.NoError(t, err)
		return p
	}
	uid := func(t *testing.T, name string) (types.UID, string) {
		t.Helper()
		o, err := configMaps.Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		return o.GetUID(), o.GetLabels()["applyset.kubernetes.io/part-of"]
	}
	members := func(t *testing.T, name string) (all []string) {
		t.Helper()
		i, err := a.Inventory(t.Context(), name)
		require.NoError(t, err)
		require.NotNil(t, i)
		for _, m := range i.Members {
			all = append(all, m.String())
		}
		return all
	}

	t.Run("what the giving set gave up first", func(t *testing.T) {
		before := together(setOf(t, "giver", config("first-stays"), config("first-moves")), setOf(t, "taker", config("first-own")))
		for _, set := range before {
			carry(t, set)
		}
		was, _ := uid(t, "first-moves")
		after := together(setOf(t, "giver", config("first-stays")), setOf(t, "taker", config("first-own"), config("first-moves")))
		gives := carry(t, after[0])
		require.Equal(t, apply.Skipped, line(t, gives, "ConfigMap/default/first-moves").Change)
		require.Equal(t, "it is a part of taker now", line(t, gives, "ConfigMap/default/first-moves").Reason)
		require.True(t, gives.HandsOver())
		require.Contains(t, members(t, "giver"), "ConfigMap/default/first-moves", "it is in an inventory all the time")
		takes := carry(t, after[1])
		moved := line(t, takes, "ConfigMap/default/first-moves")
		require.Equal(t, apply.Configured, moved.Change)
		require.Equal(t, "taken over from giver", moved.Reason)
		require.Equal(t, was, moved.UID)
		carry(t, after[0])
		is, set := uid(t, "first-moves")
		require.Equal(t, was, is)
		require.Equal(t, apply.SetID("taker"), set)
		require.Equal(t, []string{"ConfigMap/default/first-stays"}, members(t, "giver"))
		for _, set := range after {
			require.False(t, propose(t, a, set).Changed())
			require.False(t, propose(t, a, set).HandsOver())
		}

		// And back, though the giver has written all of it before.
		for range 2 {
			for _, set := range []int{1, 0} {
				carry(t, before[set])
			}
		}
		is, set = uid(t, "first-moves")
		require.Equal(t, was, is)
		require.Equal(t, apply.SetID("giver"), set)
	})

	t.Run("what a set that leaves has", func(t *testing.T) {
		for _, each := range []string{"carried", "applied"} {
			name := "left-" + each
			carry(t, setOf(t, "old-"+each, config(name), config("lost-"+each)))
			was, _ := uid(t, name)
			sets := together(setOf(t, "new-"+each, config(name)))
			leaves := apply.Set{Name: "old-" + each, Leaves: true, Beside: sets}
			require.Equal(t, apply.Skipped, line(t, propose(t, a, leaves), "ConfigMap/default/"+name).Change)
			if each == "carried" {
				require.Equal(t, "taken over from old-carried", line(t, carry(t, sets[0]), "ConfigMap/default/"+name).Reason)
				carry(t, leaves)
			} else {
				_, err := a.Apply(t.Context(), sets[0])
				require.NoError(t, err)
				done, err := a.Remove(t.Context(), "old-applied")
				require.NoError(t, err)
				require.Equal(t, map[string]apply.Change{"ConfigMap/default/" + name: apply.Skipped, "ConfigMap/default/lost-applied": apply.Deleted}, changes(done))
			}
			is, set := uid(t, name)
			require.Equal(t, was, is)
			require.Equal(t, apply.SetID("new-"+each), set)
			inventory, err := a.Inventory(t.Context(), "old-"+each)
			require.NoError(t, err)
			require.Nil(t, inventory)
		}
	})

	t.Run("what a set that left has left behind", func(t *testing.T) {
		volume := "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: behind}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
		carry(t, setOf(t, "ended", volume))
		carry(t, apply.Set{Name: "ended", Leaves: true})
		moved := line(t, carry(t, together(setOf(t, "later", volume))[0]), "PersistentVolumeClaim/default/behind")
		require.Equal(t, "taken over from a component that is no more", moved.Reason)
	})

	t.Run("not what both have, nor what another tool's set has", func(t *testing.T) {
		sets := together(setOf(t, "one", config("both")), setOf(t, "two", config("both")))
		carry(t, sets[0])
		_, err := a.Propose(t.Context(), sets[1], apply.ProposeOptions{})
		require.ErrorContains(t, err, "ConfigMap/default/both belongs to another set")

		theirs := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, labels: {applyset.kubernetes.io/part-of: applyset-of-another-v1}}}")
		_, err = configMaps.Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "kubectl-applyset"})
		require.NoError(t, err)
		_, err = a.Propose(t.Context(), together(setOf(t, "ours", config("theirs")))[0], apply.ProposeOptions{})
		require.ErrorContains(t, err, "ConfigMap/default/theirs belongs to another set")
	})

	t.Run("an object that is named without its namespace", func(t *testing.T) {
		kind := func(name string) *unstructured.Unstructured {
			return object(t, "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: "+name+", namespace: default}, value: 1}")
		}
		from := apply.Set{Name: "scoped", Objects: []*unstructured.Unstructured{kind("wide")}}
		carry(t, from)
		from.Objects = nil
		from.Beside = []apply.Set{{Name: "widened", Objects: []*unstructured.Unstructured{kind("wide")}}}
		require.Equal(t, apply.Skipped, line(t, propose(t, a, from), "PriorityClass/wide").Change)
	})
}
