//go:build integration

package envs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kfdev/kfdev/internal/dirs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

// How long the leases of these tests are good for: the next promotion waits for
// as long as the one that died said. One that is to arrive holds on through
// whatever else the machine does.
const (
	shortLease = time.Second
	longLease  = 30 * time.Second
)

// errand is what a promoter that is a process of its own is to do.
type errand struct {
	Dir   string
	Dirs  dirs.Dirs
	Host  string // of the API server
	Token string
}

const errandVariable = "KFDEV_TEST_PROMOTER"

// child is what this test binary does where another test runs it as a process
// of its own; it reports false where it is not that.
func child() (code int, is bool) {
	text := os.Getenv(errandVariable)
	if text == "" {
		return 0, false
	}
	var e errand
	err := json.Unmarshal([]byte(text), &e)
	if err == nil {
		err = e.promote()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return fault.ExitCode(err), true
}

func (e errand) promote() error {
	b := &bench{outside: newOutside(), dir: e.Dir, dirs: e.Dirs, archive: &debianArchive{version: "1"}, recipes: testRecipes(), catalog: testCatalog(), events: &progress.Recorder{}}
	engine, err := b.start()
	if err != nil {
		return err
	}
	engine.world.Lease = shortLease
	engine.world.Site = func(context.Context, string) (*kube.Client, error) {
		return kube.Connect(&rest.Config{Host: e.Host, BearerToken: e.Token})
	}
	_, err = engine.Promote(context.Background(), "staging", PromoteOptions{})
	return errors.Join(err, engine.Close())
}

// killer lets requests through, and does something to a process around one of
// its writes.
type killer struct {
	mu    sync.Mutex
	count int                  // of writes
	at    int                  // the write, from 1
	after bool                 // when the server has answered, else before it is sent
	hit   func() (goesOn bool) // called there; whether the request goes on
	what  string               // that write
}

func (k *killer) arm(at int, after bool, hit func() bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count, k.at, k.after, k.hit, k.what = 0, at, after, hit, ""
}

// through is a server in front of another.
func (k *killer) through(t *testing.T, to string, via http.RoundTripper) string {
	t.Helper()
	target, err := url.Parse(to)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, Transport: via, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // what a registry answers with leads back here
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before, after := k.counted(r)
		if before != nil && !before() {
			return
		}
		proxy.ServeHTTP(w, r)
		if after != nil {
			after()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// counted returns what is to be done before or after this request.
func (k *killer) counted(r *http.Request) (before, after func() bool) {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Query().Get("dryRun") != "",
		strings.Contains(r.URL.Path, "/apis/authorization.k8s.io/"):
		return nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	if k.count != k.at {
		return nil, nil
	}
	k.what = r.Method + " " + r.URL.Path
	if k.after {
		return nil, k.hit
	}
	return k.hit, nil
}

// met is the write that it was about; empty where none came so far.
func (k *killer) met() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.what
}

// travelling is a cluster that promotions go to, in two releases by turns.
type travelling struct {
	*places
	killer   *killer
	host     string       // of the API server, through the killer
	registry atomic.Value // http.Handler
	releases [2]*bench    // the project as it is in each
	want     [2]map[string]string
}

// release is the project in one of two forms: a kind, a team, thirty objects,
// some of which only one has; and a component that the other form has under
// another name, with an object that moves to it, and one that goes with it.
func (p *travelling) release(t *testing.T, n int) {
	t.Helper()
	b := newBench(t, strings.NewReplacer("cpu: 4", fmt.Sprintf("cpu: %d", 4+n), ", after: [dev]", "", "registry.staging.example", p.places.host+"/staging",
		"{folder: things}", fmt.Sprintf("{folder: things}, part%d: {folder: part}", n)).Replace(oneTeam))
	b.teams(t)
	var text strings.Builder
	for i := range 24 {
		if i%6 == 5 && i%2 == n {
			continue // only the other has it
		}
		same := i
		if i%3 == 0 {
			same += 100 * n
		}
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: things}\ndata: {value: \"%d\"}\n", i, same)
	}
	fmt.Fprintf(&text, "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com, annotations: {release: \"%d\"}}\n"+
		"spec: {group: example.com, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}\n", n)
	fmt.Fprintf(&text, "---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one, namespace: things}\nspec: {n: %d}\n", n)
	fmt.Fprintf(&text, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reads%d, namespace: things}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n", n)
	part := ""
	for name, value := range map[string]int{"shared": 0, "changed": n, "moved": 0, fmt.Sprintf("only%d", n): 0} {
		one := fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: things}\ndata: {value: \"%d\"}\n", name, value)
		if name == "moved" && n == 0 {
			text.WriteString(one)
			continue
		}
		part += one
	}
	b.write(t, map[string]string{
		"part/component.yaml":       fmt.Sprintf("apiVersion: kfdev.dev/v1alpha1\nkind: Component\nname: part%d\nversion: v1\ntitle: for tests\nnamespace: things\nrequires: [things]\n", n),
		"part/kustomization.yaml":   "resources: [all.yaml]\n",
		"part/all.yaml":             strings.TrimPrefix(part, "---\n"),
		"things/component.yaml":     "apiVersion: kfdev.dev/v1alpha1\nkind: Component\nname: things\nversion: v1\ntitle: for tests\nnamespace: things\n",
		"things/kustomization.yaml": "resources: [all.yaml]\n",
		"things/all.yaml":           strings.TrimPrefix(text.String(), "---\n"),
	})
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	p.releases[n] = b
}

