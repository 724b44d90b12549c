//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// bed is a container that is synced with, and ways into it that are not kfdev's.
type bed struct {
	bench     *bench
	kube      kubernetes.Interface
	namespace string
	pod       string
	container string
}

// exec runs a command in the container, with input, and returns its output.
func (d *bed) exec(t *testing.T, input io.Reader, command ...string) (string, error) {
	t.Helper()
	request := d.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(d.namespace).Name(d.pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: d.container, Command: command, Stdin: input != nil, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	run, err := remotecommand.NewWebSocketExecutor(d.bench.rest(t), "GET", request.URL().String())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	var out, errout bytes.Buffer
	err = run.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: input, Stdout: &out, Stderr: &errout})
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errout.String())
	}
	return out.String(), err
}

// sh runs a line of shell in the container, which must succeed.
func (d *bed) sh(t *testing.T, line string) string {
	t.Helper()
	out, err := d.exec(t, nil, "sh", "-c", line)
	require.NoError(t, err, line)
	return strings.TrimSpace(out)
}

// eventually waits until the condition holds; it says last what did not.
func eventually(t *testing.T, within time.Duration, what string, holds func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, last := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			require.Fail(t, what, "not within %v; it is %s", within, last)
		}
	}
}

// has waits until the container's file has the content.
func (d *bed) has(t *testing.T, path, content string) {
	t.Helper()
	eventually(t, 30*time.Second, path+" in the pod", func() (bool, string) {
		out, err := d.exec(t, nil, "cat", path)
		return err == nil && out == content, fmt.Sprintf("%.200q, %v", out, err)
	})
}

// gone waits until there is nothing at the container's path.
func (d *bed) gone(t *testing.T, path string) {
	t.Helper()
	eventually(t, 30*time.Second, path+" gone from the pod", func() (bool, string) {
		_, err := d.exec(t, nil, "sh", "-c", "! test -e '"+path+"' && ! test -L '"+path+"'")
		return err == nil, fmt.Sprint(err)
	})
}

// here waits until the file on this machine has the content.
func here(t *testing.T, path, content string) {
	t.Helper()
	eventually(t, 30*time.Second, path+" here", func() (bool, string) {
		got, err := os.ReadFile(path)
		return err == nil && string(got) == content, fmt.Sprintf("%.200q, %v", got, err)
	})
}

// write writes a file, with its folders.
func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// random is so many bytes that can't be compressed.
func random(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return string(b)
}

// plant makes a tree of folders with files in each.
func plant(t *testing.T, root string, folders, files, size int) {
	t.Helper()
	for i := range folders {
		for j := range files {
			write(t, filepath.Join(root, fmt.Sprintf("d%04d", i), fmt.Sprintf("f%04d", j)), random(t, size))
		}
	}
}

// hostRoot is the container's root as this machine's kernel shows it to its
// root user, and the process there that it was found by.
func (d *bed) hostRoot(t *testing.T) (root string, pid int) {
	t.Helper()
	p, err := d.kube.CoreV1().Pods(d.namespace).Get(t.Context(), d.pod, metav1.GetOptions{})
	require.NoError(t, err)
	for _, s := range p.Status.ContainerStatuses {
		if d.container != "" && s.Name != d.container {
			continue
		}
		_, id, _ := strings.Cut(s.ContainerID, "://")
		pids := processesOf(t, id)
		require.NotEmpty(t, pids, "no process of the container %s: this takes root, and a Docker daemon on this machine", id)
		return filepath.Join("/proc", strconv.Itoa(pids[0]), "root"), pids[0]
	}
	require.Fail(t, "the pod has no such container")
	return "", 0
}

// processesOf finds the processes of a container on this machine.
func processesOf(t *testing.T, container string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		groups, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		if err == nil && strings.Contains(string(groups), container) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listing is a tree as text: kinds, the owner's x, targets and content. What is
// kfdev's own is left out.
func listing(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		if e.Name() == ".kfdev-sync" || e.Name() == ".git" {
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			all[name] = "folder"
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			all[name] = "to " + to
			return err
		default:
			content, err := os.ReadFile(path)
			all[name] = fmt.Sprintf("%v %s", info.Mode()&0o100 != 0, digestOf(content))
			return err
		}
		return nil
	}))
	return all
}

// runs waits until the pod's containers are ready.
func (d *bed) runs(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, "the pod "+d.pod, func() (bool, string) {
		p, err := d.kube.CoreV1().Pods(d.namespace).Get(t.Context(), d.pod, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		ready := p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && len(p.Status.ContainerStatuses) > 0
		for _, c := range p.Status.ContainerStatuses {
			ready = ready && c.Ready
		}
		return ready, fmt.Sprintf("%+v", p.Status)
	})
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func empty(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// freshNamespace makes a namespace, and removes one that an earlier run left.
func freshNamespace(t *testing.T, kube kubernetes.Interface, name string) {
	t.Helper()
	spaces := kube.CoreV1().Namespaces()
	_ = spaces.Delete(t.Context(), name, metav1.DeleteOptions{})
	eventually(t, time.Minute, "the namespace "+name, func() (bool, string) {
		_, err := spaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	eventually(t, time.Minute, "its service account", func() (bool, string) {
		_, err := kube.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// pause lets everything come to rest: between samples, and before measures.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// git runs git in a folder, with nothing of the person's own configuration.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "-c", "gc.auto=0"}, args...)...) //nolint:gosec // fixed words
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
}

// removeNamespace removes a namespace, without waiting for its end.
func removeNamespace(t *testing.T, kube kubernetes.Interface, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Log(err)
	}
}
