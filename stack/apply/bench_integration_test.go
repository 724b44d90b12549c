//go:build integration

package apply_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// fiveHundred returns five hundred objects as stacks have them, in five
// namespaces: of ten, four ConfigMaps, two Deployments, two Services, a
// ServiceAccount and a Role.
func fiveHundred(tb testing.TB, name string) apply.Set {
	tb.Helper()
	set := apply.Set{Name: name, Namespace: name + "-0", Hash: name}
	for n := range 5 {
		set.Objects = append(set.Objects, object(tb, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s-%d}}", name, n)))
	}
	const config = "{apiVersion: v1, kind: ConfigMap, metadata: %s, data: {a: one, b: two, c.yaml: 'x: 1'}}"
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: %s, spec: {replicas: 1, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [
		{name: main, image: 'a:1', args: [x, z], env: [{name: A, value: a}, {name: B, value: b}], ports: [{containerPort: 80}], resources: {requests: {cpu: 10m, memory: 1Mi}}, volumeMounts: [{name: c, mountPath: /c}]}], volumes: [{name: c, configMap: {name: c}}]}}}}`
	const service = "{apiVersion: v1, kind: Service, metadata: %s, spec: {selector: {app: a}, ports: [{name: http, port: 80}]}}"
	const account = "{apiVersion: v1, kind: ServiceAccount, metadata: %s}"
	const role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: %s, rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]}"
	shapes := []string{config, deployment, config, service, config, deployment, account, config, service, role}
	for n := range 495 {
		metadata := fmt.Sprintf("{name: object-%d, namespace: %s-%d}", n, name, n%5)
		set.Objects = append(set.Objects, object(tb, fmt.Sprintf(shapes[n%len(shapes)], metadata)))
	}
	return set
}

// bench is a server, with the programs that are measured beside kfdev.
type bench struct {
	client     *kube.Client
	kubeconfig string
	kubectl    string
	flux       string
	n          int
}

func newBench(b *testing.B) *bench {
	b.Helper()
	programs, err := apiserver.Build(b.Context())
	require.NoError(b, err)
	server, err := apiserver.Start(b.Context(), apiserver.Options{Programs: programs, Dir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Stop()) })
	client, err := kube.Connect(server.Config)
	require.NoError(b, err)
	b.Cleanup(client.Close)
	flux := filepath.Join(b.TempDir(), "fluxssa")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", flux, ".")
	build.Dir = filepath.Join("..", "..", "hack", "peers", "fluxssa")
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(b, err, "%s", out)
	return &bench{client: client, kubeconfig: server.Kubeconfig, kubectl: programs.Kubernetes, flux: flux}
}

// next returns a set that is not there yet.
func (s *bench) next(b *testing.B) apply.Set {
	b.Helper()
	s.n++
	return fiveHundred(b, fmt.Sprintf("cold%d", s.n))
}

// connect returns an Applier that knows nothing of the server yet, as a command's.
func (s *bench) connect(b *testing.B) (*apply.Applier, func()) {
	b.Helper()
	client, err := kube.Connect(s.client.Config)
	require.NoError(b, err)
	return apply.New(client, &open{}, progress.Discard), client.Close
}

func file(b *testing.B, set apply.Set) string {
	b.Helper()
	var text bytes.Buffer
	for _, o := range set.Objects {
		data, err := yaml.Marshal(o.Object)
		require.NoError(b, err)
		text.WriteString("---\n")
		text.Write(data)
	}
	path := filepath.Join(b.TempDir(), set.Name+".yaml")
	require.NoError(b, os.WriteFile(path, text.Bytes(), 0o600))
	return path
}

// BenchmarkIntegrationCold brings five hundred new objects in: kfdev as `up`
// does and as a promotion does (planned and carried), and its peers, in turn, so
// that none has the emptier server. It reports the medians.
func BenchmarkIntegrationCold(b *testing.B) {
	s := newBench(b)
	times := map[string][]time.Duration{}
	var names []string
	tools := map[string]func(b *testing.B, set apply.Set) time.Duration{}
	measure := func(name string, one func(b *testing.B, set apply.Set) time.Duration) {
		names = append(names, name)
		tools[name] = one
	}
	measure("kfdev-apply", func(b *testing.B, set apply.Set) time.Duration {
		b.Helper()
		started := time.Now()
		a, closing := s.connect(b)
		defer closing()
		done, err := a.Apply(b.Context(), set)
		took := time.Since(started)
		require.NoError(b, err)
		require.Equal(b, 500, done.Count(apply.Created))
		return took
	})
	measure("kfdev-plan-and-carry", func(b *testing.B, set apply.Set) time.Duration {
		b.Helper()
		started := time.Now()
		a, closing := s.connect(b)
		defer closing()
		p, err := a.Propose(b.Context(), set, apply.ProposeOptions{})
		require.NoError(b, err)
		done, err := a.Carry(b.Context(), set, p, apply.CarryOptions{})
		took := time.Since(started)
		require.NoError(b, err)
		require.Equal(b, 500, done.Count(apply.Created))
		return took
	})
	measure("kubectl", func(b *testing.B, set apply.Set) time.Duration {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), s.kubectl)
		cmd.Args = []string{"kubectl", "--kubeconfig", s.kubeconfig, "apply", "--server-side", "-f", file(b, set)}
		started := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(started)
		require.NoError(b, err, "%s", out)
		require.Equal(b, 500, strings.Count(string(out), "serverside-applied"))
		return took
	})
	measure("fluxcd-pkg-ssa", func(b *testing.B, set apply.Set) time.Duration {
		b.Helper()
		out, err := exec.CommandContext(b.Context(), s.flux, "-kubeconfig", s.kubeconfig, "-f", file(b, set)).Output() //nolint:gosec // a program of this repository
		require.NoError(b, err)
		took, err := time.ParseDuration(strings.TrimSpace(string(out)))
		require.NoError(b, err)
		return took
	})
	for range b.N {
		for _, name := range names {
			times[name] = append(times[name], tools[name](b, s.next(b)))
		}
	}
	for _, name := range names {
		slices.Sort(times[name])
		b.ReportMetric(times[name][len(times[name])/2].Seconds(), name+"-s")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIntegrationNothing plans, applies and carries what is there already.
func BenchmarkIntegrationNothing(b *testing.B) {
	s := newBench(b)
	set := s.next(b)
	a, closing := s.connect(b)
	defer closing()
	_, err := a.Apply(b.Context(), set)
	require.NoError(b, err)
	for _, name := range []string{"plan", "apply"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a, closing := s.connect(b)
				if name == "plan" {
					p, err := a.Propose(b.Context(), set, apply.ProposeOptions{})
					require.NoError(b, err)
					require.False(b, p.Changed())
				} else {
					done, err := a.Apply(b.Context(), set)
					require.NoError(b, err)
					require.False(b, done.Changed())
				}
				closing()
			}
		})
	}
}
