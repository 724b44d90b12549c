//go:build integration

package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// The pods of smoke tests pull with the Secret that the release's pods pull
// with, in whatever namespace they are made; that this may be done is asked for
// before anything is written, and nothing of it is left.
func TestIntegrationSmokeTestsPullWithThePullSecret(t *testing.T) {
	t.Parallel()
	p := newPlacesOf(t, strings.Replace(bothComponents, "extra: {enabled: true}", "profile-controller: {folder: controller}", 1)+`environments:
  staging:
    cluster: {context: staging}
    registry: {push: registry.staging.example/kfdev, pullSecret: {namespace: vault, name: pull}}
`, "staging")
	p.teams(t)
	component := filepath.Join(p.dir, "controller", "component.yaml")
	text, err := os.ReadFile(component)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(component, append(text, "smoke: profile\n"...), 0o600))
	p.controller(t, "staging")
	config := rest.CopyConfig(p.clients["staging"].Config)
	config.UserAgent = "test" // what it writes is not kfdev's
	typed, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = typed.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = typed.CoreV1().Secrets("vault").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	promote := func(e *Engine) error {
		_, err := e.Promote(t.Context(), "staging", PromoteOptions{})
		return err
	}
	give(t, typed, "no-copies", p.withoutOne(t, "create", "secrets"))
	p.refuses(t, "no-copies", "create secrets (to lend the pull secret to smoke tests)", map[string]string{}, promote)

	watcher, err := typed.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer watcher.Stop()
	p.grant(t, "staging", "promoter", "promoter")
	require.NoError(t, promote(p.as(t, "promoter")))
	require.True(t, p.ledger(t, "staging").Verified.Passed())
	p.pulled(t, watcher)

	p.refuses(t, "no-copies", "create secrets (to lend the pull secret to smoke tests)", p.written(t, "staging"), func(e *Engine) error {
		_, err := e.VerifySite(t.Context(), "staging")
		return err
	})
	secrets, err := typed.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=pull"})
	require.NoError(t, err)
	var left []string
	for _, s := range secrets.Items {
		left = append(left, s.Namespace)
	}
	require.ElementsMatch(t, []string{"vault", "kubeflow", "storage"}, left)
}

// pulled reads pods up to the one that the smoke test has let its owner make,
// and holds that it pulls with the Secret.
func (p *places) pulled(t *testing.T, pods watch.Interface) {
	t.Helper()
	for {
		select {
		case e := <-pods.ResultChan():
			pod, ok := e.Object.(*corev1.Pod)
			require.True(t, ok)
			if e.Type == watch.Added && strings.HasPrefix(pod.Namespace, "kfdev-smoke-profile-") {
				require.Equal(t, []corev1.LocalObjectReference{{Name: "pull"}}, pod.Spec.ImagePullSecrets)
				return
			}
		case <-t.Context().Done():
			require.Fail(t, "the smoke test has made no pod")
		}
	}
}
