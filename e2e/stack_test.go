//go:build e2e

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// othersKubeconfig is a person's own: kfdev must leave all of it as it is.
const othersKubeconfig = `apiVersion: v1
kind: Config
# a comment of the person's own
current-context: work
clusters:
- {name: work, cluster: {server: "https://127.0.0.1:1"}}
contexts:
- {name: work, context: {cluster: work, user: work}}
users:
- {name: work, user: {token: keep-me}}
`

// step is what kfdev up -o json says of a step.
type step struct{ ID, State, Text string }

type upped struct {
	Steps    []step
	Changed  bool
	Registry string
}

func (u upped) state(t *testing.T, id string) string {
	t.Helper()
	for _, s := range u.Steps {
		if s.ID == id {
			return s.State
		}
	}
	require.Fail(t, "no such step", id)
	return ""
}

// TestStack is the life of one project, each part building on those before:
// one cluster serves them all.
func TestStack(t *testing.T) {
	sweep(t)
	t.Cleanup(func() { sweepAfter(t) })
	b := newBench(t)
	require.NoError(t, os.WriteFile(b.kubeconfig, []byte(othersKubeconfig), 0o600))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"lock", testLock},
		{"up, killed twice on the way", testUp},
		{"a second up changes nothing", testSecondUp},
		{"two at once", testTwoAtOnce},
		{"what killed tests leave is taken away", testKilledTests},
		{"verify", testVerify},
		{"sync", testSync},
		{"what is not in the lock is named", testForeign},
		{"core goes to staging", testCorePromoted},
		{"down and up keep everything", testDownUp},
		{"a kill while a component is applied", testKillWhileApplying},
		{"a component that left the project is removed", testRemoval},
		{"a lost registry is filled again, on another port", testLostRegistry},
		{"the node's address changes", testChangedAddress},
		{"down --delete leaves nothing", testDelete},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, b) }) {
			t.Log(docker(t, "ps", "-a"))
			return // the parts build on each other
		}
	}
}

func sweepAfter(t *testing.T) {
	t.Helper()
	if os.Getenv("KFDEV_E2E_KEEP") == "" {
		sweep(t)
	}
}

func testLock(t *testing.T, b *bench) {
	t.Helper()
	b.run(t, 0, "init", b.project, "--origin", "source")
	b.run(t, 0, "lock")
	b.run(t, 0, "lock", "--check")
	before, err := os.ReadFile(filepath.Join(b.project, "kfdev.lock"))
	require.NoError(t, err)
	require.NotContains(t, string(before), "https://")

	// The same again is the same, to the byte.
	b.run(t, 0, "lock")
	after, err := os.ReadFile(filepath.Join(b.project, "kfdev.lock"))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))

	// A lock edited by hand is refused.
	lock := filepath.Join(b.project, "kfdev.lock")
	require.NoError(t, os.WriteFile(lock, []byte(strings.Replace(string(before), "v1.36.1", "v1.36.2", 1)), 0o644))
	require.NotZero(t, b.try(t, "up", "--dry-run").code)
	require.NoError(t, os.WriteFile(lock, before, 0o644))
}

func testUp(t *testing.T, b *bench) {
	t.Helper()
	b.killed(t, "images", 300*time.Millisecond, "up")
	b.killed(t, "cluster", 4*time.Second, "up")
	up := decode[upped](t, b, 0, "up")
	require.True(t, up.Changed)
	status := decode[struct {
		Cluster    string
		Memory     int64
		Components []struct{ Name, State string }
	}](t, b, 0, "status")
	require.Equal(t, "running", status.Cluster)
	for _, c := range status.Components {
		require.Equal(t, "Current", c.State, c.Name)
	}
	t.Logf("idle memory of the nodes: %d MiB", status.Memory>>20)
}

func testSecondUp(t *testing.T, b *bench) {
	t.Helper()
	id := nodeID(t)
	up := decode[upped](t, b, 0, "up")
	require.False(t, up.Changed, "%+v", up.Steps)
	for _, s := range up.Steps {
		require.Equal(t, "skipped", s.State, s.ID)
	}
	require.Equal(t, id, nodeID(t))
}

func nodeID(t *testing.T) string {
	t.Helper()
	return docker(t, "inspect", "--format", "{{.Id}}", nodeName)
}

