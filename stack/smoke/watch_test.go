package smoke_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/stack/smoke"
)

func pods() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

func pod(name, phase string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", Labels: map[string]string{"user": name}},
		Status:     corev1.PodStatus{Phase: corev1.PodPhase(phase)},
	}
}

func phase(o *unstructured.Unstructured) string {
	p, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return p
}

// cluster is a fake whose server sends, once it is watched, what then does.
func cluster(then func(*dynamicfake.FakeDynamicClient), objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	dyn := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, objects...)
	dyn.PrependWatchReactor("pods", func(action clienttesting.Action) (bool, watch.Interface, error) {
		watcher, err := dyn.Tracker().Watch(pods(), action.GetNamespace())
		if err == nil {
			go then(dyn)
		}
		return true, watcher, err
	})
	return dyn
}

func TestUntilSeesWhatComes(t *testing.T) {
	t.Parallel()
	dyn := cluster(func(dyn *dynamicfake.FakeDynamicClient) {
		next, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod("a", "Succeeded"))
		if err == nil {
			_, err = dyn.Resource(pods()).Namespace("ns").Update(t.Context(), &unstructured.Unstructured{Object: next}, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Error(err)
		}
	}, pod("a", "Pending"))
	seen := []string{}
	err := smoke.Until(t.Context(), dyn, pods(), "ns", "a", func(o *unstructured.Unstructured) (bool, error) {
		seen = append(seen, phase(o))
		return phase(o) == "Succeeded", nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"Pending", "Succeeded"}, seen)
}

func TestUntilEnds(t *testing.T) {
	t.Parallel()
	t.Run("with the check's error", func(t *testing.T) {
		t.Parallel()
		dyn := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, pod("a", "Failed"))
		err := smoke.Until(t.Context(), dyn, pods(), "ns", "a", func(*unstructured.Unstructured) (bool, error) { return false, errors.New("it failed") })
		require.ErrorContains(t, err, "it failed")
	})
	t.Run("with the deletion", func(t *testing.T) {
		t.Parallel()
		dyn := cluster(func(dyn *dynamicfake.FakeDynamicClient) {
			if err := dyn.Resource(pods()).Namespace("ns").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}, pod("a", "Running"))
		err := smoke.Until(t.Context(), dyn, pods(), "ns", "a", func(*unstructured.Unstructured) (bool, error) { return false, nil })
		require.ErrorContains(t, err, "a was deleted while it was waited for")
	})
	t.Run("with the context, naming what was waited for", func(t *testing.T) {
		t.Parallel()
		dyn := dynamicfake.NewSimpleDynamicClient(scheme.Scheme)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := smoke.Until(ctx, dyn, pods(), "ns", "a", func(*unstructured.Unstructured) (bool, error) { return false, nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "waiting for a")
	})
}

func TestUntilAnyGathers(t *testing.T) {
	t.Parallel()
	dyn := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, pod("a", "Running"), pod("b", "Running"))
	seen := map[string]bool{}
	err := smoke.UntilAny(t.Context(), dyn, pods(), "ns", "", func(o *unstructured.Unstructured) (bool, error) {
		seen[o.GetName()] = true
		return len(seen) == 2, nil
	})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"a": true, "b": true}, seen)
}

func TestGone(t *testing.T) {
	t.Parallel()
	dyn := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, pod("a", "Running"), pod("b", "Running"))
	require.NoError(t, smoke.Gone(t.Context(), dyn, pods(), "ns", "user=nobody"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := smoke.Gone(ctx, dyn, pods(), "ns", "user=a")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "waiting for 1 pods of user=a to go")
}

func TestGoneSeesTheLastOneGo(t *testing.T) {
	t.Parallel()
	dyn := cluster(func(dyn *dynamicfake.FakeDynamicClient) {
		if err := dyn.Resource(pods()).Namespace("ns").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}, pod("a", "Running"))
	require.NoError(t, smoke.Gone(t.Context(), dyn, pods(), "ns", "user=a"))
}
