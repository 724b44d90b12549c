//go:build e2e && bench

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a bench is made of: the issue of the figures says 5,000 files, 20 MB.
const (
	treeFolders, treeFiles, fileSize = 100, 50, 4 << 10
	benchNamespace                   = "kfdev-syncbench"
)

// figures are the rows of the table that docs/benchmarks.md has, and what of them
// floors are held against.
type figures struct {
	rows []string
	of   measured
}

func (f *figures) add(t *testing.T, measure, tool, value string) {
	t.Helper()
	row := fmt.Sprintf("| %s | %s | %s |", measure, tool, value)
	t.Log(row)
	f.rows = append(f.rows, row)
}

func (f *figures) latency(t *testing.T, measure, tool string, s samples) {
	t.Helper()
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", .5}, {"p95", .95}} {
		f.of.add(measure+", "+q.name, tool, float64(s.at(q.at).Microseconds())/1000)
	}
	f.add(t, measure, tool, fmt.Sprintf("p50 %s ms, p95 %s ms, most %s ms (%d)", ms(s.at(.5)), ms(s.at(.95)), ms(s.at(1)), len(s)))
}

// floors leaves word of each floor where KFDEV_BENCH_FLOORS says.
func (f *figures) floors(t *testing.T, peers []string) {
	t.Helper()
	said := verdicts(f.of, peers)
	t.Log("\n" + said)
	if out := os.Getenv("KFDEV_BENCH_FLOORS"); out != "" {
		require.NoError(t, os.WriteFile(out, []byte(said), 0o644)) //nolint:gosec // to be read
	}
}

// write leaves the table where KFDEV_BENCH_OUT says.
func (f *figures) write(t *testing.T) {
	t.Helper()
	table := machine(t) + "\n\n| what | with | figure |\n|---|---|---|\n" + strings.Join(f.rows, "\n") + "\n"
	t.Log("\n" + table)
	if out := os.Getenv("KFDEV_BENCH_OUT"); out != "" {
		require.NoError(t, os.WriteFile(out, []byte(table), 0o644)) //nolint:gosec // to be read
	}
}

// machine is what the figures depend on.
func machine(t *testing.T) string {
	t.Helper()
	load, err := os.ReadFile("/proc/loadavg")
	require.NoError(t, err)
	version, err := os.ReadFile("/proc/version")
	require.NoError(t, err)
	cores := strings.Count(readAll(t, "/proc/cpuinfo"), "processor\t")
	memory := strings.Fields(readAll(t, "/proc/meminfo"))
	return fmt.Sprintf("%d cores, %s kB of memory, Linux %s, load %s.", cores, memory[1],
		strings.Fields(string(version))[2], strings.Join(strings.Fields(string(load))[:3], " "))
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// rig is a bed for benchmarks: a pod with a volume, and where this kernel has it.
type rig struct {
	*bed

	tools   []*tool
	kubectl string
	volume  string // the pod's /data, as this machine's root sees it
	work    string // a folder here
	figures *figures
}

// newRig takes the project that hack/bench.sh has brought up.
func newRig(t *testing.T) *rig {
	t.Helper()
	project := os.Getenv("KFDEV_BENCH_PROJECT")
	if project == "" {
		t.Skip("make bench brings a project up for this, and names it in KFDEV_BENCH_PROJECT")
	}
	program, err := filepath.Abs(os.Getenv("KFDEV_BIN"))
	require.NoError(t, err)
	b := &bench{name: filepath.Base(project), program: program, project: project, kubeconfig: os.Getenv("KUBECONFIG"), env: os.Environ()}
	kube := b.clients(t)
	d := &bed{bench: b, kube: kube, namespace: benchNamespace, pod: "bench", container: "main"}
	makePod(t, d, lockedBusybox(t, b))
	root, _ := d.hostRoot(t)
	r := &rig{bed: d, volume: filepath.Join(root, "data"), work: t.TempDir(), figures: &figures{of: measured{}}}
	r.kubectl = kubectl(t, b.context()+"-control-plane")
	r.tools = []*tool{kfdevTool(d), mutagenTool(t, d, r.kubectl)}
	if only := os.Getenv("KFDEV_BENCH_TOOLS"); only != "" {
		var kept []*tool
		for _, each := range r.tools {
			if strings.Contains(only, strings.Fields(each.name)[0]) {
				kept = append(kept, each)
			}
		}
		r.tools = kept
	}
	return r
}

// makePod makes the pod, in a namespace of its own that is removed in the end.
func makePod(t *testing.T, d *bed, image string) {
	t.Helper()
	ctx := t.Context()
	freshNamespace(t, d.kube, d.namespace)
	t.Cleanup(func() { removeNamespace(t, d.kube, d.namespace) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: d.pod, Namespace: d.namespace},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers: []corev1.Container{{
				Name: d.container, Image: image, Command: []string{"/bin/sh", "-c", "while :; do sleep 3600; done"},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "home", MountPath: "/root"}, {Name: "tmp", MountPath: "/tmp"}},
			}},
			Volumes: []corev1.Volume{empty("data"), empty("home"), empty("tmp")},
		},
	}
	_, err := d.kube.CoreV1().Pods(d.namespace).Create(ctx, pod, metav1.CreateOptions{})
	require.NoError(t, err)
	d.runs(t)
}

// TestSyncBench measures, each tool after the other on the same machine.
func TestSyncBench(t *testing.T) {
	r := newRig(t)
	peers := []string{"kubectl cp"}
	for _, each := range r.tools {
		name, _, _ := strings.Cut(each.name, " v")
		peers = append(peers, name)
	}
	defer r.figures.floors(t, peers)
	defer r.figures.write(t)
	r.figures.add(t, "machine at the start", "", machine(t))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *rig)
	}{
		{"first", benchFirst},
		{"save", benchSave},
		{"big", benchBig},
		{"branch", benchBranch},
		{"idle", benchIdle},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, r) })
	}
}
