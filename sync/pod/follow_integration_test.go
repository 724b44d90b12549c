//go:build integration

package pod_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/sync/pod"
)

// A real API server: field and label selectors, watches and the subresource of
// ephemeral containers are as they are. The kubelet's part is the test's.
func TestIntegrationAPodIsFollowed(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	client, err := kube.Connect(config)
	require.NoError(t, err)
	defer client.Close()
	clients, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ctx := t.Context()
	sets := client.Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}).Namespace("default")
	template := map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "main", "image": "x"}}},
	}
	_, err = sets.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"serviceName": "web", "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}, "template": template},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)

	target, err := pod.ParseTarget("statefulset/web")
	require.NoError(t, err)
	type result struct {
		pod pod.Pod
		err error
	}
	awaited := make(chan result, 1)
	await := func() {
		p, err := pod.Await(ctx, client, target)
		awaited <- result{p, err}
	}
	// start makes the pod, and says that its container runs.
	start := func(container string) *corev1.Pod {
		made, err := clients.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web-0", Labels: map[string]string{"app": "web"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x"}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		return runs(t, clients, made, container)
	}
	go await()
	first := start("containerd://1")
	r := <-awaited
	require.NoError(t, r.err)
	require.Equal(t, first.UID, r.pod.ID)
	found, err := pod.Find(ctx, client, target)
	require.NoError(t, err)
	require.Equal(t, found, r.pod)

	// A restart of the container.
	gone := make(chan string, 1)
	watch := func(p pod.Pod) {
		reason, err := pod.Gone(ctx, client, p)
		if err != nil {
			reason = err.Error()
		}
		gone <- reason
	}
	go watch(found)
	first = runs(t, clients, first, "containerd://2")
	require.Equal(t, "the container was restarted", <-gone)
	found, err = pod.Await(ctx, client, target)
	require.NoError(t, err)
	require.Equal(t, "containerd://2", found.ContainerID)

	// Another pod of the same name.
	go watch(found)
	now := int64(0)
	require.NoError(t, clients.CoreV1().Pods("default").Delete(ctx, first.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	require.Contains(t, <-gone, "the pod is")
	go await()
	second := start("containerd://3")
	r = <-awaited
	require.NoError(t, r.err)
	require.Equal(t, second.UID, r.pod.ID)
	require.NotEqual(t, found.Place(), r.pod.Place())
}

// runs writes the status of a pod whose container runs.
func runs(t *testing.T, clients kubernetes.Interface, p *corev1.Pod, container string) *corev1.Pod {
	t.Helper()
	p.Status = corev1.PodStatus{
		Phase:      corev1.PodRunning,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", Image: "x", ContainerID: container, Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}},
	}
	p, err := clients.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), p, metav1.UpdateOptions{})
	require.NoError(t, err)
	return p
}
