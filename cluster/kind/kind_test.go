package kind

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/docker/dockertest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const inside = `apiVersion: v1
kind: Config
clusters:
- cluster: {certificate-authority-data: Q0E=, server: "https://kfdev-demo-control-plane:6443"}
  name: kfdev-demo
contexts:
- context: {cluster: kfdev-demo, user: kubernetes-admin}
  name: kubernetes-admin@kfdev-demo
current-context: kubernetes-admin@kfdev-demo
users:
- name: kubernetes-admin
  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
`

func spec() cluster.Spec {
	return cluster.Spec{Name: "demo", Owner: "/p", Image: cluster.NodeImage{Ref: "sha256:1", FromSource: true, Repository: "kfdev.internal"}}
}

// node puts a node's container into the daemon, as kind makes it.
func node(t *testing.T, d *dockertest.Fake, name, role string) {
	t.Helper()
	_, err := d.Create(t.Context(), docker.ContainerSpec{
		Name: name, Image: "sha256:1", Labels: map[string]string{labelCluster: "kfdev-demo", labelRole: role},
		Publish: map[string]netip.AddrPort{apiPort: netip.MustParseAddrPort("127.0.0.1:0")},
	})
	require.NoError(t, err)
}

func TestGetTellsThePhase(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	p := New(d, t.TempDir(), progress.Discard)
	_, err := p.Get(t.Context(), "demo")
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	const control = "kfdev-demo-control-plane"
	node(t, d, "kfdev-demo-a-worker", "worker")
	node(t, d, control, roleControl)
	state, err := p.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, cluster.Incomplete, state.Phase, "the mark is not there")
	_, err = p.Start(t.Context(), "demo")
	require.Equal(t, fault.Preflight, fault.KindOf(err))

	require.NoError(t, d.WriteFile(t.Context(), control, markFile, 0o644, []byte(`{"owner":"/p","image":"sha256:1"}`)))
	require.NoError(t, d.WriteFile(t.Context(), control, adminConfig, 0o600, []byte(inside)))
	state, err = p.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, cluster.Stopped, state.Phase)
	require.Equal(t, control, state.Nodes[0].Name, "the control plane comes first")
	require.Equal(t, "/p", state.Owner)
	require.Contains(t, string(state.Kubeconfig), "server: https://127.0.0.1:0")
	require.Contains(t, string(state.Kubeconfig), "name: kfdev-demo")
	require.NotContains(t, string(state.Kubeconfig), "kubernetes-admin")

	require.NoError(t, d.WriteFile(t.Context(), control, markFile, 0o644, []byte(`half`)))
	_, err = p.Get(t.Context(), "demo")
	require.ErrorContains(t, err, markFile)

	require.NoError(t, p.Delete(t.Context(), "demo"))
	require.NoError(t, p.Delete(t.Context(), "demo"))
	_, err = p.Get(t.Context(), "demo")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestACanceledMakingIsTakenAway(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	p := New(d, t.TempDir(), progress.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	err := p.uncancelable(ctx, "demo", func() error {
		node(t, d, "kfdev-demo-control-plane", roleControl)
		cancel()
		// kind goes on until its node is gone, and may make another one late.
		require.Eventually(t, func() bool {
			left, err := p.nodes(context.Background(), "demo")
			return err == nil && len(left) == 0
		}, 5*time.Second, time.Millisecond)
		node(t, d, "kfdev-demo-worker", "worker")
		return errors.New("the node is gone")
	})
	require.Equal(t, fault.Canceled, fault.KindOf(err))
	left, err := p.nodes(t.Context(), "demo")
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAFailedMakingIsTakenAway(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	p := New(d, t.TempDir(), progress.Discard)
	why := errors.New("no space left on device")
	err := p.uncancelable(t.Context(), "demo", func() error {
		node(t, d, "kfdev-demo-control-plane", roleControl)
		return why
	})
	require.ErrorIs(t, err, why)
	left, err := p.nodes(t.Context(), "demo")
	require.NoError(t, err)
	require.Empty(t, left)
}

// stuck cannot remove anything.
type stuck struct{ *dockertest.Fake }

func (stuck) Remove(context.Context, string) error { return errors.New("device busy") }

func TestWhatIsLeftBehindIsNamed(t *testing.T) {
	t.Parallel()
	d := stuck{dockertest.New(t.Cleanup)}
	p := New(d, t.TempDir(), progress.Discard)
	err := p.uncancelable(t.Context(), "demo", func() error {
		node(t, d.Fake, "kfdev-demo-control-plane", roleControl)
		return errors.New("kubeadm failed")
	})
	require.ErrorContains(t, err, "kubeadm failed")
	require.ErrorContains(t, err, "device busy")
	require.Contains(t, strings.Join(fault.Hint(err), " "), "docker rm -fv")
}

func TestTheConfigurationIsAsTheNodeImageWants(t *testing.T) {
	t.Parallel()
	p := New(nil, "/state/nodes", progress.Discard)
	c := p.config(spec(), docker.Server{CgroupVersion: 1})
	require.Equal(t, "kfdev-demo", c.Name)
	require.True(t, c.Networking.DisableDefaultCNI)
	require.Len(t, c.Nodes, 1)
	require.Equal(t, "sha256:1", c.Nodes[0].Image)
	require.Equal(t, "/state/nodes/certs.d", c.Nodes[0].ExtraMounts[0].HostPath)
	require.True(t, c.Nodes[0].ExtraMounts[0].Readonly)
	all := strings.Join(c.KubeadmConfigPatches, "---\n")
	require.Contains(t, all, "failCgroupV1: false")
	require.Contains(t, all, "imageRepository: kfdev.internal")

	require.Empty(t, c.Nodes[0].ExtraPortMappings)

	published := spec()
	published.Ports = []cluster.Port{{Host: 8080, Node: 30080}}
	published.Image, published.Nodes, published.APIPort = cluster.NodeImage{Ref: "docker.io/kindest/node@sha256:2"}, 3, 6443
	c = p.config(published, docker.Server{CgroupVersion: 2})
	require.False(t, c.Networking.DisableDefaultCNI)
	require.Len(t, c.Nodes, 3)
	mirror := v1alpha4.Mount{HostPath: "/state/nodes/certs.d", ContainerPath: "/etc/containerd/certs.d", Readonly: true}
	require.Equal(t, v1alpha4.ControlPlaneRole, c.Nodes[0].Role)
	require.Equal(t, []v1alpha4.Mount{mirror, {
		HostPath: "/state/nodes/default-storage.yaml", ContainerPath: "/kind/manifests/default-storage.yaml", Readonly: true,
	}}, c.Nodes[0].ExtraMounts)
	for _, worker := range c.Nodes[1:] {
		require.Equal(t, v1alpha4.WorkerRole, worker.Role)
		require.Equal(t, []v1alpha4.Mount{mirror}, worker.ExtraMounts, "every node pulls through the mirror")
		require.Equal(t, published.Image.Ref, worker.Image)
	}
	require.Equal(t, []v1alpha4.PortMapping{
		{ContainerPort: 30080, HostPort: 8080, ListenAddress: "127.0.0.1", Protocol: v1alpha4.PortMappingProtocolTCP},
	}, c.Nodes[0].ExtraPortMappings)
	require.Empty(t, c.Nodes[1].ExtraPortMappings, "one program can listen on a port")
	require.EqualValues(t, 6443, c.Networking.APIServerPort)
	all = strings.Join(c.KubeadmConfigPatches, "---\n")
	require.NotContains(t, all, "failCgroupV1")
	require.NotContains(t, all, "imageRepository")
}

func TestANodeIsReadyOnceItHasSaidSoSinceItsStart(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	n := func(at time.Time, status corev1.ConditionStatus) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: status, Message: "no network", LastHeartbeatTime: metav1.NewTime(at)},
		}}}
	}
	tr := newTracker(map[string]time.Time{"n": start})
	require.Equal(t, "n (not registered)", tr.missing())
	for _, step := range []struct {
		node *corev1.Node
		why  string
	}{
		{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, "n (has not reported)"},
		{n(start.Add(-time.Hour), corev1.ConditionTrue), "n (has not reported since it was started)"},
		{n(start.Add(time.Second), corev1.ConditionFalse), "n (no network)"},
		{n(start.Truncate(time.Second), corev1.ConditionTrue), ""},
	} {
		done, err := tr.see(watch.Event{Type: watch.Modified, Object: step.node})
		require.NoError(t, err)
		require.Equal(t, step.why, tr.missing())
		require.Equal(t, step.why == "", done)
	}
	done, err := tr.see(watch.Event{Type: watch.Bookmark, Object: &corev1.Pod{}})
	require.NoError(t, err)
	require.False(t, done)
}

