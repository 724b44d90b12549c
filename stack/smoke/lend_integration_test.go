//go:build integration

package smoke_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/smoke"
)

// On a real server a pod that says nothing of how it is pulled is pulled with
// the Secret, and the copy goes with the test's namespace.
func TestIntegrationATestsPodsPullWithThePullSecret(t *testing.T) {
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	e, err := smoke.Connect(client)
	require.NoError(t, err)
	_, err = e.Kube.CoreV1().Secrets("kube-system").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	test := probe(func(ctx context.Context, e smoke.Env) (smoke.Result, error) {
		pod, err := e.Kube.CoreV1().Pods(e.Namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "any"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Equal(t, e.PullSecrets(), pod.Spec.ImagePullSecrets)
		return smoke.Result{}, nil
	})
	_, err = smoke.Run(t.Context(), test, e)
	require.NoError(t, err, "nodes need none")
	e.PullSecret = smoke.PullSecret{Namespace: "kube-system", Name: "pull"}
	_, err = smoke.Run(t.Context(), test, e)
	require.NoError(t, err)
	left, err := e.Kube.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=pull"})
	require.NoError(t, err)
	require.Len(t, left.Items, 1)
	require.Equal(t, "kube-system", left.Items[0].Namespace)
}
