//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/stack/smoke"
)

// testKilledTests: a killed run of the tests leaves a namespace, a user of the
// hub with a volume, a profile; the next run takes all of it away.
func testKilledTests(t *testing.T, b *bench) {
	t.Helper()
	kube := b.clients(t)
	b.killed(t, "verify/hub/stop", 0, "verify", "jupyterhub")
	left := forgotten(t, kube)
	require.Len(t, left, 1)
	volumes, err := kube.CoreV1().PersistentVolumeClaims("jupyterhub").List(t.Context(), metav1.ListOptions{LabelSelector: "hub.jupyter.org/username"})
	require.NoError(t, err)
	require.NotEmpty(t, volumes.Items)

	b.run(t, 0, "verify", "jupyterhub")
	nothingLeft(t, kube, left)
	volumes, err = kube.CoreV1().PersistentVolumeClaims("jupyterhub").List(t.Context(), metav1.ListOptions{LabelSelector: "hub.jupyter.org/username"})
	require.NoError(t, err)
	require.Empty(t, volumes.Items)
}

// forgotten has the time go by after which what a killed run left counts as
// left behind, and returns its namespaces.
func forgotten(t *testing.T, kube kubernetes.Interface) (names []string) {
	t.Helper()
	list, err := kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: smoke.TestLabel})
	require.NoError(t, err)
	for _, ns := range list.Items {
		if ns.DeletionTimestamp != nil {
			continue
		}
		names = append(names, ns.Name)
		expires, err := time.Parse(time.RFC3339, ns.Annotations[smoke.ExpiresAnnotation])
		require.NoError(t, err)
		require.Less(t, time.Until(expires), 5*time.Minute)
		patch := `{"metadata":{"annotations":{"` + smoke.ExpiresAnnotation + `":"` + time.Now().Add(-time.Second).UTC().Format(time.RFC3339) + `"}}}`
		_, err = kube.CoreV1().Namespaces().Patch(t.Context(), ns.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	return names
}

// nothingLeft checks that the namespaces are gone, and those of the profiles
// that they owned, which follow.
func nothingLeft(t *testing.T, kube kubernetes.Interface, names []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		list, err := kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, ns := range list.Items {
			for _, name := range names {
				if ns.Name == name || ns.Name == name+"-team" {
					return false
				}
			}
		}
		return true
	}, time.Minute, 200*time.Millisecond)
}
