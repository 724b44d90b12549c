//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The names of what these tests make, apart from a person's own.
const (
	projectName  = "kfe2e"
	contextName  = "kfdev-" + projectName
	nodeName     = contextName + "-control-plane"
	registryName = "kfdev-registry-e2e"
)

// bench is one machine with one project on it: a home, a kubeconfig and a
// state folder of its own, and the user's cache, since what is in it is kept
// by content.
type bench struct {
	name       string // of the project
	program    string
	project    string
	kubeconfig string
	env        []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	program := os.Getenv("KFDEV_BIN")
	if program == "" {
		program = "../bin/kfdev"
	}
	program, err := filepath.Abs(program)
	require.NoError(t, err)
	require.FileExists(t, program, "make build makes it")
	root := t.TempDir()
	b := &bench{name: projectName, program: program, project: filepath.Join(root, projectName), kubeconfig: filepath.Join(root, "kubeconfig")}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	for _, each := range os.Environ() {
		if name, _, _ := strings.Cut(each, "="); name != "HOME" && name != "KUBECONFIG" && !strings.HasPrefix(name, "XDG_") {
			b.env = append(b.env, each)
		}
	}
	b.env = append(b.env,
		"HOME="+filepath.Join(root, "home"), "KUBECONFIG="+b.kubeconfig, "XDG_CACHE_HOME="+cache,
		"KFDEV_REGISTRY="+registryName,
		// What the clients of the ecosystems keep and read in the real home.
		"GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOCACHE="+goEnv(t, "GOCACHE"),
		"NPM_CONFIG_USERCONFIG="+filepath.Join(home, ".npmrc"),
	)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "home"), 0o755))
	return b
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// result is what one run of the program came to.
type result struct {
	code           int
	stdout, stderr string
}

// try runs kfdev and returns what it came to.
func (b *bench) try(t *testing.T, args ...string) result {
	t.Helper()
	// Clean-ups run when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 50*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program, append([]string{"--project", b.project, "--progress", "plain"}, args...)...)
	var out, err bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = b.env, &out, &err
	start := time.Now()
	runErr := cmd.Run()
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		require.NoError(t, runErr)
	}
	r := result{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: err.String()}
	t.Logf("kfdev %s: exit %d in %v", strings.Join(args, " "), r.code, time.Since(start).Round(10*time.Millisecond))
	return r
}

// run runs kfdev, which must end with the exit code, and returns its standard
// output.
func (b *bench) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := b.try(t, args...)
	require.Equal(t, code, r.code, "kfdev %s\n%s\n%s", strings.Join(args, " "), r.stdout, r.stderr)
	return r.stdout
}

// decode runs kfdev with -o json and decodes its result.
func decode[T any](t *testing.T, b *bench, code int, args ...string) T {
	t.Helper()
	var value T
	out := b.run(t, code, append(args, "-o", "json")...)
	require.NoError(t, json.Unmarshal([]byte(out), &value), out)
	return value
}

// started runs kfdev in the background until an event of its progress says
// that the task has started; then at is called with the process. It returns
// when the process has ended.
func (b *bench) started(t *testing.T, task string, at func(*os.Process), args ...string) (code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.program, append([]string{"--project", b.project, "--progress", "json"}, args...)...)
	cmd.Env = b.env
	events, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	seen := false
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	var last string
	for lines.Scan() {
		var e struct{ State, Task string }
		last = lines.Text()
		if !seen && json.Unmarshal(lines.Bytes(), &e) == nil && e.State == "started" && e.Task == task {
			seen = true
			at(cmd.Process)
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.True(t, seen, "task %q was never started; the last line was %s", task, last)
	return cmd.ProcessState.ExitCode()
}

// killed runs kfdev until the task has started and the pause is over, and then
// kills it as kill -9 does.
func (b *bench) killed(t *testing.T, task string, pause time.Duration, args ...string) {
	t.Helper()
	code := b.started(t, task, func(p *os.Process) {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		<-timer.C
		require.NoError(t, p.Signal(syscall.SIGKILL))
	}, args...)
	require.Equal(t, -1, code, "it ended by itself before it was killed")
}

// docker runs the docker command.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	// Clean-ups run when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	require.NoError(t, err, "docker %s\n%s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// context is the kubeconfig context that kfdev made.
func (b *bench) context() string { return "kfdev-" + b.name }

// rest is how the cluster is reached through the context that kfdev made.
func (b *bench) rest(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: b.kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: b.context()},
	).ClientConfig()
	require.NoError(t, err)
	return config
}

// clients reaches the cluster through the context that kfdev made.
func (b *bench) clients(t *testing.T) kubernetes.Interface {
	t.Helper()
	kube, err := kubernetes.NewForConfig(b.rest(t))
	require.NoError(t, err)
	return kube
}

// sweep removes what an earlier run that was killed may have left.
func sweep(t *testing.T) {
	t.Helper()
	ids := docker(t, "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster="+contextName)
	for _, id := range append(strings.Fields(ids), strings.Fields(docker(t, "ps", "-aq", "--filter", "name=^"+registryName+"(-squatter-[0-9])?$"))...) {
		docker(t, "rm", "-fv", id)
	}
	for _, volume := range strings.Fields(docker(t, "volume", "ls", "-q", "--filter", "name=^"+registryName+"$")) {
		docker(t, "volume", "rm", "-f", volume)
	}
}
