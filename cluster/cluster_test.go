package cluster_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	dockerconfig "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/fault"
)

func TestValidateNamesWhatCannotBe(t *testing.T) {
	t.Parallel()
	good := cluster.Spec{Name: "fraud", Image: cluster.NodeImage{Ref: "docker.io/kindest/node@sha256:1"}, Nodes: 3}
	require.NoError(t, good.Validate())
	for want, change := range map[string]func(*cluster.Spec){
		"lower-case":    func(s *cluster.Spec) { s.Name = "Fraud" },
		"no node image": func(s *cluster.Spec) { s.Image.Ref = "" },
		"one node only": func(s *cluster.Spec) { s.Image.FromSource, s.Image.Repository = true, "kfdev.internal" },
		"repository":    func(s *cluster.Spec) { s.Image.FromSource = true },
		"-1 nodes":      func(s *cluster.Spec) { s.Nodes = -1 },
		"port 70000":    func(s *cluster.Spec) { s.APIPort = 70000 },
		"from 1 to":     func(s *cluster.Spec) { s.Ports = []cluster.Port{{Host: 8080, Node: 0}} },
		"the API's":     func(s *cluster.Spec) { s.Ports = []cluster.Port{{Host: 8080, Node: 6443}} },
		"comes twice":   func(s *cluster.Spec) { s.Ports = []cluster.Port{{Host: 1, Node: 2}, {Host: 3, Node: 2}} },
		"44 characters": func(s *cluster.Spec) { s.Name = strings.Repeat("a", 44) },
	} {
		s := good
		change(&s)
		err := s.Validate()
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Usage, fault.KindOf(err))
	}
}

func TestDiffersNamesWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	spec := cluster.Spec{
		Name: "fraud", Owner: "/p", Image: cluster.NodeImage{Ref: "sha256:1"},
		Ports: []cluster.Port{{Host: 8080, Node: 30080}, {Host: 8443, Node: 30043}},
	}
	good := cluster.State{
		Owner: "/p", Image: "sha256:1", Nodes: make([]cluster.Node, 1),
		Ports: []cluster.Port{{Host: 8443, Node: 30043}, {Host: 8080, Node: 30080}},
	}
	require.NoError(t, spec.Differs(good), "the order of ports says nothing")
	for want, change := range map[string]func(*cluster.State){
		"in /q has it":         func(s *cluster.State) { s.Owner = "/q" },
		"run sha256:2":         func(s *cluster.State) { s.Image = "sha256:2" },
		"has 2 nodes":          func(s *cluster.State) { s.Nodes = make([]cluster.Node, 2) },
		"[8443 → 30043], [844": func(s *cluster.State) { s.Ports = s.Ports[:1] },
		"its ports are [],":    func(s *cluster.State) { s.Ports = nil },
	} {
		state := good
		change(&state)
		err := spec.Differs(state)
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Drift, fault.KindOf(err))
		require.NotEmpty(t, fault.Hint(err))
	}
}

// authority is a certificate of an authority, PEM.
func authority(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// hosts are those that containerd asks, in order, for an image of the host.
func hosts(t *testing.T, dir, host string) []string {
	t.Helper()
	// containerd finds the authorities by the path that they have in a node.
	general, err := os.ReadFile(filepath.Join(dir, "_default/hosts.toml"))
	require.NoError(t, err)
	mapped := t.TempDir()
	require.NoError(t, os.CopyFS(mapped, os.DirFS(dir)))
	require.NoError(t, os.WriteFile(filepath.Join(mapped, "_default/hosts.toml"),
		[]byte(strings.ReplaceAll(string(general), "/etc/containerd/certs.d", mapped)), 0o600))
	found, err := dockerconfig.ConfigureHosts(t.Context(), dockerconfig.HostOptions{HostDir: dockerconfig.HostDirFromRoot(mapped)})(host)
	require.NoError(t, err)
	var names []string
	for _, h := range found {
		require.NotZero(t, h.Capabilities&docker.HostCapabilityPull)
		require.NotZero(t, h.Capabilities&docker.HostCapabilityResolve)
		names = append(names, h.Host)
	}
	return names
}

func TestTheMirrorIsAskedFirstAndUpstreamsAfter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mirror := cluster.Mirror{URL: "http://kfdev-registry.svc:5000", CA: authority(t)}
	require.NoError(t, mirror.Write(dir, "kfdev.internal"))
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(raw)
	}
	general := read("_default/hosts.toml")
	require.Contains(t, general, `[host."http://kfdev-registry.svc:5000"]`)
	require.NotContains(t, general, "server =", "an image's own registry comes after")
	require.Contains(t, general, `ca = "/etc/containerd/certs.d/proxy-ca.pem"`)
	require.Equal(t, string(mirror.CA), read("proxy-ca.pem"))
	require.Contains(t, read("kfdev.internal/hosts.toml"), `server = "http://kfdev-registry.svc:5000"`)

	require.Equal(t, []string{"kfdev-registry.svc:5000", "quay.io"}, hosts(t, dir, "quay.io"))
	require.Equal(t, []string{"kfdev-registry.svc:5000"}, hosts(t, dir, "kfdev.internal"), "there is no such host to ask")

	before, err := os.Stat(filepath.Join(dir, "_default/hosts.toml"))
	require.NoError(t, err)
	require.NoError(t, mirror.Write(dir, "kfdev.internal"))
	after, err := os.Stat(filepath.Join(dir, "_default/hosts.toml"))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "what is the same is not written again")

	require.NoError(t, cluster.Mirror{}.Write(dir, "kfdev.internal"))
	require.NoFileExists(t, filepath.Join(dir, "proxy-ca.pem"))
	require.NoFileExists(t, filepath.Join(dir, "kfdev.internal/hosts.toml"))
	require.NotContains(t, read("_default/hosts.toml"), "host.")
	require.Error(t, cluster.Mirror{URL: "kfdev-registry:5000"}.Write(dir, "kfdev.internal"))
}
