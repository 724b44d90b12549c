//go:build integration

package envs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/envs/drift"
)

// A claim that stays behind when its component leaves is no drift, and is told;
// one that somebody made by hand is.
func TestIntegrationAKeptClaimIsNoDrift(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(onePlace, "COMPONENTS", "", 1), "staging")
	const claim = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shared}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
	p.components(t, map[string]map[string]string{"ours": {"stays": "0"}, "more": {"one": "0"}})
	p.write(t, map[string]string{"more/all.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shared}\n" + claim})
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	p.steady(t)

	p.components(t, map[string]map[string]string{"ours": {"stays": "0"}})
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	p.steady(t)
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.Len(t, found.Kept, 1)
	require.Equal(t, "PersistentVolumeClaim/shared/data", found.Kept[0].String())

	// By hand, with the label of the one that is kept.
	claims := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}).Namespace("shared")
	kept, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
	require.NoError(t, err)
	hand := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": "hand"}, "spec": kept.Object["spec"]}}
	hand.SetLabels(kept.GetLabels())
	_, err = claims.Create(t.Context(), hand, metav1.CreateOptions{FieldManager: "kubectl-create"})
	require.NoError(t, err)
	found, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.Len(t, found.Findings, 1)
	require.Equal(t, drift.ForeignObject, found.Findings[0].Class)
	require.Equal(t, "hand", found.Findings[0].Object.Name)
	require.Len(t, found.Kept, 1)
}
