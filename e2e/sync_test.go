//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const syncNamespace = "e2e-sync"

// syncStatus is what kfdev sync status -o json says of a session.
type syncStatus struct {
	Name, State, Text, Pod string
	Conflicts              []struct{ Path string }
	Problems               []struct{ Path, Error string }
	Halt                   *struct{ Reason, Text, Hint string }
	LastRun                *struct {
		Code   int
		Output string
	}
	Batches, Undoable int
	ToRemote          struct{ Edits int }
}

// synced is a session of the project that runs in the background.
type synced struct {
	*bed

	name  string
	local string
}

// status asks kfdev for the session's status. Exit code 6 says that something
// waits for a person.
func (s *synced) status(t *testing.T, code int) syncStatus {
	t.Helper()
	return decode[syncStatus](t, s.bench, code, "sync", "status", s.name)
}

// inState waits until the session says that it is in a state.
func (s *synced) inState(t *testing.T, state string) syncStatus {
	t.Helper()
	var last syncStatus
	eventually(t, time.Minute, "the session "+s.name+" "+state, func() (bool, string) {
		r := s.bench.try(t, "sync", "status", s.name, "-o", "json")
		if r.code != 0 && r.code != 6 || json.Unmarshal([]byte(r.stdout), &last) != nil {
			return false, r.stdout + r.stderr
		}
		return last.State == state, r.stdout
	})
	return last
}

// equal waits until the session is in sync, and holds the trees against each
// other by a listing of the pod's own tools.
func (s *synced) equal(t *testing.T, remote string) {
	t.Helper()
	eventually(t, time.Minute, "equal trees", func() (bool, string) {
		there := s.sh(t, "cd "+remote+" && find . -name .kfdev-sync -prune -o -type f -exec sha256sum {} + | sort")
		var lines []string
		for name, what := range listing(t, s.local) {
			if _, sum, isFile := strings.Cut(what, " "); isFile && len(sum) == 64 {
				lines = append(lines, sum+"  ./"+name)
			}
		}
		mine := map[string]bool{}
		for _, l := range lines {
			mine[l] = true
		}
		theirs := strings.Split(there, "\n")
		for _, l := range theirs {
			if !mine[l] {
				return false, "the pod has " + l
			}
		}
		return len(theirs) == len(lines), fmt.Sprintf("%d files here, %d there", len(lines), len(theirs))
	})
}

// TestSync is sync's part of the story alone, on a project that is up already
// and that KFDEV_E2E_PROJECT names. TestStack has it in its own.
func TestSync(t *testing.T) {
	project := os.Getenv("KFDEV_E2E_PROJECT")
	if project == "" {
		t.Skip("it is a part of TestStack; KFDEV_E2E_PROJECT names a project that is up")
	}
	b := newBench(t)
	b.name, b.project, b.kubeconfig, b.env = filepath.Base(project), project, os.Getenv("KUBECONFIG"), os.Environ()
	testSync(t, b)
}