func TestANodeWhosePortIsTakenGetsAnother(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	recorder := &progress.Recorder{}
	p := New(d, t.TempDir(), recorder)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	taken := netip.MustParseAddrPort(l.Addr().String())
	_, err = d.Create(t.Context(), docker.ContainerSpec{
		Name: "kfdev-demo-control-plane", Labels: map[string]string{labelCluster: "kfdev-demo", labelRole: roleControl},
		Publish: map[string]netip.AddrPort{apiPort: taken},
	})
	require.NoError(t, err)
	nodes, err := p.nodes(t.Context(), "demo")
	require.NoError(t, err)
	require.NoError(t, p.start(t.Context(), nodes[0]))
	nodes, err = p.nodes(t.Context(), "demo")
	require.NoError(t, err)
	require.True(t, nodes[0].Running)
	require.NotEqual(t, taken, nodes[0].Ports[apiPort])
	events := recorder.Events()
	require.Contains(t, events[len(events)-1].Text, nodes[0].Ports[apiPort].String())
}

// A port that a person chose is not exchanged for another one.
func TestATakenPortOfAPersonsChoiceIsNamed(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	p := New(d, t.TempDir(), progress.Discard)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	taken := netip.MustParseAddrPort(l.Addr().String())
	api := netip.MustParseAddrPort("127.0.0.1:0")
	_, err = d.Create(t.Context(), docker.ContainerSpec{
		Name: "kfdev-demo-control-plane", Labels: map[string]string{labelCluster: "kfdev-demo", labelRole: roleControl},
		Publish: map[string]netip.AddrPort{apiPort: api, "30080/tcp": taken},
	})
	require.NoError(t, err)
	nodes, err := p.nodes(t.Context(), "demo")
	require.NoError(t, err)
	want := []cluster.Port{{Host: int(taken.Port()), Node: 30080}}
	require.Equal(t, want, published(nodes[0]))
	for _, err := range []error{p.start(t.Context(), nodes[0]), portsFree(t.Context(), want)} {
		require.ErrorContains(t, err, taken.String())
		require.Equal(t, fault.Preflight, fault.KindOf(err))
		require.Contains(t, fault.Hint(err)[0], "kind.ports")
	}
	require.NoError(t, l.Close())
	require.NoError(t, portsFree(t.Context(), want))
	require.NoError(t, p.start(t.Context(), nodes[0]))
}

