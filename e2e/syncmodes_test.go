//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// smallDisk is the size of the disk of the pod that makeSmall makes.
const smallDisk = "8Mi"

// makeSmall makes a pod of the name with a small disk in memory at /small,
// and a session with it that has not begun.
func makeSmall(t *testing.T, s *synced, name string) *synced {
	t.Helper()
	size := resource.MustParse(smallDisk)
	disk := corev1.Volume{Name: "small", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size},
	}}
	_, err := s.kube.CoreV1().Pods(s.namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers: []corev1.Container{{
				Name: "main", Image: lockedBusybox(t, s.bench), Command: []string{"/bin/sh", "-c", "while :; do sleep 3600; done"},
				VolumeMounts: []corev1.VolumeMount{{Name: "small", MountPath: "/small"}},
			}},
			Volumes: []corev1.Volume{disk},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	d := &bed{bench: s.bench, kube: s.kube, namespace: s.namespace, pod: name, container: "main"}
	d.runs(t)
	return newSynced(t, d, name)
}

// at is the path of a file in the session's folder here.
func (s *synced) at(name string) string { return filepath.Join(s.local, name) }

// absent waits until there is nothing at the path here.
func (s *synced) absent(t *testing.T, name string) {
	t.Helper()
	eventually(t, 30*time.Second, name+" gone from here", func() (bool, string) {
		_, err := os.Lstat(s.at(name))
		return os.IsNotExist(err), fmt.Sprint(err)
	})
}

// says waits until the session's status is what is wanted, and returns it.
func (s *synced) says(t *testing.T, what string, is func(syncStatus) bool) (last syncStatus) {
	t.Helper()
	eventually(t, 30*time.Second, what, func() (bool, string) {
		r := s.bench.try(t, "sync", "status", s.name, "-o", "json")
		last = syncStatus{}
		return (r.code == 0 || r.code == 6) && json.Unmarshal([]byte(r.stdout), &last) == nil && is(last), r.stdout + r.stderr
	})
	return last
}

// syncModes holds every mode but the default one, which the other parts have.
func syncModes(t *testing.T, s *synced) {
	t.Helper()
	one := makeSmall(t, s, "modes")
	for _, mode := range []struct {
		name string
		run  func(*testing.T, *synced, string)
	}{{"one-way", syncOneWay}, {"one-way-replica", syncReplica}, {"pull", syncPull}} {
		t.Run(mode.name, func(t *testing.T) {
			remote := "/small/" + mode.name
			one.sh(t, "mkdir "+remote+" && cd "+remote+" && echo -n theirs > theirs && echo -n same > same")
			session := newSynced(t, one.bed, mode.name)
			write(t, session.at("mine"), "mine")
			write(t, session.at("same"), "same")
			mode.run(t, session, remote)
		})
	}
}

// syncOneWay sends and takes nothing: what only the pod has stays there, and
// what it changed of ours is a conflict.
func syncOneWay(t *testing.T, s *synced, remote string) {
	t.Helper()
	s.begin(t, 0, "pod/modes", remote, "--mode", "one-way")
	s.has(t, remote+"/mine", "mine")
	s.sh(t, "cd "+remote+" && echo -n more > more && echo -n changed > mine")
	last := s.says(t, "a conflict", func(st syncStatus) bool { return len(st.Conflicts) > 0 })
	require.Equal(t, "mine", last.Conflicts[0].Path)
	write(t, s.at("after"), "after")
	s.has(t, remote+"/after", "after")
	require.Equal(t, "mine", readFile(t, s.at("mine")))
	require.Equal(t, "changed", s.sh(t, "cat "+remote+"/mine"))
	s.bench.run(t, 0, "sync", "resolve", s.name, "mine", "--keep", "local")
	s.has(t, remote+"/mine", "mine")

	require.NoError(t, os.Remove(s.at("same")))
	s.gone(t, remote+"/same")
	require.Equal(t, "theirs more", s.sh(t, "cd "+remote+" && cat theirs && echo -n ' ' && cat more"))
	require.NoFileExists(t, s.at("theirs"))
	require.NoFileExists(t, s.at("more"))
	require.Empty(t, s.status(t, 0).Conflicts)
}

// syncReplica makes the pod have exactly what is here, after a word for what
// only the pod has at first.
func syncReplica(t *testing.T, s *synced, remote string) {
	t.Helper()
	s.begin(t, 6, "pod/modes", remote, "--mode", "one-way-replica")
	halted := s.status(t, 6)
	require.Equal(t, "halted", halted.State)
	require.Equal(t, "first-replica", halted.Halt.Reason)
	require.Equal(t, "theirs", s.sh(t, "cat "+remote+"/theirs"))
	s.bench.run(t, 0, "sync", "resume", s.name, "--accept-deletes")
	s.gone(t, remote+"/theirs")
	s.equal(t, remote)

	// What the pod makes, changes and deletes is as it is here again.
	s.sh(t, "cd "+remote+" && echo -n more > more && echo -n changed > mine && rm same")
	s.gone(t, remote+"/more")
	s.has(t, remote+"/mine", "mine")
	s.has(t, remote+"/same", "same")
	s.equal(t, remote)
	require.NoFileExists(t, s.at("more"))
	require.NoFileExists(t, s.at("theirs"))
	require.Equal(t, "mine", readFile(t, s.at("mine")))
}