// testSync is the life of sync sessions while the stack is up.
func testSync(t *testing.T, b *bench) {
	t.Helper()
	config := filepath.Join(b.project, "kfdev.yaml")
	before := readFile(t, config)
	entries := "sync:\n" +
		"  - {name: tree, local: work/tree, remote: /data/tree, target: statefulset/tree, namespace: " + syncNamespace + "}\n" +
		"  - {name: static, local: work/static, remote: /work/src, target: pod/static, container: main, namespace: " + syncNamespace + "}\n" +
		"  - {name: hub, local: work/hub, remote: /home/jovyan/src, target: jupyterhub/" + hubUser + "}\n"
	with := strings.Replace(before, "\nsync:\n", "\n"+entries, 1) // beside the starter's own
	if with == before {
		with += entries
	}
	require.NoError(t, os.WriteFile(config, []byte(with), 0o644))
	t.Cleanup(func() { require.NoError(t, os.WriteFile(config, []byte(before), 0o644)) })
	require.NoError(t, os.RemoveAll(filepath.Join(b.project, "work")))
	kube := b.clients(t)
	freshNamespace(t, kube, syncNamespace)
	t.Cleanup(func() { removeNamespace(t, kube, syncNamespace) })
	s := &synced{
		bed:  &bed{bench: b, kube: kube, namespace: syncNamespace, pod: "tree-0", container: "main"},
		name: "tree", local: filepath.Join(b.project, "work", "tree"),
	}
	makeSet(t, s.bed, lockedBusybox(t, b))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *synced)
	}{
		{"first", syncFirst},
		{"edits", syncEdits},
		{"a conflict", syncConflict},
		{"undo", syncUndo},
		{"a branch switch", syncBranch},
		{"the pod is replaced", syncReplaced},
		{"the helper is killed", syncHelperKilled},
		{"the two are apart for a while", syncApart},
		{"kfdev is killed on the way", syncKilled},
		{"an emptied root", syncEmptied},
		{"bake", syncBake},
		{"logs and stop", syncStop},
		{"without a shell", syncStatic},
		{"every kind of target", syncTargets},
		{"every mode", syncModes},
		{"a large deletion, and a command on change", syncLimits},
		{"a full disk in the pod", syncFull},
		{"another environment", syncEnvironments},
		{"a hub user's server", syncHub},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			t.Log(b.try(t, "sync", "ls").stdout)
			t.Log(b.try(t, "sync", "logs", s.name).stdout)
			break // the parts build on each other
		}
	}
	for _, name := range []string{"tree", "static", "hub"} {
		b.try(t, "sync", "stop", name)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

// makeSet makes a StatefulSet of one pod, whose folder is gone when the pod is.
func makeSet(t *testing.T, d *bed, image string) {
	t.Helper()
	labels := map[string]string{"app": "tree"}
	_, err := d.kube.AppsV1().StatefulSets(d.namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "tree"},
		Spec: appsv1.StatefulSetSpec{
			ServiceName: "tree", Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64),
					Containers: []corev1.Container{{
						Name: "main", Image: image, Command: []string{"/bin/sh", "-c", "while :; do sleep 3600; done"},
						VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
					}},
					Volumes: []corev1.Volume{empty("data")},
				},
			},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	d.runs(t)
}