// oneTeam is a project for one environment.
const oneTeam = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack:
  preset: tiny
  components: {profile-controller: {folder: controller}, things: {folder: things}}
profiles:
  - {name: vision, owner: ana@example.com, contributors: [{user: bob@example.com, role: edit}], quota: {cpu: 4}, objects: [teams/*.yaml]}
environments:
  staging: {cluster: {context: staging}, registry: registry.staging.example/kfdev, after: [dev]}
`

func newTravelling(t *testing.T) *travelling {
	t.Helper()
	p := &travelling{places: newPlacesOf(t, oneTeam, "staging"), killer: &killer{}}
	config := p.clients["staging"].Config
	via, err := transport.New(&transport.Config{TLS: transport.TLSConfig{CAFile: config.CAFile}})
	require.NoError(t, err)
	p.host = p.killer.through(t, config.Host, via)
	p.emptyRegistry()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.registry.Load().(http.Handler).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	p.places.host = strings.TrimPrefix(p.killer.through(t, server.URL, nil), "http://")
	p.controller(t, "staging")
	for n := range p.releases {
		p.release(t, n)
	}
	for _, n := range []int{0, 1, 0, 1} { // the second time each comes from the other, as later
		require.NoError(t, p.promote(t, n))
		p.want[n] = snapshot(t, p.clients["staging"])
		require.Contains(t, p.want[n], fmt.Sprintf("/v1, Kind=ConfigMap kfdev-system/kfdev-part%d", n))
		require.NotContains(t, p.want[n], fmt.Sprintf("/v1, Kind=ConfigMap kfdev-system/kfdev-part%d", 1-n))
	}
	return p
}

// emptyRegistry has the next promotion copy everything.
func (p *travelling) emptyRegistry() {
	p.registry.Store(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
}

// promote promotes a release as another process would, undisturbed.
func (p *travelling) promote(t *testing.T, n int) error {
	t.Helper()
	e := p.releases[n].engine(t)
	e.world.Lease = longLease
	e.world.Site = func(context.Context, string) (*kube.Client, error) { return kube.Connect(p.clients["staging"].Config) }
	_, err := e.Promote(t.Context(), "staging", PromoteOptions{})
	return err
}

// send starts a promoter that is a process of its own.
func (p *travelling) send(t *testing.T, n int) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	b := p.releases[n]
	text, err := json.Marshal(errand{Dir: b.dir, Dirs: b.dirs, Host: p.host, Token: p.clients["staging"].Config.BearerToken})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), errandVariable+"="+string(text))
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	return cmd, &said
}

// arrived holds the cluster against what an undisturbed promotion makes of it.
func (p *travelling) arrived(t *testing.T, n int, how string) {
	t.Helper()
	equalClusters(t, p.want[n], snapshot(t, p.clients["staging"]), how)
	l := p.ledger(t, "staging")
	require.Empty(t, l.Failed, how)
	require.False(t, l.Underway, how)
	require.Equal(t, l.InForce.Release, l.Complete.Release, how)
	require.True(t, l.Verified.Passed(), how)
	found, err := p.drift(t, n)
	require.NoError(t, err, how)
	require.Empty(t, found.Findings, how)
}

func (p *travelling) drift(t *testing.T, n int) (Drifted, error) {
	t.Helper()
	e := p.releases[n].engine(t)
	e.world.Site = func(context.Context, string) (*kube.Client, error) { return kube.Connect(p.clients["staging"].Config) }
	return e.Drift(t.Context(), "staging", DriftOptions{})
}

// points are the writes that a process is stopped around: all of them with
// KFDEV_CRASH=all, else one in every so many, others in each run.
func points(t *testing.T, writes, every int) []int {
	t.Helper()
	if os.Getenv("KFDEV_CRASH") == "all" {
		every = 1
	}
	var all []int
	for at := 1 + rand.IntN(every); at <= writes; at += every {
		all = append(all, at)
	}
	t.Logf("around writes %v of %d", all, writes)
	return all
}

// writes is how many writes a promotion from the other release has.
func (p *travelling) writes(t *testing.T, n int) int {
	t.Helper()
	p.emptyRegistry()
	p.killer.arm(0, false, nil)
	for {
		cmd, said := p.send(t, n)
		if err := cmd.Wait(); err == nil {
			break
		}
		require.Contains(t, said.String(), "does not hold the environment any more") // a slow machine took its lease
		p.emptyRegistry()
		p.killer.arm(0, false, nil)
	}
	p.killer.mu.Lock()
	defer p.killer.mu.Unlock()
	return p.killer.count
}

// A promoter is killed around any of its writes, to the cluster and to the
// registry, which has nothing yet; the next one arrives where an
// undisturbed one would have.
func TestIntegrationAPromoterIsKilled(t *testing.T) {
	p := newTravelling(t)
	writes := p.writes(t, 0)
	require.Greater(t, writes, 30)
	n := 0
	for _, at := range points(t, writes, 30) {
		n = 1 - n
		p.emptyRegistry()
		after := rand.IntN(2) == 0
		var cmd *exec.Cmd
		started := make(chan struct{})
		dead := make(chan struct{})
		p.killer.arm(at, after, func() bool {
			<-started
			_ = cmd.Process.Kill()
			<-dead
			return false
		})
		cmd, _ = p.send(t, n)
		close(started)
		err := cmd.Wait()
		close(dead)
		how := fmt.Sprintf("killed around write %d (after: %t): %s", at, after, p.killer.met())
		require.True(t, p.killer.met() == "" || err != nil, how)
		p.killer.arm(0, false, nil)
		require.NoError(t, p.promote(t, n), how)
		p.arrived(t, n, how)
	}
}

// A promoter is stopped around any of its writes, and wakes up after another
// has promoted another release: what it had planned is refused, and what it
// could still revive is named as drift.
func TestIntegrationAPromoterIsStoppedAndWakesUp(t *testing.T) {
	p := newTravelling(t)
	writes := p.writes(t, 0)
	revived := 0
	for _, at := range points(t, writes, 50) {
		require.NoError(t, p.promote(t, 0))
		p.emptyRegistry() // or it has fewer writes than were counted
		var cmd *exec.Cmd
		started, stopped, on := make(chan struct{}), make(chan struct{}), make(chan struct{})
		p.killer.arm(at, false, func() bool {
			<-started
			_ = cmd.Process.Signal(syscall.SIGSTOP)
			close(stopped)
			<-on
			return true
		})
		cmd, said := p.send(t, 1)
		close(started)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-stopped:
		case err := <-ended: // it had fewer writes this time, or a slow machine took its lease
			require.True(t, err == nil || strings.Contains(said.String(), "does not hold the environment any more"), said.String())
			close(on)
			continue
		}
		how := fmt.Sprintf("stopped before write %d: %s", at, p.killer.met())
		require.NoError(t, p.promote(t, 0), how)
		require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
		close(on)
		err := <-ended
		if strings.HasSuffix(p.killer.met(), "/leases/ledger") {
			continue // it had not begun, and began then; or it had ended
		}
		require.Error(t, err, how)
		require.Contains(t, said.String(), "does not hold the environment any more", how)
		found, err := p.drift(t, 0)
		require.NoError(t, err, how)
		if len(found.Findings) > 0 {
			revived++
			t.Logf("%s: %s", how, found.Findings[0])
			p.mend(t, how)
		}
		require.NoError(t, p.promote(t, 0), how)
		p.arrived(t, 0, how)
	}
	t.Logf("something came back to life %d times, and was named", revived)
}

// mend deletes what came back to life, by its names.
func (p *travelling) mend(t *testing.T, how string) {
	t.Helper()
	found, err := p.drift(t, 0)
	require.NoError(t, err, how)
	var names []string
	for _, f := range found.Findings {
		names = append(names, f.Object.String())
	}
	e := p.releases[0].engine(t)
	e.world.Site = func(context.Context, string) (*kube.Client, error) { return kube.Connect(p.clients["staging"].Config) }
	found, err = e.Drift(t.Context(), "staging", DriftOptions{Fix: true, Delete: names})
	require.NoError(t, err, how)
	require.Empty(t, found.Findings, how)
}
