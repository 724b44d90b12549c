//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// target is what a session is begun with, and the container that it means.
type target struct {
	says      string // KIND/NAME[/PART]
	selects   string // a label of its pods, where their names are not known
	pod       string // where they are
	container string
	remote    string
	more      []string // flags
}

// targets are those whose pods a controller makes, and a pod with containers to
// choose from.
func targets() []target {
	return []target{
		{says: "deployment/web", selects: "app=web", container: "main", remote: "/srv/src"},
		{says: "job/batch", selects: "job-name=batch", container: "main", remote: "~/src"},
		{says: "notebook/fraud", pod: "fraud-0", container: "fraud", remote: "/srv/src"},
		{says: "tfjob/train/worker-1", pod: "train-worker-1", container: "tensorflow", remote: "/srv/src"},
		{says: "tfjob/train", pod: "train-worker-0", container: "tensorflow", remote: "/srv/src"},
		{says: "pod/two", pod: "two", container: "second", remote: "/srv/src", more: []string{"-c", "second"}},
	}
}

// syncTargets holds a session with a pod of every kind of workload.
func syncTargets(t *testing.T, s *synced) {
	t.Helper()
	makeWorkloads(t, s.bed)
	for _, each := range targets() {
		t.Run(strings.ReplaceAll(each.says, "/", " "), func(t *testing.T) { syncTarget(t, s, each) })
	}
	t.Run("a container is named", func(t *testing.T) { syncContainers(t, s) })
}

func syncTarget(t *testing.T, s *synced, each target) {
	t.Helper()
	if each.pod == "" {
		each.pod = s.podOf(t, each.selects, "")
	}
	d := &bed{bench: s.bench, kube: s.kube, namespace: s.namespace, pod: each.pod, container: each.container}
	d.runs(t)
	one := newSynced(t, d, "src")
	write(t, filepath.Join(one.local, "train.py"), each.says)
	one.begin(t, 0, each.says, each.remote, each.more...)
	// The container has a root of its own: it is in this one or in no other.
	there := strings.Replace(each.remote, "~", one.sh(t, "echo ~"), 1)
	require.Equal(t, each.says, one.sh(t, "cat "+there+"/train.py"))
	require.Contains(t, one.status(t, 0).Pod, "pod "+each.pod+" in "+s.namespace+", container "+each.container)
	one.sh(t, "echo -n back > "+there+"/result")
	here(t, filepath.Join(one.local, "result"), "back")
	if strings.HasPrefix(each.says, "deployment/") {
		syncRollout(t, one, each)
	}
	one.equal(t, there)
}

// syncRollout has the Deployment bring another pod up in the place of the old
// one, as a new version of its template does.
func syncRollout(t *testing.T, one *synced, each target) {
	t.Helper()
	old := one.pod
	_, err := one.kube.AppsV1().Deployments(one.namespace).Patch(t.Context(), strings.TrimPrefix(each.says, "deployment/"), types.StrategicMergePatchType,
		[]byte(`{"spec": {"template": {"metadata": {"annotations": {"e2e": "another"}}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	one.pod = one.podOf(t, each.selects, old)
	one.runs(t)
	one.has(t, each.remote+"/train.py", each.says)
	one.has(t, each.remote+"/result", "back")
	eventually(t, 30*time.Second, "in sync with the new pod", func() (bool, string) {
		now := one.inState(t, "in sync").Pod
		return strings.Contains(now, one.pod), now
	})
}

// syncContainers has a person name a container that is not there, and none where
// nothing says which one is meant. Both answers name those that there are.
func syncContainers(t *testing.T, s *synced) {
	t.Helper()
	one := newSynced(t, s.bed, "src")
	before := s.bench.run(t, 0, "sync", "ls")
	for _, each := range []struct {
		flags []string
		code  int
		says  string
	}{
		{[]string{"-c", "third"}, 5, "the pod two has no container third; it has first, second"},
		{nil, 2, "the pod two has the containers first, second"},
	} {
		refused := s.bench.try(t, append([]string{"sync", one.local + ":pod/two:/srv/src", "-n", s.namespace, "-d"}, each.flags...)...)
		require.Equal(t, each.code, refused.code, refused.stderr)
		require.Contains(t, refused.stderr, each.says)
	}
	require.Equal(t, before, s.bench.run(t, 0, "sync", "ls"), "nothing goes on")
}

// newSynced is a session with a container that has not begun, and its folder.
func newSynced(t *testing.T, d *bed, folder string) *synced {
	t.Helper()
	local := filepath.Join(t.TempDir(), folder)
	write(t, filepath.Join(local, "kept"), "from the beginning")
	return &synced{bed: d, local: local}
}

// begin begins the session in the background, without an entry in kfdev.yaml. It
// ends with the test.
func (s *synced) begin(t *testing.T, code int, target, remote string, flags ...string) {
	t.Helper()
	args := append([]string{"sync", s.local + ":" + target + ":" + remote, "-n", s.namespace, "-d", "-o", "json"}, flags...)
	r := s.bench.try(t, args...)
	var begun struct{ Name string }
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &begun), r.stderr)
	s.name = begun.Name
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.bench.try(t, "sync", "logs", s.name).stdout)
		}
		s.bench.try(t, "sync", "stop", s.name)
	})
	require.Equal(t, code, r.code, "%s\n%s", r.stdout, r.stderr)
}

// podOf is the pod with the label that is not the old one.
func (d *bed) podOf(t *testing.T, label, old string) string {
	t.Helper()
	found := ""
	eventually(t, 2*time.Minute, "a pod with "+label, func() (bool, string) {
		list, err := d.kube.CoreV1().Pods(d.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return false, err.Error()
		}
		names := map[string]bool{}
		for i := range list.Items {
			if list.Items[i].Name != old && list.Items[i].DeletionTimestamp == nil {
				found = list.Items[i].Name
				names[found] = true
			}
		}
		return len(names) == 1, fmt.Sprint(slices.Sorted(maps.Keys(names)))
	})
	return found
}
