package profile

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

// rules says what a user's attempt to make a pod meets.
type rules func(user, pod string) error

func forbidden(why string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New(why))
}

// asUpstream refuses strangers, and what goes beyond one pod.
func asUpstream(user, pod string) error {
	switch {
	case user != owner:
		return forbidden("no rights")
	case pod != "first":
		return forbidden("exceeded quota: kf-resource-quota")
	}
	return nil
}

// env has a controller that fills a profile's namespace at once, with the
// namespace's owner as given, and empties it when the profile goes.
func env(t *testing.T, as rules, nsOwner string) smoke.Env {
	t.Helper()
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mine", UID: "u"}})
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		profiles(): "ProfileList", core("namespaces"): "NamespaceList", core("resourcequotas"): "ResourceQuotaList",
		core("serviceaccounts"): "ServiceAccountList", core("pods"): "PodList",
	})
	add := func(kind, namespace, name string, status map[string]any) {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name}}}
		if namespace != "" {
			o.SetNamespace(namespace)
		}
		if status != nil {
			o.Object["status"] = status
		}
		require.NoError(t, dyn.Tracker().Add(o))
	}
	dyn.PrependReactor("create", "profiles", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := action.(clienttesting.CreateAction)
		require.True(t, ok)
		object, ok := create.GetObject().(*unstructured.Unstructured)
		require.True(t, ok)
		require.Equal(t, "mine", object.GetOwnerReferences()[0].Name, "it goes with the test's namespace")
		name := object.GetName()
		add("ResourceQuota", name, quota, map[string]any{"hard": map[string]any{"pods": "1"}})
		add("ServiceAccount", name, "default", nil)
		add("ServiceAccount", name, "default-editor", nil)
		return false, nil, client.Tracker().Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"owner": nsOwner}}})
	})
	users := func(user string) (kubernetes.Interface, error) {
		c := fake.NewClientset()
		c.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
			create, ok := action.(clienttesting.CreateAction)
			require.True(t, ok)
			pod, ok := create.GetObject().(*corev1.Pod)
			require.True(t, ok)
			if err := as(user, pod.Name); err != nil {
				return true, nil, err
			}
			add("Pod", action.GetNamespace(), pod.Name, map[string]any{"phase": "Running"})
			return false, nil, nil
		})
		return c, nil
	}
	hash, err := v1.NewHash("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	return smoke.Env{
		Kube: client, Dynamic: dyn, As: users, Namespace: "mine", Sink: progress.Discard,
		Images: map[string]images.Ref{"pause": {Repository: "kfdev.internal/pause", Digest: hash}},
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	e := env(t, asUpstream, owner)
	result, err := Test{}.Run(ctx, e)
	require.NoError(t, err)
	smoketest.Said(t, Test{}, e)
	require.Len(t, result.Steps, 6)
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		rules rules
		owner string
		want  string
	}{
		{"a stranger gets in", func(string, string) error { return nil }, owner, "a stranger made a pod"},
		{"the owner does not", func(string, string) error { return forbidden("no rights") }, owner, "let its owner work in it"},
		{"the quota does not hold", func(user, _ string) error {
			if user == owner {
				return nil
			}
			return forbidden("no rights")
		}, owner, "a second pod was admitted"},
		{"the stranger meets another failure", func(string, string) error { return errors.New("connection lost") }, owner, "connection lost"},
		{"the namespace is another's", asUpstream, "somebody", `the namespace's owner is "somebody"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := Test{}.Run(ctx, env(t, tc.rules, tc.owner))
			require.ErrorContains(t, err, tc.want)
		})
	}
}
