// Package apiserver starts a real kube-apiserver with a real etcd, and
// Kubernetes' controllers where they are asked for, as processes of this
// machine: a cluster without nodes, for tests. It is ready in about two
// seconds, and everything it writes lies in one folder.
package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Programs are the programs that are run.
type Programs struct {
	Kubernetes string // Kubernetes' commands as one program, told apart by argv[0]
	Etcd       string
}

// Options says what is started.
type Options struct {
	Programs Programs
	Dir      string // gets everything that is written; must be there
	// Controllers starts kube-controller-manager too: deployments make pods
	// (which nothing runs), namespaces empty themselves, owners' objects go.
	Controllers bool
	Args        []string // of kube-apiserver, beside its own: feature gates, an emulated version
}

// Server is a running API server.
type Server struct {
	Config     *rest.Config // of an administrator
	Kubeconfig string       // file of the same

	dir       string
	processes []*process
}

// process is one program under way.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// readyWithin bounds how long the servers may take to be ready.
const readyWithin = 90 * time.Second

// Start starts the servers and waits until they are ready. What it started is
// stopped again where it fails. The context bounds the start, not the life.
func Start(ctx context.Context, o Options) (*Server, error) {
	for try := 1; ; try++ {
		s := &Server{dir: o.Dir}
		err := s.start(ctx, o)
		if err == nil {
			return s, nil
		}
		err = errors.Join(err, s.Stop())
		if try == portTries || !strings.Contains(err.Error(), unix.EADDRINUSE.Error()) {
			return nil, err
		}
	}
}

// portTries bounds how often other ports are chosen: none can be kept free
// for another process between the choice and its use.
const portTries = 5

func (s *Server) start(ctx context.Context, o Options) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp(s.dir, "try"); err != nil {
		return err
	}
	token, err := s.credentials()
	if err != nil {
		return err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	err = s.run("etcd", o.Programs.Etcd, "--name=default", "--data-dir="+filepath.Join(s.dir, "etcd"),
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--log-level=error")
	if err != nil {
		return err
	}
	if err := s.await(ctx, etcd+"/health", http.DefaultClient); err != nil {
		return err
	}
	if err := s.run("kube-apiserver", o.Programs.Kubernetes, append(s.apiServer(etcd, ports[2], o.Controllers), o.Args...)...); err != nil {
		return err
	}
	if err := s.connect(ctx, ports[2], token); err != nil {
		return err
	}
	if !o.Controllers {
		return nil
	}
	return s.run("kube-controller-manager", o.Programs.Kubernetes, "--kubeconfig="+s.Kubeconfig, "--leader-elect=false",
		"--service-account-private-key-file="+s.file("sa.key"), "--bind-address=127.0.0.1", "--secure-port=0", "--use-service-account-credentials=false")
}

func (s *Server) apiServer(etcd string, port int, controllers bool) []string {
	args := []string{
		"--etcd-servers=" + etcd, fmt.Sprintf("--secure-port=%d", port), "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--cert-dir=" + s.file("certs"), "--token-auth-file=" + s.file("tokens"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + s.file("sa.key"),
		"--service-account-signing-key-file=" + s.file("sa.key"), "--service-cluster-ip-range=10.96.0.0/16",
	}
	if !controllers {
		// Nothing would make the service accounts that it waits for.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	return args
}

// credentials writes a token for an administrator, and the key that service
// accounts' tokens are signed with.
func (s *Server) credentials() (string, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	token := hex.EncodeToString(raw)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return token, errors.Join(
		os.WriteFile(s.file("tokens"), []byte(token+",admin,admin,system:masters\n"), 0o600),
		os.WriteFile(s.file("sa.key"), pemKey, 0o600),
	)
}

// connect waits for the API server and makes the configuration that leads to it.
func (s *Server) connect(ctx context.Context, port int, token string) error {
	certificate := filepath.Join(s.dir, "certs", "apiserver.crt")
	host := fmt.Sprintf("https://127.0.0.1:%d", port)
	err := s.until(ctx, "kube-apiserver", func() error {
		config := &rest.Config{Host: host, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: certificate}}
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		return ask(ctx, host+"/readyz", client)
	})
	if err != nil {
		return err
	}
	s.Config = &rest.Config{Host: host, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: certificate}}
	s.Kubeconfig = s.file("kubeconfig")
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: host, CertificateAuthority: certificate}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "admin"}},
		CurrentContext: "test",
	}, s.Kubeconfig)
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// run starts a program under the name that it is to go by.
func (s *Server) run(name, program string, args ...string) error {
	p := &process{name: name, log: s.file(name + ".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	//nolint:noctx // it lives until Stop, longer than the context of the start
	p.cmd = exec.Command(program)
	p.cmd.Args = append([]string{name}, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", name, err), out.Close())
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended shows in its log
		_ = out.Close()
	}()
	s.processes = append(s.processes, p)
	return nil
}

func (s *Server) await(ctx context.Context, address string, client *http.Client) error {
	return s.until(ctx, address, func() error { return ask(ctx, address, client) })
}

// until calls try, ten times a second, until it succeeds. A server that is not
// there yet gives nothing that could be watched.
func (s *Server) until(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		for _, p := range s.processes {
			select {
			case <-p.done:
				return fmt.Errorf("%s ended: %s", p.name, tail(p.log))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, address string, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// Stop ends the programs, last first, and waits for them.
func (s *Server) Stop() error {
	var problems []error
	for i := len(s.processes) - 1; i >= 0; i-- {
		p := s.processes[i]
		// Nothing of it is needed again: there is nothing to save in an orderly end.
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			problems = append(problems, err)
		}
		<-p.done
	}
	s.processes = nil
	return errors.Join(problems...)
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // all stay open until the last is chosen, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
