// Package collect reads an environment's fingerprint from its cluster: with
// what the API server tells, and without a pod of its own. What can't be read is
// unknown, with the reason, and never left out; a kind that the server does not
// serve at all is known to have no objects.
package collect

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Options say what belongs to the environment.
type Options struct {
	// Namespaces are the stack's and the profiles', whose contracts are read.
	Namespaces []string
	// Release are the objects of the release in force; its kinds are held
	// against the live ones.
	Release []*unstructured.Unstructured
	// Platform are the namespaces of components that kfdev does not own; nil:
	// those of DefaultPlatform, and those that hold what answers webhooks or a
	// part of the API, or runs on every node; less Namespaces.
	Platform []string
}

// DefaultPlatform returns the namespaces in which clusters usually keep what
// acts on every stack.
func DefaultPlatform() []string {
	return []string{
		"kube-system", "calico-system", "cert-manager", "cilium", "gatekeeper-system", "gmp-system", "gpu-operator", "ingress-nginx",
		"istio-system", "knative-serving", "kube-flannel", "kyverno", "linkerd", "local-path-storage", "metallb-system",
		"node-feature-discovery", "nvidia-device-plugin", "projectcontour", "rook-ceph", "tigera-operator", "traefik",
	}
}

// Collect reads every dimension, several at once. It fails only where the
// context ends or no client can be made; all else shows as unknown.
func Collect(ctx context.Context, client *kube.Client, o Options) (fingerprint.Fingerprint, error) {
	fail := func(err error) (fingerprint.Fingerprint, error) {
		return fingerprint.Fingerprint{}, &fault.Error{Op: "looking at what the environment is", Subject: client.Config.Host, Err: err}
	}
	clients, err := kubernetes.NewForConfig(client.Config)
	if err != nil {
		return fail(err)
	}
	r := &reader{client: client, rest: clients.Discovery().RESTClient(), options: o}
	r.discover(ctx)
	out := fingerprint.Fingerprint{Dimensions: map[string]fingerprint.Dimension{}}
	var mu sync.Mutex
	var group errgroup.Group
	for _, collector := range collectors() {
		group.Go(func() error {
			found := collector(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			for name, d := range found {
				out.Dimensions[name] = d
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is unknown
	if ctx.Err() != nil {
		return fail(ctx.Err())
	}
	return out, nil
}

// dimensions are some of a fingerprint.
type dimensions map[string]fingerprint.Dimension

// collectors are what reads the dimensions; each makes few requests.
func collectors() []func(context.Context, *reader) dimensions {
	return []func(context.Context, *reader) dimensions{
		versions, gates, apis, kinds, webhooks, policies,
		storageClasses, runtimeClasses, priorityClasses, ingressClasses, gatewayClasses,
		namespaces, nodes, platform,
	}
}

// unknown is a dimension that can't be read.
func unknown(why string) fingerprint.Dimension {
	return fingerprint.Dimension{Value: fingerprint.Value{Unknown: why}}
}

// unknowns are several of them, for one reason.
func unknowns(why string, names ...string) dimensions {
	out := dimensions{}
	for _, name := range names {
		out[name] = unknown(why)
	}
	return out
}

// is is a dimension of one value.
func is(v fingerprint.Value) fingerprint.Dimension { return fingerprint.Dimension{Value: v} }

// items is a dimension of items: all that there are.
func items(all map[string]fingerprint.Value) fingerprint.Dimension {
	if all == nil {
		all = map[string]fingerprint.Value{}
	}
	return fingerprint.Dimension{Items: all}
}