func TestAnAddressIsNamedWhole(t *testing.T) {
	t.Parallel()
	err := errors.New("driver failed: Bind for 127.0.0.1:8080 failed: port is already allocated")
	require.True(t, named(err, netip.MustParseAddrPort("127.0.0.1:8080")))
	require.False(t, named(err, netip.MustParseAddrPort("127.0.0.1:80")))
}

func TestPortsAreChosenBelowTheKernelsOwn(t *testing.T) {
	t.Parallel()
	first, err := freePort(t.Context(), "demo")
	require.NoError(t, err)
	require.Less(t, int(first.Port()), 32768)
	require.GreaterOrEqual(t, int(first.Port()), firstPort)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", first.String())
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	second, err := freePort(t.Context(), "demo")
	require.NoError(t, err)
	require.NotEqual(t, first, second)
}

func TestKindsStepsBecomeProgress(t *testing.T) {
	t.Parallel()
	r := &progress.Recorder{}
	l := newLogger(r)
	l.V(0).Infof("Creating cluster %q ...\n", "x")
	l.V(0).Infof(" • %s  ...\n", "Preparing nodes 📦 ")
	l.V(1).Info("a detail")
	l.V(0).Infof(" ✓ %s\n", "Preparing nodes 📦 ")
	l.V(0).Infof(" • %s  ...\n", "Starting control-plane 🕹️")
	l.V(0).Infof(" ✗ %s\n", "Starting control-plane 🕹️")
	l.Warn("cgroup v1 is deprecated in Kubernetes")
	l.Errorf("odd %d", 1)
	l.end(nil)
	var got []string
	for _, e := range r.Events() {
		got = append(got, string(e.State)+" "+e.Task+" "+e.Text)
	}
	require.Equal(t, []string{
		"started cluster/create/1 Preparing nodes", "done cluster/create/1 Preparing nodes",
		"started cluster/create/2 Starting control-plane", "failed cluster/create/2 Starting control-plane",
		"warning  kind: odd 1",
	}, got)
}

func TestComplaintsAreTheProgramsOwn(t *testing.T) {
	t.Parallel()
	journal := "I1122 starting\nE1122 run.go:72] \"command failed\"\nkubelet.service: Failed\ntime=x level=error msg=\"no socket\"\n"
	require.Equal(t, "E1122 run.go:72] \"command failed\"\ntime=x level=error msg=\"no socket\"", complaints(journal))
}

func TestTheVerdictIsWithoutTheSource(t *testing.T) {
	t.Parallel()
	require.Equal(t, "error: no control plane", verdict("I1 trying\nerror: no control plane\nk8s.io/x.Run\n\tx.go:1\n"))
	require.Equal(t, "docker: no such image", verdict("docker: no such image\n"))
}
