package envs

import (
	"context"
	"net/netip"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/cluster"
	clusterregistry "github.com/kfdev/kfdev/cluster/registry"
	"github.com/kfdev/kfdev/envs/logs"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
	"github.com/kfdev/kfdev/stack/smoke"
)

// world is all that an engine acts on outside of the project and its caches.
// Tests put fakes in its place.
type world struct {
	Daemon   daemon
	Clusters cluster.Provider
	// Registry returns the local registry, to be made from the image; without
	// one it can be looked at only.
	Registry func(image *docker.Archive) localRegistry
	// Target is the local registry at an address of this machine.
	Target     func(addr netip.AddrPort) images.Target
	Connect    func(kubeconfig []byte) (live, error)
	Kubeconfig contexts
	// Site reaches the cluster of an environment; nil means by its context in the
	// user's kubeconfig, and dev by what its provider says.
	Site func(ctx context.Context, environment string) (*kube.Client, error)
	// Lease is how long a promoter that says nothing more keeps others waiting;
	// zero means leaseDuration.
	Lease time.Duration
	// Disk is what is free where a folder lies.
	Disk func(dir string) space
}

// daemon is what the engine itself needs of Docker; *docker.Client has it.
type daemon interface {
	Server(ctx context.Context) (docker.Server, error)
	Image(ctx context.Context, name string) (docker.Image, error)
	EnsureImage(ctx context.Context, archive docker.Archive) (docker.Image, bool, error)
}

// endpoint is where the local registry is.
type endpoint = clusterregistry.State

// localRegistry keeps the registry's container; *registry.Registry has it.
type localRegistry interface {
	Get(ctx context.Context) (endpoint, error)
	Ensure(ctx context.Context) (endpoint, error)
	Connect(ctx context.Context) error
	Remove(ctx context.Context) error
	NodeURL() string
}

// contexts puts the project's context into the user's kubeconfig and takes it
// out. Merge returns what it did, for people.
type contexts interface {
	Lacks(state cluster.State, current bool) (bool, error)
	Merge(state cluster.State, current bool) (string, error)
	Remove(context string) (bool, error)
}

// published is what the engine needs of registries that have published images;
// *registry.Origin has it.
type published interface {
	images.Origin
	// Answers fails unless the registries of all repositories answer in time.
	Answers(ctx context.Context, repositories []string, patience time.Duration) error
	// Resolve asks what a tag stands for now, with a child for each platform.
	Resolve(ctx context.Context, name string, platforms []v1.Platform) (registry.Resolved, error)
}

// live is the stack's side of a cluster that runs.
type live interface {
	logs.Cluster
	// Healthy asks the API server whether it is ready to serve.
	Healthy(ctx context.Context) error
	// Plan says what Apply would do, and writes nothing.
	Plan(ctx context.Context, p part) (apply.ChangeSet, error)
	// Apply brings certificates, secrets and objects of the part in.
	Apply(ctx context.Context, p part) (apply.ChangeSet, error)
	// Current reports whether all of the part is ready now, and if not why.
	Current(ctx context.Context, p part) (ready bool, why string, err error)
	// Ready waits until all of the part is ready.
	Ready(ctx context.Context, p part) error
	// Sets names the components that the cluster holds.
	Sets(ctx context.Context) ([]string, error)
	// Remove deletes a component.
	Remove(ctx context.Context, name string) (apply.ChangeSet, error)
	// Pods returns every pod of the cluster.
	Pods(ctx context.Context) ([]corev1.Pod, error)
	// Memory is the working set of all nodes, bytes.
	Memory(ctx context.Context) (int64, error)
	// PlanSecret says what EnsureSecret would do.
	PlanSecret(ctx context.Context, g seed.Given) (apply.Change, error)
	// EnsureSecret puts exactly the given values into a Secret.
	EnsureSecret(ctx context.Context, g seed.Given) (apply.Change, error)
	// Secret reads one value of a Secret.
	Secret(ctx context.Context, namespace, name, key string) (string, error)
	// Token issues a token of a service account.
	Token(ctx context.Context, namespace, serviceAccount string, life time.Duration) (kube.Token, error)
	// Smoke returns what a smoke test runs in.
	Smoke() (smoke.Env, error)
	Client() *kube.Client
	Close()
}
