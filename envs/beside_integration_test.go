//go:build integration

package envs

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
)

// What somebody added beside the release is told, and no fault of the promotion;
// the environment after this one waits until it is gone.
func TestIntegrationWhatOthersAddBeside(t *testing.T) {
	p := newPlaces(t)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	first, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)

	maps := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("extra")
	_, err = maps.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "stray"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, p.warnings("ConfigMap/extra/stray"))
	require.Equal(t, first.Release, p.ledger(t, "staging").Complete.Release)

	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "ConfigMap/extra/stray")
	fixed, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Fix: true, Delete: []string{"ConfigMap/extra/stray"}})
	require.NoError(t, err)
	require.Len(t, fixed.Done, 1)
	require.False(t, fixed.Drifted())
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
}