// syncFirst brings a tree into the pod, with what trees have.
func syncFirst(t *testing.T, s *synced) {
	t.Helper()
	plant(t, s.local, 20, 10, 2000)
	write(t, filepath.Join(s.local, "run.sh"), "#!/bin/sh\necho ran\n")
	require.NoError(t, os.Chmod(filepath.Join(s.local, "run.sh"), 0o755)) //nolint:gosec // it is the x that is tested
	require.NoError(t, os.Symlink("run.sh", filepath.Join(s.local, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(s.local, "empty"), 0o755))
	write(t, filepath.Join(s.local, "__pycache__/x.pyc"), "no")
	write(t, filepath.Join(s.local, "naïve ☃ name"), "any name")
	git(t, s.local, "init", "-q", "-b", "main")
	s.bench.run(t, 0, "sync", s.name, "-d")
	s.inState(t, "in sync")
	require.Equal(t, "ran", s.sh(t, "/data/tree/link"), "the link and the x of its target")
	require.Equal(t, "run.sh", s.sh(t, "readlink /data/tree/link"))
	s.sh(t, "test -d /data/tree/empty && ! test -e /data/tree/__pycache__")
	s.has(t, "/data/tree/naïve ☃ name", "any name")
	require.NoError(t, os.RemoveAll(filepath.Join(s.local, "__pycache__")))
	s.equal(t, "/data/tree")
	require.NotEmpty(t, s.status(t, 0).Pod)
	require.Contains(t, s.bench.run(t, 0, "sync", "ls"), "tree")
}

// syncEdits makes changes of each kind, on each side.
func syncEdits(t *testing.T, s *synced) {
	t.Helper()
	local := func(name string) string { return filepath.Join(s.local, name) }
	write(t, local("edited here"), "one")
	s.has(t, "/data/tree/edited here", "one")
	write(t, local("edited here"), "two")
	s.has(t, "/data/tree/edited here", "two")
	s.sh(t, "echo -n three > '/data/tree/edited here'; echo -n new > /data/tree/made-there")
	here(t, local("edited here"), "three")
	here(t, local("made-there"), "new")

	require.NoError(t, os.Rename(local("d0003"), local("moved")))
	s.gone(t, "/data/tree/d0003")
	s.has(t, "/data/tree/moved/f0001", readFile(t, local("moved/f0001")))
	s.sh(t, "mv /data/tree/moved /data/tree/moved-there")
	eventually(t, 30*time.Second, "the folder renamed here", func() (bool, string) {
		_, there := os.Stat(local("moved-there/f0001"))
		_, old := os.Stat(local("moved"))
		return there == nil && os.IsNotExist(old), fmt.Sprint(there, old)
	})

	require.NoError(t, os.Remove(local("made-there")))
	s.gone(t, "/data/tree/made-there")
	s.sh(t, "rm '/data/tree/edited here'; chmod +x /data/tree/d0001/f0001")
	eventually(t, 30*time.Second, "a removal and an x of the pod's", func() (bool, string) {
		_, err := os.Stat(local("edited here"))
		info, bad := os.Stat(local("d0001/f0001"))
		return os.IsNotExist(err) && bad == nil && info.Mode()&0o100 != 0, fmt.Sprint(err, bad)
	})
	require.NoError(t, os.Chmod(local("d0001/f0001"), 0o644)) //nolint:gosec // it is the x that is tested
	eventually(t, 30*time.Second, "no x in the pod", func() (bool, string) {
		_, err := s.exec(t, nil, "test", "!", "-x", "/data/tree/d0001/f0001")
		return err == nil, fmt.Sprint(err)
	})
	s.equal(t, "/data/tree")
}

// syncConflict has both sides change one file while they can't speak: kfdev is
// stopped as a machine's sleep stops it.
func syncConflict(t *testing.T, s *synced) {
	t.Helper()
	path := filepath.Join(s.local, "both.py")
	write(t, path, "base\n")
	s.has(t, "/data/tree/both.py", "base\n")
	s.inState(t, "in sync")
	s.bench.run(t, 0, "sync", "stop", s.name)
	write(t, path, "mine\n")
	s.sh(t, "echo theirs > /data/tree/both.py")
	s.bench.run(t, 0, "sync", s.name, "-d")
	s.inState(t, "in sync")
	conflicts := s.status(t, 6).Conflicts
	require.Len(t, conflicts, 1)
	require.Equal(t, "both.py", conflicts[0].Path)
	// Nothing is lost, and the rest goes on.
	require.Equal(t, "mine\n", readFile(t, path))
	require.Equal(t, "theirs", s.sh(t, "cat /data/tree/both.py"))
	write(t, filepath.Join(s.local, "beside"), "goes on")
	s.has(t, "/data/tree/beside", "goes on")

	s.bench.run(t, 0, "sync", "resolve", s.name, "both.py", "--keep", "remote")
	here(t, path, "theirs\n")
	require.Empty(t, s.inState(t, "in sync").Conflicts)
}

// syncUndo brings back what a removal in the pod took away here.
func syncUndo(t *testing.T, s *synced) {
	t.Helper()
	path := filepath.Join(s.local, "d0005/f0005")
	content := readFile(t, path)
	s.sh(t, "rm /data/tree/d0005/f0005")
	eventually(t, 30*time.Second, "the removal here", func() (bool, string) {
		_, err := os.Stat(path)
		return os.IsNotExist(err), fmt.Sprint(err)
	})
	s.inState(t, "in sync")
	require.Positive(t, s.status(t, 0).Undoable)
	s.bench.run(t, 0, "sync", "undo", s.name)
	here(t, path, content)
	s.has(t, "/data/tree/d0005/f0005", content)
}
