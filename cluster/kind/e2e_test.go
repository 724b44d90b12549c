//go:build e2e

package kind_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/clustertest"
	"github.com/kfdev/kfdev/cluster/kind"
	"github.com/kfdev/kfdev/cluster/registry"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/progress"
)

const (
	project      = "e2e-kind"
	registryName = "kfdev-registry-e2e-kind"
)

// shown is progress in the test's log.
type shown struct{ t *testing.T }

func (s shown) Send(e progress.Event) {
	if e.State != progress.Advanced {
		s.t.Logf("%s %s %s %v %s", e.State, e.Task, e.Text, e.Took, e.Error)
	}
}

// daemon is the real one; its connections are closed after all that uses it.
func daemon(t *testing.T) *docker.Client {
	t.Helper()
	d, err := docker.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// loaded returns the newest image of a recipe that `kfdev up` has loaded.
func loaded(t *testing.T, d *docker.Client, recipe string) docker.Image {
	t.Helper()
	found, err := d.Images(t.Context(), "kfdev.internal/"+recipe)
	require.NoError(t, err)
	require.NotEmpty(t, found, "no image kfdev.internal/%s in Docker: `kfdev up` in any project loads it", recipe)
	return found[0]
}

func TestE2EKindPassesTheSuiteAndPullsByDigestFromTheMirror(t *testing.T) {
	d := daemon(t)
	dir := t.TempDir()
	server := loaded(t, d, "registry")
	local := registry.New(d, registry.Options{
		Name: registryName, Network: kind.Network(),
		Image: docker.Archive{Name: server.Names[0], Config: server.ID, DiffIDs: server.DiffIDs, Write: func(context.Context, io.Writer) error {
			return errors.New("it is loaded")
		}},
	}, shown{t})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, local.Remove(ctx))
	})
	clustertest.Run(t, clustertest.Subject{
		New: func(t *testing.T) cluster.Provider {
			t.Helper()
			return kind.New(d, dir, shown{t})
		},
		Spec: cluster.Spec{
			Name: project, Owner: dir, Mirror: cluster.Mirror{URL: local.NodeURL()},
			Image: cluster.NodeImage{Ref: loaded(t, d, "node").ID, FromSource: true, Repository: "kfdev.internal"},
		},
		Running: func(t *testing.T, state cluster.State) {
			t.Helper()
			at, err := local.Ensure(t.Context())
			require.NoError(t, err)
			require.True(t, at.Empty)
			runPod(t, state, pushed(t, at.Addr.String()))
		},
		Canceled: 4 * time.Second,
	})
}

// A making that is killed leaves a cluster without its mark: the next takes it
// away. The kill is played by taking the mark's place in the node.
func TestE2EAHalfMadeClusterIsMadeAnewAndATakenPortGivesWay(t *testing.T) {
	d := daemon(t)
	ctx := t.Context()
	node := "kfdev-e2e-half-control-plane"
	id, err := d.Create(ctx, docker.ContainerSpec{
		Name: node, Image: loaded(t, d, "registry").ID,
		Labels: map[string]string{"io.x-k8s.kind.cluster": "kfdev-e2e-half", "io.x-k8s.kind.role": "control-plane"},
	})
	require.NoError(t, err)
	p := kind.New(d, t.TempDir(), shown{t})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, p.Delete(ctx, "e2e-half"))
	})
	state, err := p.Get(ctx, "e2e-half")
	require.NoError(t, err)
	require.Equal(t, cluster.Incomplete, state.Phase)
	state, err = p.Ensure(ctx, cluster.Spec{
		Name: "e2e-half", Owner: "x",
		Image: cluster.NodeImage{Ref: loaded(t, d, "node").ID, FromSource: true, Repository: "kfdev.internal"},
	})
	require.NoError(t, err)
	require.Equal(t, cluster.Running, state.Phase)
	require.NotEqual(t, id, state.Nodes[0].ID)
	takenPort(t, d, p, state)
}

// takenPort: a port that another program takes while the cluster is stopped
// gives way, also when that is cut short, and what is in the node stays.
func takenPort(t *testing.T, d *docker.Client, p *kind.Provider, state cluster.State) {
	t.Helper()
	ctx, node := t.Context(), state.Nodes[0].Name
	require.NoError(t, d.WriteFile(ctx, node, "/var/kept", 0o600, []byte("in the volume")))
	require.NoError(t, d.WriteFile(ctx, node, "/kept", 0o600, []byte("in the container")))
	require.NoError(t, p.Stop(ctx, state.Name))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", strings.TrimPrefix(state.Server, "https://"))
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	out, err := exec.CommandContext(ctx, "docker", "rename", node, node+"-aside").CombinedOutput()
	require.NoError(t, err, string(out))

	moved, err := p.Start(ctx, state.Name)
	require.NoError(t, err)
	require.NotEqual(t, state.Server, moved.Server)
	require.Contains(t, string(moved.Kubeconfig), moved.Server)
	for file, want := range map[string]string{"/var/kept": "in the volume", "/kept": "in the container"} {
		got, err := d.ReadFile(ctx, node, file)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	before, err := d.Container(ctx, node)
	require.NoError(t, err)
	require.NotEmpty(t, before.Volumes)
	require.NoError(t, p.Delete(ctx, state.Name))
	for _, volume := range before.Volumes {
		made, err := d.EnsureVolume(ctx, volume, nil)
		require.NoError(t, err)
		require.True(t, made, "the volume went with its cluster")
		require.NoError(t, d.RemoveVolume(ctx, volume))
	}
}

// pushed is an image in the registry, that only the registry has: a program
// that ends well when the cluster's DNS knows the API server.
func pushed(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(`package main

import "net"

func main() {
	for range 100 {
		if _, err := net.LookupHost("kubernetes.default.svc.cluster.local"); err == nil { return }
	}
	panic("no DNS")
}
`), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "program"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	binary, err := os.ReadFile(filepath.Join(dir, "program"))
	require.NoError(t, err)
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(binary)), Typeflag: tar.TypeReg}))
	_, err = w.Write(binary)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	require.NoError(t, err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Config.Entrypoint = "amd64", "linux", []string{"/program"}
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	digest, err := img.Digest()
	require.NoError(t, err)
	to, err := name.NewDigest(address+"/team/program@"+digest.String(), name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(to, img, remote.WithContext(t.Context())))
	return "quay.example/team/program@" + digest.String()
}

// runPod runs the image in a pod to its end.
func runPod(t *testing.T, state cluster.State, image string) {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(state.Kubeconfig)
	require.NoError(t, err)
	web, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	defer utilnet.CloseIdleConnectionsFor(web.Transport)
	client, err := kubernetes.NewForConfigAndClient(config, web)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pods := client.CoreV1().Pods("default")
	started := time.Now()
	_, err = pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "by-digest"},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyOnFailure, Containers: []corev1.Container{{Name: "c", Image: image}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	one := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "default", fields.OneTermEqualSelector("metadata.name", "by-digest"))
	var last corev1.PodStatus
	_, err = watchtools.UntilWithSync(ctx, one, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		last = pod.Status
		return pod.Status.Phase == corev1.PodSucceeded, nil
	})
	require.NoError(t, err, "%+v", last)
	require.Equal(t, image, last.ContainerStatuses[0].ImageID)
	t.Logf("a pod ran by digest in %v", time.Since(started))
	require.NoError(t, pods.Delete(ctx, "by-digest", metav1.DeleteOptions{}))
}
