//go:build integration

package envs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/stack/apply"
)

// Where nodes need a Secret to pull, every namespace of the release has it, and
// every pod in it, whoever makes it.
func TestIntegrationThePullSecretIsLent(t *testing.T) {
	p := newPlacesOf(t, bothComponents+`environments:
  staging:
    cluster: {context: staging}
    registry: {push: registry.staging.example/kfdev, pullSecret: {namespace: vault, name: pull}}
`, "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.ErrorContains(t, err, `namespaces "vault" not found`)

	typed, err := kubernetes.NewForConfig(p.clients["staging"].Config)
	require.NoError(t, err)
	_, err = typed.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	login := `{"auths":{"registry.example.com":{"auth":"%s"}}}`
	original, err := typed.CoreV1().Secrets("vault").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: strings.Replace(login, "%s", "b2xkOm9sZA==", 1)},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err, "a plan from before the namespaces were there is good still")

	for _, namespace := range []string{"extra", "storage"} {
		lent, err := typed.CoreV1().Secrets(namespace).Get(t.Context(), "pull", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, original.Data, lent.Data)
		require.Equal(t, corev1.SecretTypeDockerConfigJson, lent.Type)
	}
	deployment := p.get(t, "staging", "Deployment", "extra", "extra")
	lent, _, err := unstructured.NestedSlice(deployment, "spec", "template", "spec", "imagePullSecrets")
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"name": "pull"}}, lent)
	locked := deployment["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["image"].(string)
	pod, err := typed.CoreV1().Pods("extra").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "anybody"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: locked}}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
	require.Equal(t, []corev1.LocalObjectReference{{Name: "pull"}}, pod.Spec.ImagePullSecrets)

	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
	plan, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.False(t, plan.Changed())

	// A login that was renewed is lent anew.
	original.Data, original.StringData = nil, map[string]string{corev1.DockerConfigJsonKey: strings.Replace(login, "%s", "bmV3Om5ldw==", 1)}
	original, err = typed.CoreV1().Secrets("vault").Update(t.Context(), original, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	renewed, err := typed.CoreV1().Secrets("extra").Get(t.Context(), "pull", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, original.Data, renewed.Data)
}

// A pull secret whose values are given is there before a node is to pull with it.
func TestIntegrationThePullSecretIsGiven(t *testing.T) {
	p := newPlacesOf(t, bothComponents+`environments:
  staging:
    cluster: {context: staging}
    registry: {push: registry.staging.example/kfdev, pullSecret: {namespace: vault, name: pull}}
    secrets:
      - {namespace: vault, name: pull, type: kubernetes.io/dockerconfigjson, keys: {.dockerconfigjson: {file: login.json}}}
`, "staging")
	p.write(t, map[string]string{"login.json": `{"auths":{"registry.example.com":{"auth":"bmV3Om5ldw=="}}}`})
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	require.Equal(t, 3, done.Changes[secretsSet].Count(apply.Created), "it, and a copy for each of two components")
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
}
