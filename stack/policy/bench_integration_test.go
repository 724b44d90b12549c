//go:build integration

package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
)

// BenchmarkIntegrationAdmission measures what the policy adds to the creation
// of a pod: dry runs, which pass admission and no disk, in a namespace that is
// locked and in one that is not, in turn. As a peer, the same expressions with
// the digests in a ConfigMap.
func BenchmarkIntegrationAdmission(b *testing.B) {
	for _, shape := range []string{"AllowedImages", "ConfigMap"} {
		for _, n := range []int{500, 5_000, policy.MaxDigests} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				c := start(b)
				c.namespace(b, "stack", "other", apply.SystemNamespace)
				if shape == "ConfigMap" {
					c.configMaps(b, digests(n))
				} else {
					c.lock(b, policy.Options{Namespaces: []string{"stack"}, Digests: digests(n)})
				}
				admission(b, c, n)
			})
		}
	}
}

// configMaps makes the policy with a ConfigMap as its parameter.
func (c *cluster) configMaps(b *testing.B, all []string) {
	b.Helper()
	objects, err := policy.Objects(policy.Options{Namespaces: []string{"stack"}, Digests: all[:1]})
	require.NoError(b, err)
	data := map[string]any{}
	for _, d := range all {
		data["sha256."+strings.TrimPrefix(d, "sha256:")] = ""
	}
	parameter := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": policy.Name, "namespace": apply.SystemNamespace}, "data": data,
	}}
	rules, binding := objects[2], objects[3]
	require.NoError(b, unstructured.SetNestedStringMap(rules.Object, map[string]string{"apiVersion": "v1", "kind": "ConfigMap"}, "spec", "paramKind"))
	variables, _, err := unstructured.NestedSlice(rules.Object, "spec", "variables")
	require.NoError(b, err)
	i := slices.IndexFunc(variables, func(v any) bool { return v.(map[string]any)["name"] == "refused" })
	variables = variables[:i+1] // without emergencies, which a ConfigMap has none of
	refused := variables[i].(map[string]any)
	refused["expression"] = `variables.images.filter(i, !(i in variables.before) && !(
		i.matches('^[^@]+@sha256:[0-9a-f]{64}$') && ('sha256.' + i.substring(i.lastIndexOf(':') + 1)) in params.data))`
	require.NoError(b, unstructured.SetNestedSlice(rules.Object, variables, "spec", "variables"))
	require.NoError(b, unstructured.SetNestedField(binding.Object, apply.SystemNamespace, "spec", "paramRef", "namespace"))
	_, err = c.applier.Apply(b.Context(), apply.Set{Name: "policy", Objects: []*unstructured.Unstructured{parameter, rules, binding}})
	require.NoError(b, err)
	c.await(b, func() bool {
		_, err := c.create(b, "stack", pod("busybox:latest"))
		return denied(err)
	})
}

func admission(b *testing.B, c *cluster, n int) {
	b.Helper()
	p := pod(image(n - 1))
	p.Spec.InitContainers = pod(image(n / 2)).Spec.Containers
	p.Spec.InitContainers[0].Name = "i"
	once := func(namespace string) time.Duration {
		began := time.Now()
		_, err := c.typed.CoreV1().Pods(namespace).Create(b.Context(), p.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(b, err)
		return time.Since(began)
	}
	for range 50 {
		once("stack")
		once("other")
	}
	var locked, free []time.Duration
	b.ResetTimer()
	for b.Loop() {
		locked = append(locked, once("stack"))
		free = append(free, once("other"))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(locked), "locked-p50-ms")
	b.ReportMetric(median(free), "free-p50-ms")
	b.ReportMetric(median(locked)-median(free), "added-p50-ms")
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}
