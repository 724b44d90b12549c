package smoke_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

func accounts() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
}

// lending is a cluster whose nodes need a Secret to pull, and in which every new
// namespace gets its default account.
func lending(t *testing.T) (smoke.Env, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	e := env(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{"a": []byte("b")}})
	e.PullSecret = smoke.PullSecret{Namespace: "vault", Name: "pull"}
	kube, ok := e.Kube.(*fake.Clientset)
	require.True(t, ok)
	dyn, ok := e.Dynamic.(*dynamicfake.FakeDynamicClient)
	require.True(t, ok)
	kube.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := action.(clienttesting.CreateAction)
		require.True(t, ok)
		ns, ok := create.GetObject().(*corev1.Namespace)
		require.True(t, ok)
		account := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": []any{map[string]any{"name": "own"}}}}
		account.SetName("default")
		account.SetNamespace(ns.Name)
		return false, nil, dyn.Tracker().Add(account)
	})
	return e, dyn
}

// A test's pods are pulled as those of the release are.
func TestATestIsLentThePullSecret(t *testing.T) {
	t.Parallel()
	e, dyn := lending(t)
	kube, ok := e.Kube.(*fake.Clientset)
	require.True(t, ok)
	early := true
	dyn.PrependReactor("patch", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if !early {
			return false, nil, nil
		}
		early = false // somebody else was quicker
		account, err := dyn.Tracker().Get(accounts(), action.GetNamespace(), "default")
		require.NoError(t, err)
		require.NoError(t, dyn.Tracker().Update(accounts(), account, action.GetNamespace()))
		return true, nil, apierrors.NewConflict(accounts().GroupResource(), "default", nil)
	})
	ran := false
	_, err := smoke.Run(t.Context(), probe(func(_ context.Context, e smoke.Env) (smoke.Result, error) {
		ran = true
		require.Equal(t, []corev1.LocalObjectReference{{Name: "pull"}}, e.PullSecrets())
		copied, err := kube.Tracker().Get(corev1.SchemeGroupVersion.WithResource("secrets"), e.Namespace, "pull")
		require.NoError(t, err)
		lent, ok := copied.(*corev1.Secret)
		require.True(t, ok)
		require.Equal(t, corev1.SecretTypeDockerConfigJson, lent.Type)
		require.Equal(t, map[string][]byte{"a": []byte("b")}, lent.Data)
		account, err := dyn.Tracker().Get(accounts(), e.Namespace, "default")
		require.NoError(t, err)
		o, ok := account.(*unstructured.Unstructured)
		require.True(t, ok)
		require.Equal(t, []any{map[string]any{"name": "own"}, map[string]any{"name": "pull"}}, o.Object["imagePullSecrets"])
		return smoke.Result{}, nil
	}), e)
	require.NoError(t, err)
	require.True(t, ran)
	smoketest.Said(t, probe(nil), e)
	require.Empty(t, namespaces(t, e))
}

// Without the Secret nothing is tried, and the namespace goes.
func TestThePullSecretIsGone(t *testing.T) {
	t.Parallel()
	e, _ := lending(t)
	require.NoError(t, e.Kube.CoreV1().Secrets("vault").Delete(t.Context(), "pull", metav1.DeleteOptions{}))
	_, err := smoke.Run(t.Context(), probe(func(context.Context, smoke.Env) (smoke.Result, error) {
		require.Fail(t, "it ran")
		return smoke.Result{}, nil
	}), e)
	require.ErrorContains(t, err, "lending the pull secret to the smoke test: kfdev-smoke-probe-")
	require.ErrorContains(t, err, `secrets "pull" not found`)
	require.Empty(t, namespaces(t, e))
}
