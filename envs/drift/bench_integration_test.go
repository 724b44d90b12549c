//go:build integration

package drift_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
)

// mixed returns objects as stacks have them: of ten, four ConfigMaps, two
// Deployments, two Services, a ServiceAccount and a Role, in five namespaces.
func mixed(tb testing.TB, count int) []*unstructured.Unstructured {
	tb.Helper()
	byKind := map[string]*unstructured.Unstructured{}
	for _, o := range load(tb, "base.yaml") {
		byKind[o.GetKind()+"/"+o.GetName()] = o
	}
	shapes := []string{"ConfigMap/settings", "Deployment/web", "ConfigMap/settings", "Service/web", "ConfigMap/settings", "Deployment/web", "ServiceAccount/runner", "ConfigMap/settings", "Service/web", "Role/reader"}
	var out []*unstructured.Unstructured
	for i := range 5 {
		out = append(out, object(tb, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: bench-%d}}", i)))
	}
	for i := range count - 5 {
		o := byKind[shapes[i%len(shapes)]].DeepCopy()
		o.SetName(fmt.Sprintf("%s-%d", o.GetName(), i))
		o.SetNamespace(fmt.Sprintf("bench-%d", i%5))
		if o.GetKind() == "Service" {
			unstructured.RemoveNestedField(o.Object, "spec", "type") // there are but 2,768 node ports
		}
		out = append(out, o)
	}
	return out
}

// benched is an environment with that many objects, settled.
func benched(b *testing.B, count int) *cluster {
	b.Helper()
	c := environment(b, false)
	c.wanted = drift.Wanted{Release: "sha256:bench"}
	for objects := range slices.Chunk(mixed(b, count), 500) { // an inventory is one ConfigMap
		name := fmt.Sprintf("bench-%d", len(c.wanted.Sets))
		c.wanted.Sets = append(c.wanted.Sets, apply.Set{Name: name, Namespace: "bench-0", Objects: objects})
	}
	c.apply(b)
	report, err := c.detector.Settle(b.Context(), c.wanted)
	require.NoError(b, err)
	require.Empty(b, texts(report.Findings))
	return c
}

// BenchmarkIntegrationScan scans environments that are as the release says: as
// a command does, with a client that knows nothing yet (cold), and with one
// that has asked what the server serves.
func BenchmarkIntegrationScan(b *testing.B) {
	for _, count := range []int{500, 5000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			c := benched(b, count)
			b.Run("cold", func(b *testing.B) {
				for b.Loop() {
					client, err := kube.Connect(c.client.Config)
					require.NoError(b, err)
					report, err := drift.New(client, noise.Default(), progress.Discard).Scan(b.Context(), c.wanted, drift.Options{})
					client.Close()
					require.NoError(b, err)
					require.Empty(b, report.Findings)
				}
			})
			b.Run("warm", func(b *testing.B) {
				for b.Loop() {
					require.Zero(b, c.scan(b, false).Read)
				}
			})
			b.Run("full", func(b *testing.B) {
				for b.Loop() {
					require.Empty(b, c.scan(b, true).Findings)
				}
			})
			if count == 500 {
				b.Run("kubectl", func(b *testing.B) { kubectl(b, c) })
			}
		})
	}
}

// kubectl is the peer: kubectl diff --server-side of the same objects, under
// kfdev's name, in the same run.
func kubectl(b *testing.B, c *cluster) {
	b.Helper()
	dir := b.TempDir()
	programs, err := apiserver.Build(b.Context())
	require.NoError(b, err)
	program := filepath.Join(dir, "kubectl")
	require.NoError(b, os.Symlink(programs.Kubernetes, program))
	config := c.client.Config
	require.NoError(b, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthority: config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"a": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "a"}},
		CurrentContext: "x",
	}, filepath.Join(dir, "kubeconfig")))
	var all bytes.Buffer
	for _, o := range c.wanted.Sets[0].Objects {
		live := live(b, c, o)
		sent := o.DeepCopy()
		sent.SetLabels(live.GetLabels())
		data, err := json.Marshal(sent.Object)
		require.NoError(b, err)
		all.WriteString("---\n")
		all.Write(data)
		all.WriteByte('\n')
	}
	file := filepath.Join(dir, "objects.yaml")
	require.NoError(b, os.WriteFile(file, all.Bytes(), 0o600))
	for b.Loop() {
		command := exec.CommandContext(b.Context(), program, "diff", "--server-side", "--field-manager=kfdev", "-f", file)
		command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"), "HOME="+dir)
		out, err := command.CombinedOutput()
		require.NoError(b, err, "%.2000s", out)
	}
}

func live(b *testing.B, c *cluster, o *unstructured.Unstructured) *unstructured.Unstructured {
	b.Helper()
	m, err := c.client.Mapper.Mapping(b.Context(), schema.FromAPIVersionAndKind(o.GetAPIVersion(), o.GetKind()))
	require.NoError(b, err)
	found, err := c.client.Dynamic.Resource(m.Resource).Namespace(o.GetNamespace()).Get(b.Context(), o.GetName(), metav1.GetOptions{})
	require.NoError(b, err)
	return found
}
