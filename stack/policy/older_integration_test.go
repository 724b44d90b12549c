//go:build integration

package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/policy"
)

// The oldest version that this server can act as.
func TestIntegrationAnOlderServerTakesItToo(t *testing.T) {
	t.Parallel()
	programs, err := apiserver.Build(t.Context())
	require.NoError(t, err)
	server, err := apiserver.Start(t.Context(), apiserver.Options{Programs: programs, Dir: t.TempDir(), Controllers: true, Args: []string{"--emulated-version=1.33"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	c := connect(t, server.Config)
	c.namespace(t, "stack")
	c.lock(t, policy.Options{Namespaces: []string{"stack"}, Digests: []string{digest(1)}})
	p := pod(image(1))
	c.await(t, func() bool { _, err := c.create(t, "stack", p); return err == nil }) // once it has a service account
	_, err = c.create(t, "stack", pod(image(2)))
	require.True(t, denied(err))

	// The server's own check of the expressions' types has nothing to say.
	policies := c.Dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"})
	require.NoError(t, kube.Until(t.Context(), policies, policy.Name, func(o *unstructured.Unstructured) (bool, error) {
		observed, ok, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		if !ok || observed != o.GetGeneration() {
			return false, nil
		}
		warnings, _, _ := unstructured.NestedSlice(o.Object, "status", "typeChecking", "expressionWarnings")
		require.Empty(t, warnings)
		return true, nil
	}))
}
