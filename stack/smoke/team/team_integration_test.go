//go:build integration

package team_test

import (
	"context"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/team"
)

// cluster is a real API server in which a profile is what the Profile
// controller would make of it; break says what is otherwise.
type cluster struct {
	env  smoke.Env
	kube kubernetes.Interface
}

func start(t *testing.T) cluster {
	t.Helper()
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	env, err := smoke.Connect(client)
	require.NoError(t, err)
	env.Images = map[string]images.Ref{"pause": {Repository: "example.com/pause", Digest: v1.Hash{Algorithm: "sha256", Hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}
	c := cluster{env: env, kube: env.Kube}
	pods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "create"}}}
	for name, verbs := range map[string][]string{"kubeflow-admin": pods[0].Verbs, "kubeflow-edit": pods[0].Verbs, "kubeflow-view": {"get", "list"}} {
		rule := pods[0]
		rule.Verbs = verbs
		_, err := c.kube.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	return c
}

func (c cluster) bind(t *testing.T, namespace, name, user, role string) {
	t.Helper()
	_, err := c.kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// make makes a profile's namespace and what is in it, and says what it is to be.
func (c cluster) make(t *testing.T, p profiles.Profile) []*unstructured.Unstructured {
	t.Helper()
	_, err := c.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c.bind(t, p.Name, "namespaceAdmin", p.Owner, "kubeflow-admin")
	if len(p.Quota) > 0 {
		hard := corev1.ResourceList{}
		for name, amount := range p.Quota {
			hard[corev1.ResourceName(name)] = resource.MustParse(string(amount))
		}
		_, err := c.kube.CoreV1().ResourceQuotas(p.Name).Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "kf-resource-quota"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	objects := profiles.Objects(p)
	for _, o := range objects {
		if o.GetKind() == "RoleBinding" {
			c.bind(t, p.Name, o.GetName(), o.GetAnnotations()["user"], "kubeflow-"+o.GetAnnotations()["role"])
		}
	}
	return objects
}

func (c cluster) run(t *testing.T, objects []*unstructured.Unstructured) error {
	t.Helper()
	env := c.env
	env.Objects = objects
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := team.Test{}.Run(ctx, env)
	return err
}

func profile(name string) profiles.Profile {
	return profiles.Profile{
		Name: name, Owner: "ana", Contributors: []profiles.Contributor{{User: "bob", Role: profiles.Edit}, {User: "eve", Role: profiles.View}},
		Quota: map[string]profiles.Quantity{"cpu": "2", "requests.memory": "1Gi", "limits.memory": "2Gi", "pods": "3", "requests.nvidia.com/gpu": "1", "count/configmaps": "5"},
	}
}

func TestIntegrationWhatProfilesSayIsSo(t *testing.T) {
	t.Parallel()
	c := start(t)
	two := profile("two")
	two.Quota = nil
	require.NoError(t, c.run(t, append(c.make(t, profile("one")), c.make(t, two)...)))
	for _, namespace := range []string{"one", "two"} {
		pods, err := c.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		require.Empty(t, pods.Items, "nothing is made")
	}

	// A team that has used its quota up is as sound as before.
	full := profile("full")
	full.Quota = map[string]profiles.Quantity{"pods": "0"}
	require.NoError(t, c.run(t, c.make(t, full)))
}

func TestIntegrationWhatIsNotSoIsNamed(t *testing.T) {
	t.Parallel()
	c := start(t)
	strange := c.make(t, profile("strange"))
	c.bind(t, "strange", "everybody", "smoke-stranger@kfdev.internal", "kubeflow-edit")
	require.ErrorContains(t, c.run(t, strange), "smoke-stranger@kfdev.internal may make a pod")

	more := c.make(t, profile("more"))
	c.bind(t, "more", "by-hand", "eve", "kubeflow-edit")
	require.ErrorContains(t, c.run(t, more), "eve may make a pod")

	less := c.make(t, profile("less"))
	for _, o := range less {
		if o.GetAnnotations()["user"] == "bob" {
			require.NoError(t, c.kube.RbacV1().RoleBindings("less").Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}))
		}
	}
	err := c.run(t, less)
	require.ErrorContains(t, err, "bob may not make a pod")
	require.ErrorContains(t, err, "bob may not look at pods")

	// A quota that asks for nothing of pods is counted, and not kept: it is said.
	scoped := c.make(t, profile("scoped"))
	q, err := c.kube.CoreV1().ResourceQuotas("scoped").Get(t.Context(), "kf-resource-quota", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, c.kube.CoreV1().ResourceQuotas("scoped").Delete(t.Context(), q.Name, metav1.DeleteOptions{}))
	q.ObjectMeta = metav1.ObjectMeta{Name: q.Name}
	q.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}
	delete(q.Spec.Hard, "count/configmaps")
	delete(q.Spec.Hard, "requests.nvidia.com/gpu")
	_, err = c.kube.CoreV1().ResourceQuotas("scoped").Create(t.Context(), q, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, o := range scoped {
		if o.GetKind() == "Profile" {
			unstructured.RemoveNestedField(o.Object, "spec", "resourceQuotaSpec", "hard", "count/configmaps")
			unstructured.RemoveNestedField(o.Object, "spec", "resourceQuotaSpec", "hard", "requests.nvidia.com/gpu")
		}
	}
	require.ErrorContains(t, c.run(t, scoped), "a pod with more cpu than the quota of 2 was admitted")
}
