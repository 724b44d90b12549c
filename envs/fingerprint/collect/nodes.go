package collect

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// nodes reads what the nodes are. Of resources, the most that one node offers
// counts: what a single pod may ask for.
func nodes(ctx context.Context, r *reader) dimensions {
	listed, why := r.list(ctx, "", "nodes", "")
	all := make([]corev1.Node, len(listed))
	for i := range listed {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(listed[i].Object, &all[i]); err != nil {
			why = reason(err, "read the node "+listed[i].GetName())
		}
	}
	if why != "" {
		return unknowns(why, fingerprint.NodeOS, fingerprint.Kernel, fingerprint.Runtime, fingerprint.Kubelet, fingerprint.Architecture,
			fingerprint.Allocatable, fingerprint.GPUProduct, fingerprint.GPUDriver, fingerprint.CUDA)
	}
	set := func(of func(corev1.NodeSystemInfo) string) fingerprint.Dimension {
		var texts []string
		for _, n := range all {
			text := of(n.Status.NodeInfo)
			if text == "" {
				return unknown("the node " + n.Name + " does not say it")
			}
			texts = append(texts, text)
		}
		return is(fingerprint.Set(texts...))
	}
	out := dimensions{
		fingerprint.NodeOS:       set(func(i corev1.NodeSystemInfo) string { return i.OSImage }),
		fingerprint.Kernel:       set(func(i corev1.NodeSystemInfo) string { return i.KernelVersion }),
		fingerprint.Runtime:      set(func(i corev1.NodeSystemInfo) string { return i.ContainerRuntimeVersion }),
		fingerprint.Kubelet:      set(func(i corev1.NodeSystemInfo) string { return i.KubeletVersion }),
		fingerprint.Architecture: set(func(i corev1.NodeSystemInfo) string { return i.Architecture }),
		fingerprint.Allocatable:  is(value(largest(all))),
	}
	maps.Copy(out, r.gpus(ctx, all))
	return out
}

func largest(all []corev1.Node) map[string]any {
	most := map[string]resource.Quantity{}
	for _, n := range all {
		for name, q := range n.Status.Allocatable {
			if was, ok := most[string(name)]; (!ok || q.Cmp(was) > 0) && !q.IsZero() {
				most[string(name)] = q
			}
		}
	}
	out := map[string]any{}
	for name, q := range most {
		out[name] = q.String()
	}
	return out
}
