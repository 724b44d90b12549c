//go:build integration

package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
)

func goneOf(o *unstructured.Unstructured) (bool, error) { return o == nil, nil }

func TestIntegrationADigestStaysUntilNothingNamesIt(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack", "profile")
	var objects []*unstructured.Unstructured
	for _, text := range []string{
		`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: runs.example.org}, spec: {group: example.org, scope: Namespaced,
		  names: {kind: Run, plural: runs, singular: run, listKind: RunList}, versions: [{name: v1, served: true, storage: true,
		  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: stack}, spec: {containers: [{name: c, image: "` + image(1) + `"}]}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: stack}, spec: {selector: {matchLabels: {a: b}},
		  template: {metadata: {labels: {a: b}}, spec: {initContainers: [{name: i, image: "` + image(2) + `"}], containers: [{name: c, image: "` + image(100) + `"}]}}}}`,
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: j, namespace: profile}, spec: {schedule: "0 0 * * *", jobTemplate: {spec:
		  {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "` + image(3) + `"}]}}}}}}`,
		`{apiVersion: v1, kind: PodTemplate, metadata: {name: t, namespace: profile}, template: {spec: {containers: [{name: c, image: "` + image(4) + `"}]}}}`,
		`{apiVersion: example.org/v1, kind: Run, metadata: {name: r, namespace: profile}, spec: {deep: [{down: '{"image": "` + image(5) + `"}'}]}}`,
		// What only mentions it runs nothing.
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: stack}, data: {image: "` + image(6) + `"}}`,
	} {
		o := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(text))
		require.NoError(t, err)
		require.NoError(t, o.UnmarshalJSON(data))
		objects = append(objects, o)
	}
	_, err := c.applier.Apply(t.Context(), apply.Set{Name: "old", Objects: objects})
	require.NoError(t, err)
	c.lock(t, policy.Options{Namespaces: []string{"stack"}, Digests: digests(8)})

	old, now := digests(8), []string{digest(0), digest(100)}
	kept, err := policy.Retain(t.Context(), c.Client, old, now)
	require.NoError(t, err)
	require.Equal(t, []string{digest(1), digest(2), digest(3), digest(4), digest(5)}, kept)

	mapping, err := c.Mapper.Mapping(t.Context(), objects[5].GroupVersionKind())
	require.NoError(t, err)
	require.NoError(t, c.Dynamic.Resource(mapping.Resource).Namespace("profile").Delete(t.Context(), "r", metav1.DeleteOptions{}))
	kept, err = policy.Retain(t.Context(), c.Client, old, now)
	require.NoError(t, err)
	require.Equal(t, []string{digest(1), digest(2), digest(3), digest(4)}, kept)

	kept, err = policy.Retain(t.Context(), c.Client, old, old)
	require.NoError(t, err)
	require.Empty(t, kept)

	// Who may not look does not know.
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "nobody", Groups: []string{"system:authenticated"}}
	nobody, err := kube.Connect(config)
	require.NoError(t, err)
	defer nobody.Close()
	_, err = policy.Retain(t.Context(), nobody, old, now)
	require.ErrorContains(t, err, "runs.example.org: ")
	require.Contains(t, fault.Hint(err), "the right to list them in all namespaces is needed")
}