func testTwoAtOnce(t *testing.T, b *bench) {
	t.Helper()
	code := b.started(t, "images/pin", func(p *os.Process) {
		require.NoError(t, p.Signal(syscall.SIGSTOP))
		second := b.try(t, "up")
		require.NoError(t, p.Signal(syscall.SIGCONT))
		require.Equal(t, 4, second.code, second.stderr)
		require.Contains(t, second.stderr, strconv.Itoa(p.Pid), "it says who holds the project")
		require.Contains(t, second.stderr, "kfdev lock")
	}, "lock")
	require.Zero(t, code)
}

func testVerify(t *testing.T, b *bench) {
	t.Helper()
	v := decode[verified](t, b, 0, "verify")
	require.Len(t, v.Tests, 4)
	for _, test := range v.Tests {
		require.True(t, test.OK, "%s: %s", test.Component, test.Error)
		for _, f := range test.Facts {
			t.Logf("%s: %s = %s", test.Component, f.Name, f.Value)
		}
	}
	require.Empty(t, v.Running.Foreigners)
	require.Greater(t, v.Running.Containers, 10)
	// The tests' namespaces are gone again.
	list, err := b.clients(t).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: "kfdev.dev/smoke"})
	require.NoError(t, err)
	for _, ns := range list.Items {
		require.NotNil(t, ns.DeletionTimestamp, ns.Name)
	}
}

type verified struct {
	Tests []struct {
		Component string
		OK        bool
		Error     string
		Facts     []struct{ Name, Value string }
	}
	Running struct {
		Containers int
		Foreigners []struct{ Pod, Container, Role, Why string }
	}
}

func testKillWhileApplying(t *testing.T, b *bench) {
	t.Helper()
	id := nodeID(t)
	setComponent(t, b, "jupyterhub: {values: {notebookMemory: 1Gi}}")
	b.run(t, 0, "lock")
	b.killed(t, "stack/jupyterhub", 100*time.Millisecond, "up")
	b.run(t, 0, "up")
	require.False(t, decode[upped](t, b, 0, "up").Changed)
	require.Equal(t, id, nodeID(t), "the node was made anew")
	requireFile(t, b)
}

// setComponent sets what kfdev.yaml says of components.
func setComponent(t *testing.T, b *bench, flow string) {
	t.Helper()
	path := filepath.Join(b.project, "kfdev.yaml")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var kept []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(strings.TrimSpace(line), "components:") {
			continue
		}
		kept = append(kept, line)
		if strings.HasPrefix(strings.TrimSpace(line), "preset:") {
			kept = append(kept, "  components: {"+flow+"}\n")
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(kept, "")), 0o644))
}

func testRemoval(t *testing.T, b *bench) {
	t.Helper()
	setComponent(t, b, "argo-workflows: {enabled: false}")
	b.run(t, 6, "up", "--locked")
	b.run(t, 0, "lock")
	require.Contains(t, b.run(t, 0, "up", "--dry-run"), "remove argo-workflows")
	b.run(t, 0, "up")
	deployments, err := b.clients(t).AppsV1().Deployments("argo").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, deployments.Items)
	_, err = b.clients(t).CoreV1().Namespaces().Get(t.Context(), "argo", metav1.GetOptions{})
	require.NoError(t, err, "a namespace is never pruned")
}

func testLostRegistry(t *testing.T, b *bench) {
	t.Helper()
	before := decode[upped](t, b, 0, "up").Registry
	docker(t, "rm", "-f", registryName)
	docker(t, "volume", "rm", "-f", registryName)
	taken, err := net.Listen("tcp", before)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	up := decode[upped](t, b, 0, "up")
	require.NotEqual(t, before, up.Registry)
	require.Equal(t, "done", up.state(t, "images"))
	require.Equal(t, "skipped", up.state(t, "cluster"))
}

func testDelete(t *testing.T, b *bench) {
	t.Helper()
	out := decode[struct{ Deleted []string }](t, b, 0, "down", "--delete")
	require.NotEmpty(t, out.Deleted)
	require.Empty(t, docker(t, "ps", "-aq", "--filter", "name="+nodeName))
	require.Empty(t, docker(t, "ps", "-aq", "--filter", "name=^"+registryName+"$"))
	after, err := os.ReadFile(b.kubeconfig)
	require.NoError(t, err)
	require.Contains(t, string(after), "# a comment of the person's own")
	require.Contains(t, string(after), "keep-me")
	require.Contains(t, string(after), "current-context: work")
	require.NotContains(t, string(after), contextName)
	b.run(t, 0, "down", "--delete")
	b.run(t, 3, "status")
}
