package logs

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func owner(kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "apps/v1", Kind: kind, Name: name, UID: types.UID(kind + " " + name)}
}

func TestAPodIsTheComponentsByItsOwners(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.owners["ReplicaSet app-1"] = []metav1.OwnerReference{owner("Deployment", "app")}
	f.owners["ReplicaSet other-1"] = []metav1.OwnerReference{owner("Deployment", "other")}
	f.owners["ReplicaSet circle"] = []metav1.OwnerReference{owner("ReplicaSet", "circle")}
	component := theApp()
	component.Objects = append(component.Objects, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "bare", "namespace": "ns"},
	}})
	c := newChoice(f, component)
	for name, tc := range map[string]struct {
		pod  metav1.ObjectMeta
		want bool
	}{
		"its own":                         {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("Deployment", "app")}}, true},
		"through a ReplicaSet":            {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "app-1")}}, true},
		"of one in the same namespace":    {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "other-1")}}, false},
		"whose owner is gone":             {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "gone")}}, false},
		"in a circle":                     {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "circle")}}, false},
		"of the same name, another kind":  {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("StatefulSet", "app")}}, false},
		"of the same name elsewhere":      {metav1.ObjectMeta{Namespace: "else", OwnerReferences: []metav1.OwnerReference{owner("Deployment", "app")}}, false},
		"among its manifests":             {metav1.ObjectMeta{Name: "bare"}, true},
		"without an owner":                {metav1.ObjectMeta{Name: "stray"}, false},
		"made by it, as a hub's":          {metav1.ObjectMeta{Labels: map[string]string{nameLabel: "app"}}, true},
		"made by it, in older words":      {metav1.ObjectMeta{Labels: map[string]string{appLabel: "app"}}, true},
		"made by another":                 {metav1.ObjectMeta{Labels: map[string]string{nameLabel: "other"}}, false},
		"labelled so, but of another one": {metav1.ObjectMeta{Labels: map[string]string{nameLabel: "app"}, OwnerReferences: []metav1.OwnerReference{owner("Job", "theirs")}}, false},
	} {
		if tc.pod.Namespace == "" {
			tc.pod.Namespace = "ns"
		}
		got, err := c.owns(t.Context(), corev1.Pod{ObjectMeta: tc.pod})
		require.NoError(t, err, name)
		require.Equal(t, tc.want, got, name)
	}
	asked := len(f.asked)
	_, err := c.owns(t.Context(), corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "other-1")}}})
	require.NoError(t, err)
	require.Len(t, f.asked, asked, "an owner is asked for once")
}

func TestContainerOf(t *testing.T) {
	t.Parallel()
	noID := ended("c", "")
	noID.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: "1"}
	long := waits("c", "ImagePullBackOff")
	long.State.Waiting.Message = "no such image"
	for name, tc := range map[string]struct {
		status corev1.ContainerStatus
		want   container
	}{
		"runs":                     {runs("c", "1"), container{name: "c", life: "1", running: true}},
		"runs again":               {restarted(runs("c", "2"), "1"), container{name: "c", life: "2", before: "1", running: true}},
		"has ended":                {ended("c", "1"), container{name: "c", life: "1"}},
		"ended before it ran":      {noID, container{name: "c", life: "1", before: "1"}},
		"waits for its first life": {long, container{name: "c", why: "ImagePullBackOff: no such image"}},
		"waits for its next":       {restarted(waits("c", "CrashLoopBackOff"), "1"), container{name: "c", life: "1", before: "1"}},
		"nothing is known":         {corev1.ContainerStatus{Name: "c"}, container{name: "c"}},
	} {
		require.Equal(t, tc.want, containerOf(tc.status), name)
	}
	pod := podOf("p")
	pod.Status.Phase = corev1.PodPending
	pod.Spec.Containers = []corev1.Container{{Name: "c"}}
	require.Equal(t, []container{{name: "c", why: "Pending"}}, containersOf(pod))
}
