//go:build integration

package drift_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
)

// TestIntegrationABaselineHasNoHashOfASecret: who may read the baseline may not
// read Secrets, and a hash without a key is as good as a short password. The
// version proves that one was not written to; after that it is compared.
func TestIntegrationABaselineHasNoHashOfASecret(t *testing.T) {
	t.Parallel()
	c := environment(t, false)
	c.wanted = drift.Wanted{Release: "sha256:one", Sets: []apply.Set{{Name: "demo", Namespace: "default", Objects: []*unstructured.Unstructured{
		object(t, "{apiVersion: v1, kind: Secret, metadata: {name: login}, data: {password: aHVudGVyMg==}}"),
		object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: plain}, data: {a: b}}"),
	}}}}
	c.apply(t)
	login := target{c, "v1", "Secret", "default", "login"}
	note := func(text string) {
		login.edit(t, `{metadata: {annotations: {"kubectl.kubernetes.io/last-applied-configuration": '`+text+`'}}}`)
	}
	note(`{"data":{"password":"aHVudGVyMg=="}}`)
	report, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	require.Empty(t, texts(report.Findings))

	baseline, err := c.resource(t, "v1", "ConfigMap", "kfdev-system").Get(t.Context(), "kfdev-baseline-0", metav1.GetOptions{})
	require.NoError(t, err)
	text, _, err := unstructured.NestedString(baseline.Object, "data", "baseline")
	require.NoError(t, err)
	live, err := c.resource(t, "v1", "Secret", "default").Get(t.Context(), "login", metav1.GetOptions{})
	require.NoError(t, err)
	require.NotContains(t, text, noise.Hash(noise.Default().Strip(live)))
	var part struct {
		Objects []map[string]any `json:"objects"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &part))
	require.Len(t, part.Objects, 2)
	require.Equal(t, "plain", part.Objects[0]["a"])
	require.NotEmpty(t, part.Objects[0]["o"])
	require.NotEmpty(t, part.Objects[0]["c"])
	require.Equal(t, map[string]any{"k": "/Secret", "n": "default", "a": "login", "u": string(live.GetUID()), "v": live.GetResourceVersion(), "o": "", "c": ""}, part.Objects[1])

	report = c.scan(t, false)
	require.Equal(t, "used", report.Baseline)
	require.Zero(t, report.Read, "it was not written to")
	note("another")
	report = c.scan(t, false)
	require.Equal(t, 1, report.Read)
	require.Empty(t, texts(report.Findings))
	login.patch(t, types.MergePatchType, "kubectl-edit", "{data: {password: b3RoZXI=}}")
	report = c.scan(t, false)
	require.Equal(t, []string{"changed Secret/default/login data/password"}, lines(report.Findings))
}
