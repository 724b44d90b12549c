//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcrempty "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// syncBranch switches a real repository's branch: what it changes arrives as
// one batch.
func syncBranch(t *testing.T, s *synced) {
	t.Helper()
	git(t, s.local, "add", "-A")
	git(t, s.local, "commit", "-q", "-m", "one")
	git(t, s.local, "checkout", "-q", "-b", "other")
	for i := range 100 {
		write(t, filepath.Join(s.local, fmt.Sprintf("d%04d/f%04d", i%10+6, i/10)), random(t, 3000))
	}
	git(t, s.local, "add", "-A")
	git(t, s.local, "commit", "-q", "-m", "two")
	s.equal(t, "/data/tree")
	before := s.inState(t, "in sync")
	git(t, s.local, "checkout", "-q", "main")
	s.equal(t, "/data/tree")
	after := s.inState(t, "in sync")
	require.Equal(t, 1, after.Batches-before.Batches, "the switch came as one batch")
	s.sh(t, "! test -e /data/tree/.git")
}

// syncReplaced deletes the pod: the next one has an empty folder.
func syncReplaced(t *testing.T, s *synced) {
	t.Helper()
	pods := s.kube.CoreV1().Pods(s.namespace)
	old, err := pods.Get(t.Context(), s.pod, metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, pods.Delete(t.Context(), s.pod, metav1.DeleteOptions{}))
	eventually(t, time.Minute, "another pod", func() (bool, string) {
		p, err := pods.Get(t.Context(), s.pod, metav1.GetOptions{})
		return err == nil && p.UID != old.UID, fmt.Sprint(err)
	})
	s.runs(t)
	// What is written meanwhile belongs to it, too.
	write(t, filepath.Join(s.local, "while it was away"), "yes")
	s.has(t, "/data/tree/while it was away", "yes")
	s.equal(t, "/data/tree")
	s.inState(t, "in sync")
	require.FileExists(t, filepath.Join(s.local, "run.sh"), "an empty new folder is no removal")
}

// syncHelperKilled kills the helper in the pod as nothing can refuse.
func syncHelperKilled(t *testing.T, s *synced) {
	t.Helper()
	pid := s.helper(t)
	s.sh(t, "kill -9 "+pid)
	write(t, filepath.Join(s.local, "after the kill"), "yes")
	s.has(t, "/data/tree/after the kill", "yes")
	require.NotEqual(t, pid, s.helper(t))
	s.equal(t, "/data/tree")
}

// helper is the process of the helper in the pod.
func (s *synced) helper(t *testing.T) string {
	t.Helper()
	var pid string
	eventually(t, 30*time.Second, "a helper in the pod", func() (bool, string) {
		pid = s.sh(t, `for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in *sync-helper*) echo "${p#/proc/}";; esac; done | head -n 1`)
		return pid != "", "none"
	})
	return pid
}

// syncKilled kills kfdev while a large file is on its way.
func syncKilled(t *testing.T, s *synced) {
	t.Helper()
	s.bench.run(t, 0, "sync", "stop", s.name)
	content := random(t, 96<<20)
	write(t, filepath.Join(s.local, "large.bin"), content)
	cmd := exec.CommandContext(t.Context(), s.bench.program, "--project", s.bench.project, "--progress", "plain", "sync", s.name) //nolint:gosec // the program under test
	cmd.Env = s.bench.env
	require.NoError(t, cmd.Start())
	// Staged files are in the helper's own folder; one that grows is on its way.
	eventually(t, time.Minute, "a transfer under way", func() (bool, string) {
		out := s.sh(t, "du -sk /data/tree/.kfdev-sync 2>/dev/null | cut -f1")
		var kb int
		_, err := fmt.Sscan(out, &kb)
		return err == nil && kb > 4<<10, out
	})
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it ended by itself before it was killed")
	size := s.sh(t, "stat -c %s /data/tree/large.bin 2>/dev/null || echo none")
	require.Contains(t, []string{"none", fmt.Sprint(len(content))}, size, "a half file")
	s.bench.run(t, 0, "sync", s.name, "-d")
	s.equal(t, "/data/tree")
	require.NoError(t, os.Remove(filepath.Join(s.local, "large.bin")))
	s.gone(t, "/data/tree/large.bin")
}

