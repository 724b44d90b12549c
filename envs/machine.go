package envs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/cluster/kubeconfig"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/internal/fault"
)

// What a cluster takes before any component: memory that one kind node uses
// when it idles (measured, docs/benchmarks.md), and inotify limits below which
// node and notebooks fail with "too many open files".
const (
	nodeMemory   = 600 << 20
	minInstances = 128
)

// machine checks that the machine can run a cluster at all, and says what the
// stack takes and what there is.
func (r *upRun) machine(ctx context.Context) (string, error) {
	server, err := r.world.Daemon.Server(ctx)
	if err != nil {
		return "", err
	}
	r.dataRoot = server.Root
	if server.OS != "linux" {
		return "", preflight("checking Docker", fmt.Errorf("the daemon runs %s containers, kind nodes are linux", server.OS), "switch Docker to linux containers")
	}
	if n := readInt("/proc/sys/fs/inotify/max_user_instances"); n > 0 && n < minInstances {
		return "", preflight("checking inotify", fmt.Errorf("fs.inotify.max_user_instances is %d, at least %d are needed", n, minInstances),
			fmt.Sprintf("sudo sysctl fs.inotify.max_user_instances=%d", 8*minInstances))
	}
	takes, has := r.takes(), r.has()
	return fmt.Sprintf("Docker %s, %d CPUs; the stack takes about %s of memory and up to %s of disk, %s and %s are free",
		server.Version, server.CPUs, size(takes.memory), size(takes.disk), known(has.memory), known(has.disk)), nil
}

func preflight(op string, err error, hint string) error {
	return &fault.Error{Op: op, Kind: fault.Preflight, Err: err, Hint: hint}
}

func readInt(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// size writes bytes for people.
func size(n int64) string {
	q := resource.NewQuantity(n, resource.BinarySI)
	for _, unit := range []struct {
		name  string
		shift uint
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<unit.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(int64(1)<<unit.shift), unit.name)
		}
	}
	return q.String() + " B"
}

// short is the part of a digest or an image's ID that people compare.
func short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		hex = digest
	}
	return hex[:min(12, len(hex))]
}

// nodeName is the name that the node image is kept under in the daemon: the
// one that archive.Of gives it.
func nodeName(n lock.Node) string {
	return n.Image.Repository + ":" + n.Config.Hex[:12]
}

// manifestOf describes what a registry must have of an image.
func manifestOf(i lock.Image) v1.Descriptor {
	return v1.Descriptor{MediaType: types.MediaType(i.MediaType), Digest: i.Digest}
}

func platformsOf(l lock.Lock) []v1.Platform {
	var all []v1.Platform
	for _, p := range l.Platforms {
		system, arch, _ := strings.Cut(p, "/")
		all = append(all, v1.Platform{OS: system, Architecture: arch})
	}
	return all
}

// portOf returns the port of a URL of this machine; 0 where there is none.
func portOf(server string) int {
	u, err := url.Parse(server)
	if err != nil {
		return 0
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}

func sameRecord(a, b state.Record) bool {
	if a.Cluster != b.Cluster || a.Registry != b.Registry || a.Lock != b.Lock || len(a.Components) != len(b.Components) {
		return false
	}
	for i := range a.Components {
		if a.Components[i] != b.Components[i] {
			return false
		}
	}
	return true
}

// userContexts edits the kubeconfig that the user's tools read.
type userContexts struct{ getenv func(string) string }

// Lacks reports whether Merge would change anything.
func (u userContexts) Lacks(state cluster.State, current bool) (bool, error) {
	one, err := kubeconfig.Rename(state.Kubeconfig, cluster.ContextName(state.Name))
	if err != nil {
		return false, err
	}
	return kubeconfig.Lacks(kubeconfig.PathForMerge(u.getenv), one, current)
}

// Merge adds the cluster's context, and says where.
func (u userContexts) Merge(state cluster.State, current bool) (string, error) {
	one, err := kubeconfig.Rename(state.Kubeconfig, cluster.ContextName(state.Name))
	if err != nil {
		return "", err
	}
	path := kubeconfig.PathForMerge(u.getenv)
	if _, err := kubeconfig.Merge(path, one, current); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is in %s", cluster.ContextName(state.Name), path), nil
}

// Remove takes the context out of every file of the user's kubeconfig.
func (u userContexts) Remove(context string) (bool, error) {
	var (
		any  bool
		errs []error
	)
	for _, path := range kubeconfig.Paths(u.getenv) {
		changed, err := kubeconfig.Remove(path, context)
		any, errs = any || changed, append(errs, err)
	}
	return any, errors.Join(errs...)
}
