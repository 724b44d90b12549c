package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// Labels that the GPU feature discovery of NVIDIA puts on nodes; the older and
// the newer names of the versions.
const (
	gpuPrefix  = "nvidia.com/"
	gpuProduct = "nvidia.com/gpu.product"
)

func driverLabels() [][]string {
	return [][]string{{"nvidia.com/cuda.driver-version.full"}, {"nvidia.com/cuda.driver.major", "nvidia.com/cuda.driver.minor", "nvidia.com/cuda.driver.rev"}}
}

func cudaLabels() [][]string {
	return [][]string{{"nvidia.com/cuda.runtime-version.full"}, {"nvidia.com/cuda.runtime.major", "nvidia.com/cuda.runtime.minor"}}
}

// gpu is one kind of GPU as one node says it.
type gpu struct {
	product      string
	driver, cuda fingerprint.Value
}

// gpus reads the products, and by product the oldest driver and CUDA version
// among its nodes: out of the labels of nodes, and out of the ResourceSlices of
// drivers for dynamic allocation, which may stand in place of labels. A node
// that offers GPUs without saying which makes all unknown.
func (r *reader) gpus(ctx context.Context, nodes []corev1.Node) dimensions {
	slicesOf, why := r.list(ctx, "resource.k8s.io", "resourceslices", "")
	all := sliced(slicesOf)
	for _, n := range nodes {
		product := n.Labels[gpuProduct]
		if product != "" {
			all = append(all, gpu{product, label(n, driverLabels()), label(n, cudaLabels())})
		} else if resources := gpuResources(n); len(resources) > 0 {
			why = fmt.Sprintf("the node %s offers %s, and no label says which GPUs these are", n.Name, strings.Join(resources, ", "))
		}
	}
	if why != "" {
		return unknowns(why, fingerprint.GPUProduct, fingerprint.GPUDriver, fingerprint.CUDA)
	}
	var products []string
	drivers, cuda := map[string]fingerprint.Value{}, map[string]fingerprint.Value{}
	for _, g := range all {
		products = append(products, g.product)
		oldest(drivers, named(g.product), g.driver)
		oldest(cuda, named(g.product), g.cuda)
	}
	return dimensions{
		fingerprint.GPUProduct: is(fingerprint.Set(products...)), fingerprint.GPUDriver: items(drivers), fingerprint.CUDA: items(cuda),
	}
}

// oldest keeps the lower version; one that is not known is lower than any.
func oldest(all map[string]fingerprint.Value, item string, v fingerprint.Value) {
	if was, ok := all[item]; !ok || was.Known() && (!v.Known() || less(v.Is, was.Is)) {
		all[item] = v
	}
}

// sliced reads the GPUs of ResourceSlices: devices that name a product. In
// v1beta1 their attributes lie one level deeper.
func sliced(all []unstructured.Unstructured) []gpu {
	var out []gpu
	for i := range all {
		driver, _, _ := unstructured.NestedString(all[i].Object, "spec", "driver")
		devices, _, _ := unstructured.NestedSlice(all[i].Object, "spec", "devices")
		for _, each := range devices {
			device, _ := each.(map[string]any)
			if basic, ok := device["basic"].(map[string]any); ok {
				device = basic
			}
			attributes, _ := device["attributes"].(map[string]any)
			read := func(name string) fingerprint.Value {
				attribute, _ := attributes[name].(map[string]any)
				for _, v := range attribute {
					if text, ok := v.(string); ok {
						return value(text)
					}
				}
				return fingerprint.Value{Unknown: "no attribute of the driver " + driver + " says it"}
			}
			if product := read("productName"); product.Known() {
				out = append(out, gpu{product.Is.(string), read("driverVersion"), read("cudaDriverVersion")})
			}
		}
	}
	return out
}

// gpuResources returns what a node offers that is a GPU by its name.
func gpuResources(n corev1.Node) []string {
	var out []string
	for name, q := range n.Status.Allocatable {
		vendor, what, _ := strings.Cut(string(name), "/")
		if what != "" && !q.IsZero() && (strings.HasPrefix(string(name), gpuPrefix) || strings.HasPrefix(what, "gpu") || vendor == "amd.com") {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// label returns the version that labels say, in the first form that is there.
func label(n corev1.Node, forms [][]string) fingerprint.Value {
	for _, form := range forms {
		var parts []string
		for _, k := range form {
			if v := n.Labels[k]; v != "" {
				parts = append(parts, v)
			}
		}
		if len(parts) == len(form) {
			return value(strings.Join(parts, "."))
		}
	}
	return fingerprint.Value{Unknown: "no label of the node " + n.Name + " says it"}
}

// less reports whether version a is below b.
func less(a, b any) bool {
	differs := fingerprint.Compare(one(b), one(a), fingerprint.Rules{fingerprint.GPUDriver: {Compare: fingerprint.Floor}})
	return len(differs) > 0
}

func one(v any) fingerprint.Fingerprint {
	return fingerprint.Fingerprint{Dimensions: dimensions{fingerprint.GPUDriver: is(fingerprint.Value{Is: v})}}
}