// syncPull takes and sends nothing: the pod's folder stays as it is.
func syncPull(t *testing.T, s *synced, remote string) {
	t.Helper()
	list := "cd " + remote + " && find . -name .kfdev-sync -prune -o -type f -exec stat -c '%n %s %Y %i' {} + | sort"
	before := s.sh(t, list)
	s.begin(t, 0, "pod/modes", remote, "--mode", "pull")
	here(t, s.at("theirs"), "theirs")
	write(t, s.at("theirs"), "changed here")
	last := s.says(t, "a conflict", func(st syncStatus) bool { return len(st.Conflicts) > 0 })
	require.Equal(t, "theirs", last.Conflicts[0].Path)
	require.Equal(t, before, s.sh(t, list), "nothing in the pod was changed")

	s.sh(t, "cd "+remote+" && echo -n more > more && rm same")
	here(t, s.at("more"), "more")
	s.absent(t, "same")
	require.Equal(t, "changed here", readFile(t, s.at("theirs")))
	require.Equal(t, "mine", readFile(t, s.at("mine")), "what only this side has stays")
	s.sh(t, "! test -e "+remote+"/mine && ! test -e "+remote+"/kept && test $(cat "+remote+"/theirs) = theirs")
}

// syncLimits has a person asked before much is deleted, and a command run after
// every batch.
func syncLimits(t *testing.T, s *synced) {
	t.Helper()
	one := makeSmall(t, s, "limits")
	const files = 8
	for i := range files {
		write(t, one.at(fmt.Sprintf("f%d", i)), "content")
	}
	one.begin(t, 0, "pod/limits", "/small/src", "--max-delete", "3", "--on-change", "ls | wc -l; exit 3")
	runs := func(output string) func(syncStatus) bool {
		return func(st syncStatus) bool { return st.LastRun != nil && st.LastRun.Output == output }
	}
	ran := one.says(t, "a run after the first batch", runs("9\n"))
	require.Equal(t, 3, ran.LastRun.Code)
	write(t, one.at("another"), "another")
	one.says(t, "a run after the next one", runs("10\n"))
	require.Contains(t, one.bench.run(t, 0, "sync", "status", one.name), "exit code 3")

	for i := range files / 2 {
		require.NoError(t, os.Remove(one.at(fmt.Sprintf("f%d", i))))
	}
	halted := one.inState(t, "halted")
	require.Equal(t, "many-deletes", halted.Halt.Reason)
	there := one.sh(t, "ls /small/src | wc -l")
	asks := one.bench.try(t, "sync", "resume", one.name)
	require.Equal(t, 8, asks.code, asks.stderr)
	require.Contains(t, asks.stderr, "would be")
	require.Contains(t, asks.stderr, "--accept-deletes")
	require.Equal(t, there, one.sh(t, "ls /small/src | wc -l"), "asking deletes nothing")
	one.bench.run(t, 0, "sync", "resume", one.name, "--accept-deletes")
	one.gone(t, "/small/src/f0")
	one.equal(t, "/small/src")
	one.says(t, "a run after the deletion", runs("6\n"))
	one.inState(t, "in sync")
	require.Positive(t, one.status(t, 0).Undoable)
}

// syncFull fills the disk in the pod: what has no room there is told and kept
// here, the rest goes on, and all of it arrives when there is room.
func syncFull(t *testing.T, s *synced) {
	t.Helper()
	one := makeSmall(t, s, "full")
	const there = "/small/src"
	write(t, one.at("overwritten"), "old")
	write(t, one.at("theirs"), "before")
	one.begin(t, 0, "pod/full", there)
	noRoom := func(paths ...string) func(syncStatus) bool {
		return func(st syncStatus) bool {
			if st.State != "in sync" || len(st.Problems) != len(paths) {
				return false
			}
			for i, p := range st.Problems {
				if p.Path != paths[i] {
					return false
				}
			}
			return true
		}
	}

	// A file that is too large does not keep the others away.
	write(t, one.at("large"), random(t, 12<<20))
	write(t, one.at("small"), "small")
	one.has(t, there+"/small", "small")
	told := one.says(t, "a problem", noRoom("large"))
	require.Contains(t, told.Problems[0].Error, "no space left on device")
	one.sh(t, "! test -e "+there+"/large")
	require.NoError(t, os.Remove(one.at("large")))
	one.says(t, "no problem any more", noRoom())

	// Nothing fits any more, not even a new version of what is there.
	one.sh(t, "dd if=/dev/zero of=/small/filler bs=4k 2>/dev/null; test -s /small/filler")
	content := random(t, 300<<10)
	write(t, one.at("overwritten"), content)
	write(t, one.at("new"), "new")
	one.says(t, "two problems", noRoom("new", "overwritten"))
	require.Equal(t, "old", one.sh(t, "cat "+there+"/overwritten"))
	one.sh(t, "printf after | dd of="+there+"/theirs conv=notrunc 2>/dev/null") // in the pages that it has
	here(t, one.at("theirs"), "aftere")
	require.Equal(t, content, readFile(t, one.at("overwritten")))
	// A deletion waits, too: what undo needs of it has no room.
	require.NoError(t, os.Remove(one.at("small")))
	one.says(t, "three problems", noRoom("new", "overwritten", "small"))
	require.Equal(t, "small", one.sh(t, "cat "+there+"/small"))

	// Another helper begins where there is no room.
	pid := one.helper(t)
	one.sh(t, "kill -9 "+pid)
	eventually(t, 30*time.Second, "another helper", func() (bool, string) { return one.helper(t) != pid, pid })
	one.says(t, "the same problems", noRoom("new", "overwritten", "small"))
	require.Equal(t, "old", one.sh(t, "cat "+there+"/overwritten"))
	require.Equal(t, "aftere", readFile(t, one.at("theirs")))

	one.sh(t, "rm /small/filler")
	one.has(t, there+"/overwritten", content)
	one.has(t, there+"/new", "new")
	one.gone(t, there+"/small")
	one.says(t, "no problem any more", noRoom())
	one.equal(t, there)
}