// syncEmptied takes everything away here, as a wrong rm or a lost mount does.
func syncEmptied(t *testing.T, s *synced) {
	t.Helper()
	count := s.sh(t, "find /data/tree -type f | wc -l")
	aside := s.local + "-aside"
	require.NoError(t, os.Mkdir(aside, 0o755))
	move := func(from, to string) {
		entries, err := os.ReadDir(from)
		require.NoError(t, err)
		for _, e := range entries {
			if e.Name() != ".kfdev-sync" {
				require.NoError(t, os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
			}
		}
	}
	move(s.local, aside)
	halted := s.inState(t, "halted")
	require.NotNil(t, halted.Halt)
	require.NotEmpty(t, halted.Halt.Hint)
	require.Equal(t, count, s.sh(t, "find /data/tree -type f | wc -l"), "nothing was removed")
	move(aside, s.local)
	require.NoError(t, os.Remove(aside))
	s.inState(t, "in sync")
	require.Equal(t, count, s.sh(t, "find /data/tree -type f | wc -l"))
	s.equal(t, "/data/tree")
}

// syncStop reads the log and ends the session, and the helper with it.
func syncStop(t *testing.T, s *synced) {
	t.Helper()
	require.NotEmpty(t, s.bench.run(t, 0, "sync", "logs", s.name))
	require.Positive(t, s.status(t, 0).ToRemote.Edits)
	s.bench.run(t, 0, "sync", "stop", s.name)
	eventually(t, 15*time.Second, "no helper in the pod", func() (bool, string) {
		out := s.sh(t, `for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in *sync-helper*) echo $p;; esac; done`)
		return out == "", out
	})
	require.NotZero(t, s.bench.try(t, "sync", "status", s.name, "-o", "json").code)
}

// syncStatic is a container with one static program and nothing else, whose
// root is read-only and whose user is nobody.
func syncStatic(t *testing.T, s *synced) {
	t.Helper()
	nobody, closed := int64(65534), true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "static", Namespace: s.namespace},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers: []corev1.Container{
				{
					Name: "main", Image: staticImage(t, s.bench),
					SecurityContext: &corev1.SecurityContext{RunAsUser: &nobody, RunAsGroup: &nobody, ReadOnlyRootFilesystem: &closed},
					VolumeMounts:    []corev1.VolumeMount{{Name: "work", MountPath: "/work"}},
				},
				{ // it only looks
					Name: "look", Image: lockedBusybox(t, s.bench), Command: []string{"/bin/sleep", "3600"},
					VolumeMounts: []corev1.VolumeMount{{Name: "work", MountPath: "/work"}},
				},
			},
			Volumes: []corev1.Volume{empty("work")},
		},
	}
	_, err := s.kube.CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	one := &synced{
		bed:  &bed{bench: s.bench, kube: s.kube, namespace: s.namespace, pod: "static", container: "look"},
		name: "static", local: filepath.Join(s.bench.project, "work", "static"),
	}
	one.runs(t)
	write(t, filepath.Join(one.local, "train.py"), "print(1)\n")
	said := s.bench.try(t, "sync", one.name, "-d")
	require.Zero(t, said.code, said.stderr)
	one.has(t, "/work/src/train.py", "print(1)\n")
	require.Equal(t, "65534", one.sh(t, "stat -c %u /work/src/train.py"))
	one.sh(t, "echo -n back > /work/src/result && chmod 666 /work/src/result")
	here(t, filepath.Join(one.local, "result"), "back")
	got, err := s.kube.CoreV1().Pods(s.namespace).Get(t.Context(), "static", metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, got.Spec.EphemeralContainers, 1)
	s.bench.run(t, 0, "sync", "stop", one.name)
}

// staticImage puts an image of one static program that does nothing into the
// local registry.
func staticImage(t *testing.T, b *bench) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), "package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(1 << 62) }\n")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "wait", "main.go")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	program := readFile(t, filepath.Join(dir, "wait"))
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "wait", Mode: 0o755, Size: int64(len(program))}))
	_, err = io.Copy(w, strings.NewReader(program))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	require.NoError(t, err)
	image, err := mutate.AppendLayers(ggcrempty.Image, l)
	require.NoError(t, err)
	image, err = mutate.Config(image, v1.Config{Entrypoint: []string{"/wait"}})
	require.NoError(t, err)
	registry := decode[upped](t, b, 0, "up").Registry
	tag, err := name.NewTag(registry+"/foreign/static:e2e", name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(tag, image, remote.WithContext(t.Context())))
	digest, err := image.Digest()
	require.NoError(t, err)
	return "foreign.example/foreign/static@" + digest.String()
}
