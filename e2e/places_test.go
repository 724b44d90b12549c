//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/kind"
	"github.com/kfdev/kfdev/images"
	dockerclient "github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/progress"
)

// place is an environment that kfdev does not make: a cluster that is only
// reached by its context, and a registry that its nodes pull from.
type place struct {
	name    string // of the environment
	context string // in the bench's kubeconfig
	push    string // the registry as this machine reaches it
	pull    string // and as nodes do
	config  *rest.Config
}

func (p place) clients(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(p.config)
	require.NoError(t, err)
	return client
}

func clusterOf(environment string) string  { return projectName + "-" + environment }
func registryOf(environment string) string { return registryName + "-" + environment }

// newPlace makes a small cluster and a registry for an environment. The node
// and the registry run the images that kfdev up has loaded into Docker.
func newPlace(t *testing.T, b *bench, environment string) place {
	t.Helper()
	sweepPlace(t, environment)
	t.Cleanup(func() {
		if os.Getenv("KFDEV_E2E_KEEP") == "" {
			sweepPlace(t, environment)
		}
	})
	client, err := dockerclient.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	host := registryOf(environment) + ".svc"
	port := newRegistry(t, registryOf(environment), host)
	dir := filepath.Join(t.TempDir(), "nodes")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	state, err := kind.New(client, dir, progress.Discard).Ensure(t.Context(), cluster.Spec{
		Name: clusterOf(environment), Owner: t.Name(),
		Image: cluster.NodeImage{
			Ref: docker(t, "inspect", "--format", "{{.Image}}", nodeName), FromSource: true, Repository: images.SourceHost,
		},
		Mirror: cluster.Mirror{URL: "http://" + host + ":5000"},
	})
	require.NoError(t, err)
	config, err := clientcmd.RESTConfigFromKubeConfig(state.Kubeconfig)
	require.NoError(t, err)
	p := place{
		name: environment, context: environment, config: config,
		push: fmt.Sprintf("127.0.0.1:%d/kfdev", port), pull: host + ":5000/kfdev",
	}
	addContext(t, b.kubeconfig, environment, state.Kubeconfig)
	return p
}

// newRegistry runs a registry in the clusters' network, and returns its port
// on this machine.
func newRegistry(t *testing.T, name, host string) int {
	t.Helper()
	docker(t, "volume", "create", "--label", "kfdev.dev/owned=e2e", name)
	docker(t, "run", "-d", "--name", name, "--label", "kfdev.dev/owned=e2e", "--network", kind.Network(), "--network-alias", host,
		"-p", "127.0.0.1::5000", "-v", name+":/var/lib/registry", docker(t, "inspect", "--format", "{{.Image}}", registryName))
	var bindings map[string][]struct{ HostPort string }
	require.NoError(t, json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .NetworkSettings.Ports}}", name)), &bindings))
	port := bindings["5000/tcp"][0].HostPort
	eventually(t, time.Minute, "the registry "+name, func() (bool, string) {
		response, err := http.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/v2/")
		if err != nil {
			return false, err.Error()
		}
		require.NoError(t, response.Body.Close())
		return response.StatusCode == http.StatusOK, response.Status
	})
	n := 0
	_, err := fmt.Sscan(port, &n)
	require.NoError(t, err)
	return n
}

// addContext puts a cluster into a kubeconfig, under a name of its own.
func addContext(t *testing.T, path, name string, kubeconfig []byte) {
	t.Helper()
	one, err := clientcmd.Load(kubeconfig)
	require.NoError(t, err)
	all, err := clientcmd.LoadFromFile(path)
	require.NoError(t, err)
	current := one.Contexts[one.CurrentContext]
	all.Clusters[name], all.AuthInfos[name] = one.Clusters[current.Cluster], one.AuthInfos[current.AuthInfo]
	current.Cluster, current.AuthInfo = name, name
	all.Contexts[name] = current
	require.NoError(t, clientcmd.WriteToFile(*all, path))
}

// sweepPlace removes what an earlier run may have left.
func sweepPlace(t *testing.T, environment string) {
	t.Helper()
	ids := strings.Fields(docker(t, "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster="+cluster.ContextName(clusterOf(environment))))
	ids = append(ids, strings.Fields(docker(t, "ps", "-aq", "--filter", "name=^"+registryOf(environment)+"$"))...)
	for _, id := range ids {
		docker(t, "rm", "-fv", id)
	}
	for _, volume := range strings.Fields(docker(t, "volume", "ls", "-q", "--filter", "name=^"+registryOf(environment)+"$")) {
		docker(t, "volume", "rm", "-f", volume)
	}
}
