//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/cluster/kind"
)

// workloads is the namespace of what these tests run beside the stack.
const workloads = "e2e"

// lockedBusybox is the busybox of the project's lock, by digest.
func lockedBusybox(t *testing.T, b *bench) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.project, "kfdev.lock"))
	require.NoError(t, err)
	found := regexp.MustCompile(`repository: (kfdev\.internal/busybox)\n\s+digest: (sha256:[0-9a-f]{64})`).FindStringSubmatch(string(raw))
	require.Len(t, found, 3, "the lock has a busybox")
	return found[1] + "@" + found[2]
}

// foreign puts an image into the local registry that no lock has: busybox with
// another label. It returns its name by digest.
func foreign(t *testing.T, b *bench, label string) string {
	t.Helper()
	registry := decode[upped](t, b, 0, "up").Registry
	source, err := name.NewDigest(strings.Replace(lockedBusybox(t, b), "kfdev.internal", registry, 1), name.Insecure)
	require.NoError(t, err)
	image, err := remote.Image(source, remote.WithContext(t.Context()))
	require.NoError(t, err)
	image, err = mutate.Config(image, v1.Config{Labels: map[string]string{"e2e": label}, Env: []string{"PATH=/bin"}})
	require.NoError(t, err)
	tag, err := name.NewTag(registry+"/foreign/"+label+":e2e", name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, image, remote.WithContext(t.Context())))
	digest, err := image.Digest()
	require.NoError(t, err)
	return "foreign.example/foreign/" + label + "@" + digest.String()
}

func testForeign(t *testing.T, b *bench) {
	t.Helper()
	kube := b.clients(t)
	ensureNamespace(t, kube)
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "guest", Namespace: workloads},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			InitContainers: []corev1.Container{
				{Name: "stranger-init", Image: foreign(t, b, "init"), Command: []string{"/bin/true"}},
				{Name: "stranger-sidecar", Image: foreign(t, b, "sidecar"), Command: []string{"/bin/sleep", "3600"}, RestartPolicy: &always},
			},
			Containers: []corev1.Container{{Name: "main", Image: lockedBusybox(t, b), Command: []string{"/bin/sleep", "3600"}}},
		},
	}
	start(t, kube, pod)
	v := decode[verified](t, b, 6, "verify", "argo-workflows")
	require.True(t, v.Tests[0].OK, v.Tests[0].Error)
	roles := map[string]string{}
	for _, f := range v.Running.Foreigners {
		require.Equal(t, "guest", f.Pod)
		roles[f.Container] = f.Role
	}
	require.Equal(t, map[string]string{"stranger-init": "init container", "stranger-sidecar": "sidecar"}, roles)
	require.NoError(t, kube.CoreV1().Pods(workloads).Delete(t.Context(), "guest", metav1.DeleteOptions{}))
}

func testDownUp(t *testing.T, b *bench) {
	t.Helper()
	kube := b.clients(t)
	ensureNamespace(t, kube)
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "kept", Namespace: workloads},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("8Mi")}},
		},
	}
	_, err := kube.CoreV1().PersistentVolumeClaims(workloads).Create(t.Context(), claim, metav1.CreateOptions{})
	require.NoError(t, err)
	onVolume(t, b, "writer", "echo still here > /data/file && sync")
	id := nodeID(t)

	b.run(t, 0, "down")
	require.Equal(t, "exited", docker(t, "inspect", "--format", "{{.State.Status}}", nodeName))
	require.Equal(t, 3, b.try(t, "status").code)
	up := decode[upped](t, b, 0, "up")
	require.Equal(t, "done", up.state(t, "cluster"))
	require.Equal(t, id, nodeID(t))
	requireFile(t, b)
}

// testChangedAddress has something else take the node's address while the
// cluster is down: it comes up at another one, and works.
func testChangedAddress(t *testing.T, b *bench) {
	t.Helper()
	address := func(container string) string {
		return docker(t, "inspect", "--format", `{{(index .NetworkSettings.Networks "`+kind.Network()+`").IPAddress}}`, container)
	}
	before := address(nodeName)
	require.NotEmpty(t, before)
	b.run(t, 0, "down")
	// Docker gives the lowest address that is free; the network takes no wishes.
	image, taken := docker(t, "inspect", "--format", "{{.Image}}", registryName), ""
	for i := 0; i < 10 && taken != before; i++ {
		squatter := fmt.Sprintf("%s-squatter-%d", registryName, i)
		t.Cleanup(func() { docker(t, "rm", "-fv", squatter) })
		docker(t, "run", "-d", "--name", squatter, "--label", "kfdev.dev/owned=e2e", "--network", kind.Network(), image)
		taken = address(squatter)
	}
	require.Equal(t, before, taken, "nothing else got the node's address")
	up := decode[upped](t, b, 0, "up")
	require.Equal(t, "done", up.state(t, "cluster"))
	after := address(nodeName)
	require.NotEqual(t, before, after)
	t.Logf("the node moved from %s to %s", before, after)
	nodes, err := b.clients(t).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Contains(t, nodes.Items[0].Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: after})
	requireFile(t, b) // in a pod that is scheduled, pulls, and mounts anew
	// Controllers that spoke to the API server at the old address start again.
	eventually(t, 3*time.Minute, "every component ready again", func() (bool, string) {
		r := b.try(t, "status")
		return r.code == 0, r.stdout
	})
}

// requireFile reads the file on the volume again.
func requireFile(t *testing.T, b *bench) {
	t.Helper()
	onVolume(t, b, "reader", "grep -q 'still here' /data/file")
}

// onVolume runs a shell line in a pod that has the volume, to its end.
func onVolume(t *testing.T, b *bench, podName, line string) {
	t.Helper()
	kube := b.clients(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: podName + "-", Namespace: workloads},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: lockedBusybox(t, b), Command: []string{"/bin/sh", "-c", line},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "kept"},
			}}},
		},
	}
	made, err := kube.CoreV1().Pods(workloads).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	until(t, kube, made.Name, func(p *corev1.Pod) bool {
		require.NotEqual(t, corev1.PodFailed, p.Status.Phase)
		return p.Status.Phase == corev1.PodSucceeded
	})
	require.NoError(t, kube.CoreV1().Pods(workloads).Delete(t.Context(), made.Name, metav1.DeleteOptions{}))
}

func ensureNamespace(t *testing.T, kube kubernetes.Interface) {
	t.Helper()
	if _, err := kube.CoreV1().Namespaces().Get(t.Context(), workloads, metav1.GetOptions{}); err == nil {
		return
	}
	_, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: workloads}}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// start makes a pod and waits until it runs with all its containers.
func start(t *testing.T, kube kubernetes.Interface, pod *corev1.Pod) {
	t.Helper()
	_, err := kube.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	until(t, kube, pod.Name, func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if !c.Ready {
				return false
			}
		}
		return p.Status.Phase == corev1.PodRunning && len(p.Status.ContainerStatuses) > 0
	})
}

// until watches a pod until done says so, at most two minutes.
func until(t *testing.T, kube kubernetes.Interface, pod string, done func(*corev1.Pod) bool) {
	t.Helper()
	timeout := int64((2 * time.Minute).Seconds())
	events, err := kube.CoreV1().Pods(workloads).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", pod).String(), TimeoutSeconds: &timeout,
	})
	require.NoError(t, err)
	defer events.Stop()
	var last *corev1.Pod
	for e := range events.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		require.True(t, ok, "%v", e.Object)
		if last = p; done(p) {
			return
		}
	}
	require.Fail(t, "the pod did not get there in two minutes", "%+v", last.Status)
}
