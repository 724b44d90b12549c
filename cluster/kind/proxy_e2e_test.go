//go:build e2e

package kind_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/kind"
)

// Behind a proxy that looks into TLS, nodes pull through it and trust its CA;
// without the CA they do not. The kubelet that a killed stop left behind comes
// back, and a port of the project leads to the node.
func TestE2ENodesPullThroughAProxyWithItsOwnCA(t *testing.T) {
	d := daemon(t)
	ctx := t.Context()
	proxy := startProxy(t)
	address := "http://" + net.JoinHostPort(bridgeAddress(t), proxy.port)
	t.Setenv("HTTPS_PROXY", address)
	t.Setenv("NO_PROXY", "127.0.0.1,localhost")

	p := kind.New(d, t.TempDir(), shown{t})
	spec := cluster.Spec{
		Name: "e2e-proxy", Owner: "x", Ports: []cluster.Port{{Host: freePort(t), Node: 30080}},
		Image:  cluster.NodeImage{Ref: loaded(t, d, "node").ID, FromSource: true, Repository: "kfdev.internal"},
		Mirror: cluster.Mirror{CA: proxy.ca},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, p.Delete(ctx, spec.Name))
	})
	state, err := p.Ensure(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, spec.Ports, state.Ports)
	node := state.Nodes[0].Name

	out, err := d.Exec(ctx, node, "crictl", "pull", proxy.push(t, "team/first"))
	require.NoError(t, err, out)
	require.NotZero(t, proxy.seen.Load(), "it went through the proxy")

	answers(t, state, spec.Ports[0])
	killedStop(t, node)

	spec.Mirror.CA = nil
	_, err = p.Ensure(ctx, spec)
	require.NoError(t, err)
	out, err = d.Exec(ctx, node, "crictl", "pull", proxy.push(t, "team/second"))
	require.ErrorContains(t, err, "x509", out)
}

// bridgeAddress is this machine's address on Docker's own bridge. A daemon that
// has just made the bridge does not name its gateway: it is the first address.
func bridgeAddress(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "network", "inspect", "bridge",
		"--format", "{{with index .IPAM.Config 0}}{{.Subnet}} {{.Gateway}}{{end}}").Output()
	require.NoError(t, err)
	subnet, gateway, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if gateway != "" {
		return gateway
	}
	prefix, err := netip.ParsePrefix(subnet)
	require.NoError(t, err)
	return prefix.Masked().Addr().Next().String()
}

// tlsProxy is a proxy that answers every CONNECT itself, with a certificate of
// its own CA, and serves a registry behind it: as the proxies of companies do.
type tlsProxy struct {
	port     string
	ca       []byte // PEM
	registry string // its address on this machine
	seen     atomic.Int64
}

// host is a registry that only the proxy knows.
const host = "registry.behind-the-proxy.example"

func startProxy(t *testing.T) *tlsProxy {
	t.Helper()
	silent := log.New(io.Discard, "", 0)
	content := registry.New(registry.Logger(silent))
	direct := httptest.NewServer(content)
	t.Cleanup(direct.Close)
	p := &tlsProxy{registry: strings.TrimPrefix(direct.URL, "http://")}

	ca, caKey, caPEM := certificate(t, nil, nil)
	leaf, leafKey, _ := certificate(t, ca, caKey)
	p.ca = caPEM
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}}}

	inner := &http.Server{Handler: content, ReadHeaderTimeout: time.Minute, ErrorLog: silent}
	handed := newHanded()
	go inner.Serve(handed) //nolint:errcheck // it ends when it is closed
	t.Cleanup(func() { require.NoError(t, inner.Close()) })

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	require.NoError(t, err)
	_, p.port, err = net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	outer := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: silent, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host+":443" {
			http.Error(w, "not here", http.StatusBadGateway)
			return
		}
		p.seen.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := fmt.Fprint(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			conn.Close() //nolint:errcheck // it is broken
			return
		}
		handed.give(tls.Server(conn, config))
	})}
	go outer.Serve(l) //nolint:errcheck // it ends when it is closed
	t.Cleanup(func() { require.NoError(t, outer.Close()) })
	return p
}

// push puts a random image into the registry, and says what nodes call it.
func (p *tlsProxy) push(t *testing.T, repository string) string {
	t.Helper()
	img, err := random.Image(1024, 1)
	require.NoError(t, err)
	digest, err := img.Digest()
	require.NoError(t, err)
	to, err := name.NewDigest(p.registry+"/"+repository+"@"+digest.String(), name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(to, img, remote.WithContext(t.Context())))
	return host + "/" + repository + "@" + digest.String()
}

// handed is a listener of connections that something else has accepted.
type handed struct {
	conns chan net.Conn
	done  chan struct{}
}

func newHanded() *handed { return &handed{conns: make(chan net.Conn), done: make(chan struct{})} }

func (h *handed) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close() //nolint:errcheck // nobody takes it
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error   { close(h.done); return nil }
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }

// certificate makes a CA or, given one, the registry's certificate of it.
func certificate(t *testing.T, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "a proxy's own"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	} else {
		template.DNSNames = []string{host}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	made, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	return made, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // only its number is wanted
	return l.Addr().(*net.TCPAddr).Port
}

// answers: the port on this machine leads to a Service's port on the node; here
// to the API server's, as any would.
func answers(t *testing.T, state cluster.State, port cluster.Port) {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(state.Kubeconfig)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = client.CoreV1().Services("kube-system").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "outside"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"component": "kube-apiserver"},
			Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(6443), NodePort: int32(port.Node)}}, //nolint:gosec // a port
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // only that it answers is asked
	defer web.CloseIdleConnections()
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/readyz", port.Host), nil)
		require.NoError(t, err)
		answer, err := web.Do(request)
		if err != nil {
			return false
		}
		defer answer.Body.Close() //nolint:errcheck // it was only looked at
		return answer.StatusCode == http.StatusOK
	}, 30*time.Second, 100*time.Millisecond)
}

// killedStop: a stop that is killed between the kubelet's rest and the node's
// leaves a node whose kubelet comes back.
func killedStop(t *testing.T, node string) {
	t.Helper()
	run := func(script string) string {
		out, err := exec.CommandContext(t.Context(), "docker", "exec", node, "sh", "-c", script).CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	run(kind.Quiesce)
	require.Equal(t, "inactive", run("systemctl is-active kubelet || true"))
	run(`timeout 90 sh -c 'until systemctl is-active -q kubelet; do sleep 0.5; done'`)
}
