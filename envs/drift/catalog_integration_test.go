//go:build integration

package drift_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/certs"
	"github.com/kfdev/kfdev/stack/render"
)

// TestIntegrationTheCatalogHasNoDrift: every component that kfdev ships, on a
// server with Kubernetes' own controllers and pods that run on paper, with the
// authorities of its certificates put in as `kfdev up` does, and as what is
// wanted has them: what controllers and the server write is no drift, right
// after the apply and when all is settled.
func TestIntegrationTheCatalogHasNoDrift(t *testing.T) {
	t.Parallel()
	c := environment(t, true)
	go func() { _ = apiserver.Kubelet(t.Context(), c.client.Config, apiserver.Running()) }() // it ends with the test
	names, err := catalog.Names(catalog.Files())
	require.NoError(t, err)
	c.wanted.Release = "sha256:catalog"
	for _, name := range names {
		component, err := catalog.Component(catalog.Files(), name)
		require.NoError(t, err)
		r, err := render.Render(component, nil, nil)
		require.NoError(t, err)
		objects := r.Objects
		for _, certificate := range component.Certificates {
			objects, err = certs.Inject(objects, certificate.Inject, []byte("-----BEGIN CERTIFICATE-----\n"))
			require.NoError(t, err)
		}
		c.wanted.Sets = append(c.wanted.Sets, apply.Set{Name: name, Namespace: component.Namespace, Objects: objects})
	}
	c.apply(t)
	require.Empty(t, texts(c.scan(t, true).Findings))
	require.Eventually(t, func() bool {
		list, err := c.resource(t, "apps/v1", "Deployment", "").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, o := range list.Items {
			ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyReplicas")
			want, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			if ready != want {
				return false
			}
		}
		return true
	}, 3*waitFor, tick)
	report, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	require.Empty(t, texts(report.Findings))
	report = c.scan(t, false)
	require.Empty(t, texts(report.Findings))
	t.Logf("%d objects, %d of them read whole", report.Objects, report.Read)

	// Applying again changes nothing of it.
	c.apply(t)
	require.Empty(t, texts(c.scan(t, true).Findings))
}
