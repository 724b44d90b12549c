package collect

import (
	"context"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// platform reads which images the components run that kfdev does not own, by
// workload and container. A container of which no digest is known yet is
// unknown.
func platform(ctx context.Context, r *reader) dimensions {
	wanted := r.options.Platform
	if wanted == nil {
		var why string
		if wanted, why = r.platformNamespaces(ctx); why != "" {
			return unknowns(why, fingerprint.Platform)
		}
	}
	pods, why := r.list(ctx, "", "pods", "")
	if why != "" {
		pods = nil
		for _, namespace := range wanted {
			found, why := r.list(ctx, "", "pods", namespace)
			if why != "" {
				return unknowns(why, fingerprint.Platform)
			}
			pods = append(pods, found...)
		}
	}
	digests := map[string][]string{}
	found := map[string]fingerprint.Value{}
	for i := range pods {
		if !slices.Contains(wanted, pods[i].GetNamespace()) {
			continue
		}
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(pods[i].Object, &pod); err != nil {
			return unknowns(reason(err, "read the pod "+pods[i].GetName()), fingerprint.Platform)
		}
		workload, lasts := workloadOf(&pod)
		if !lasts {
			continue
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			item := named(pod.Namespace, workload, c.Name)
			if digest := running(&pod, c.Name); digest != "" {
				digests[item] = append(digests[item], digest)
			} else {
				found[item] = fingerprint.Value{Unknown: "a pod of it has not started"}
			}
		}
	}
	for item, all := range digests {
		if _, not := found[item]; !not {
			found[item] = fingerprint.Set(all...)
		}
	}
	return dimensions{fingerprint.Platform: items(found)}
}

// platformNamespaces are where components are that act on every stack: those
// that clusters usually have, and those that this one shows: where a program
// answers a webhook or a part of the API, or runs on every node.
func (r *reader) platformNamespaces(ctx context.Context) (all []string, why string) {
	all = DefaultPlatform()
	for _, each := range []struct {
		group, resource string
		of              func(*unstructured.Unstructured) []string
	}{
		{admissionregistration, "mutatingwebhookconfigurations", webhookNamespaces},
		{admissionregistration, "validatingwebhookconfigurations", webhookNamespaces},
		{"apiregistration.k8s.io", "apiservices", func(o *unstructured.Unstructured) []string {
			namespace, _, _ := unstructured.NestedString(o.Object, "spec", "service", "namespace")
			return []string{namespace}
		}},
		{"apps", "daemonsets", func(o *unstructured.Unstructured) []string { return []string{o.GetNamespace()} }},
	} {
		found, why := r.list(ctx, each.group, each.resource, "")
		if why != "" {
			return nil, why
		}
		for i := range found {
			all = append(all, each.of(&found[i])...)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(n string) bool { return n == "" || slices.Contains(r.options.Namespaces, n) }), ""
}

// webhookNamespaces are where the services are that answer webhooks.
func webhookNamespaces(o *unstructured.Unstructured) (all []string) {
	hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
	for _, each := range hooks {
		hook, _ := each.(map[string]any)
		namespace, _, _ := unstructured.NestedString(hook, "clientConfig", "service", "namespace")
		all = append(all, namespace)
	}
	return all
}

// workloadOf returns the name by which a pod's like is known in another cluster
// too, and whether it lasts: a job's pods come and go.
func workloadOf(pod *corev1.Pod) (name string, lasts bool) {
	owner := metav1.GetControllerOf(pod)
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return "", false
	}
	switch {
	case owner == nil:
		return pod.Name, true
	case owner.Kind == "Job":
		return "", false
	case owner.Kind == "Node": // a static pod
		return strings.TrimSuffix(pod.Name, "-"+owner.Name), true
	case owner.Kind == "ReplicaSet":
		return strings.TrimSuffix(owner.Name, "-"+pod.Labels["pod-template-hash"]), true
	}
	return owner.Name, true
}

// running returns the digest that a container of the pod runs by.
func running(pod *corev1.Pod, container string) string {
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == container })
	if i < 0 {
		return ""
	}
	return regexp.MustCompile(`sha256:[0-9a-f]{64}$`).FindString(all[i].ImageID)
}
