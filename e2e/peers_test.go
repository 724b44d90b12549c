//go:build e2e && bench

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tool keeps a folder here and one in the pod equal.
type tool struct {
	name string
	// start begins to keep them equal, and returns how that ends.
	start func(t *testing.T, local, remote string) (stop func())
	// pids are the tool's processes on this side, for what it costs.
	pids func() []int
	// remote is part of the command line of its process in the pod.
	remote string
}

const mutagenVersion = "v0.18.1"

// kfdevTool is this program, as a person would start it: in the foreground.
func kfdevTool(d *bed) *tool {
	var pid int
	return &tool{
		name: "kfdev", remote: "sync-helper", pids: func() []int { return []int{pid} },
		start: func(t *testing.T, local, remote string) func() {
			t.Helper()
			log, err := os.Create(filepath.Join(t.TempDir(), "sync.log"))
			require.NoError(t, err)
			cmd := exec.Command(d.bench.program, "--project", d.bench.project, "--progress", "plain", //nolint:gosec // the program under test; it is stopped below
				"sync", local+":pod/"+d.pod+":"+remote, "-n", d.namespace)
			cmd.Env, cmd.Stdout, cmd.Stderr = d.bench.env, log, log
			require.NoError(t, cmd.Start())
			pid = cmd.Process.Pid
			stop := sync.OnceFunc(func() {
				_ = cmd.Process.Signal(os.Interrupt)
				ended(t, cmd, 20*time.Second)
				_ = log.Close()
				if t.Failed() {
					said, _ := os.ReadFile(log.Name())
					t.Logf("kfdev sync said at last:\n%s", said[max(0, len(said)-4000):])
				}
			})
			t.Cleanup(stop)
			return stop
		},
	}
}

// ended waits for a process that was told to end.
func ended(t *testing.T, cmd *exec.Cmd, within time.Duration) {
	t.Helper()
	late := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		t.Errorf("%s did not end within %v", cmd.Path, within)
	}
}

// kubectl is the node's own, of the version of the cluster, as a file here.
func kubectl(t *testing.T, node string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	docker(t, "cp", "-L", node+":/usr/bin/kubectl", path)
	require.NoError(t, os.Chmod(path, 0o755)) //nolint:gosec // a program
	return path
}

// copyTo is kubectl cp: it copies once, and is started anew for each change.
func (d *bed) copyTo(t *testing.T, kubectl, local, remote string) error {
	t.Helper()
	return d.kubectl(t, kubectl, "cp", "--namespace", d.namespace, local, d.pod+":"+remote)
}

func (d *bed) kubectl(t *testing.T, kubectl string, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig", d.bench.kubeconfig, "--context", d.bench.context()}, args...)...).CombinedOutput() //nolint:gosec // as above
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// mutagenTool is mutagen over a stand-in for ssh that calls kubectl exec, as
// Garden uses it. Its agent is put into the pod beforehand: that is not timed.
func mutagenTool(t *testing.T, d *bed, kubectl string) *tool {
	t.Helper()
	home := t.TempDir()
	buildMutagen(t, home)
	agent, err := os.Open(filepath.Join(home, "mutagen-agent")) //nolint:gosec // built above
	require.NoError(t, err)
	defer agent.Close() //nolint:errcheck // it was only read
	_, err = d.exec(t, agent, "sh", "-c", "mkdir -p /root/.mutagen/agents/0.18.1 && cat > /root/.mutagen/agents/0.18.1/mutagen-agent && chmod 755 /root/.mutagen/agents/0.18.1/mutagen-agent")
	require.NoError(t, err)
	ssh := "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nshift\n" +
		fmt.Sprintf("exec '%s' --kubeconfig '%s' --context '%s' -n '%s' exec -i '%s' -- sh -c \"cd /root && exec $*\"\n", kubectl, d.bench.kubeconfig, d.bench.context(), d.namespace, d.pod)
	require.NoError(t, os.WriteFile(filepath.Join(home, "ssh"), []byte(ssh), 0o755)) //nolint:gosec // a program
	env := append(os.Environ(), "MUTAGEN_SSH_PATH="+home, "MUTAGEN_DATA_DIRECTORY="+filepath.Join(home, "data"))
	run := func(args ...string) error {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(home, "mutagen"), args...) //nolint:gosec // built above
		var out bytes.Buffer
		cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("mutagen %s: %w: %s", strings.Join(args, " "), err, out.String())
		}
		return nil
	}
	daemon := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(home, "mutagen"), "daemon", "run") //nolint:gosec // built above
	daemon.Env = env
	require.NoError(t, daemon.Start())
	t.Cleanup(func() { _ = daemon.Process.Signal(syscall.SIGTERM); ended(t, daemon, 10*time.Second) })
	eventually(t, 10*time.Second, "mutagen's daemon", func() (bool, string) { err := run("sync", "list"); return err == nil, fmt.Sprint(err) })
	return &tool{
		name: "mutagen " + mutagenVersion, remote: "mutagen-agent", pids: func() []int { return []int{daemon.Process.Pid} },
		start: func(t *testing.T, local, remote string) func() {
			t.Helper()
			require.NoError(t, run("sync", "create", "--name", "bench", "--ignore-vcs", local, "pod:"+remote))
			stop := sync.OnceFunc(func() {
				if err := run("sync", "terminate", "bench"); err != nil {
					t.Error(err)
				}
			})
			t.Cleanup(stop)
			return stop
		},
	}
}

// buildMutagen builds mutagen and its agent from the Go module, the variant
// under the MIT license. Its go.mod has replacements, with which go install
// does not work: a copy of the module is built.
func buildMutagen(t *testing.T, into string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/mutagen-io/mutagen@"+mutagenVersion).Output()
	require.NoError(t, err)
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &module))
	source := filepath.Join(t.TempDir(), "mutagen")
	require.NoError(t, os.CopyFS(source, os.DirFS(module.Dir)))
	for program, tag := range map[string]string{"mutagen": "mutagencli", "mutagen-agent": "mutagenagent"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-tags", tag, "-o", filepath.Join(into, program), "./cmd/"+program) //nolint:gosec // fixed names
		build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		out, err := build.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}
