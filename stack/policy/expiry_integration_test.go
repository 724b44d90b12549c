//go:build integration

package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/stack/policy"
)

// TestIntegrationAnEmergencyEnds: past its expiry an entry lets nothing in, with
// nobody at work: no new pod, no other image of a pod that is there, and no
// ephemeral container, whatever the pod says of its own dates.
func TestIntegrationAnEmergencyEnds(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack")
	c.lock(t, policy.Options{Namespaces: []string{"stack"}, Digests: []string{digest(1)}})
	pods := c.typed.CoreV1().Pods("stack")
	old, err := c.create(t, "stack", pod(image(1)))
	require.NoError(t, err)
	change := func(text string, subresources ...string) error {
		_, err := pods.Patch(t.Context(), old.Name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "kubectl-set", DryRun: []string{metav1.DryRunAll}}, subresources...)
		return err
	}
	another := `"spec":{"containers":[{"name":"c","image":"` + image(3) + `"}]}`
	debug := `{"spec":{"ephemeralContainers":[{"name":"debug","image":"` + image(3) + `"}]}}`

	entry := policy.Entry{Digest: digest(3), Reason: "prod is down", By: "ana", Expires: time.Now().Add(time.Hour)}
	require.NoError(t, policy.Admit(t.Context(), c.Client, entry))
	lets := func() bool { _, err := c.create(t, "stack", pod(image(3))); return err == nil }
	c.await(t, lets)
	require.NoError(t, change("{"+another+"}"))
	require.NoError(t, change(debug, "ephemeralcontainers"))

	entry.Expires = time.Now().Add(4 * time.Second)
	require.NoError(t, policy.Admit(t.Context(), c.Client, entry))
	c.await(t, func() bool { return !lets() })
	require.False(t, time.Now().Before(entry.Expires.Truncate(time.Second)), "it was let in until then")
	_, err = c.create(t, "stack", pod(image(3)))
	require.True(t, denied(err))
	require.ErrorContains(t, err, "is not in the release that is in force here, and its emergency entry has expired. Add it")
	require.True(t, denied(change("{"+another+"}")))
	require.True(t, denied(change(debug, "ephemeralcontainers")))

	// Dates that a client sends are not taken for the server's.
	past := metav1.NewTime(time.Now().Add(-24 * time.Hour))
	p := pod(image(3))
	p.CreationTimestamp = past
	_, err = c.create(t, "stack", p)
	require.True(t, denied(err))
	for name, fields := range map[string][]metav1.ManagedFieldsEntry{
		"none":  {{}},
		"early": {{Manager: "kubectl-set", Operation: "Update", APIVersion: "v1", Time: &past, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:nodeName":{}}}`)}},
	} {
		data, err := json.Marshal(map[string]any{"metadata": map[string]any{"managedFields": fields}})
		require.NoError(t, err)
		require.True(t, denied(change(strings.TrimSuffix(string(data), "}")+","+another+"}")), name)
	}

	// What runs is not asked about again, and what is locked is let in.
	require.NoError(t, change(`{"metadata":{"labels":{"a":"b"}}}`))
	_, err = c.create(t, "stack", pod(image(1)))
	require.NoError(t, err)
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, p := range list.Items {
		if p.Spec.Containers[0].Image == image(3) {
			_, err := pods.Patch(t.Context(), p.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
			require.NoError(t, err)
		}
	}

	// A person who needs it longer says so.
	entry.Expires = time.Now().Add(time.Hour)
	require.NoError(t, policy.Admit(t.Context(), c.Client, entry))
	c.await(t, lets)
	require.NoError(t, change(debug, "ephemeralcontainers"))
}
