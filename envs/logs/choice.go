package logs

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Component is the component whose pods are meant.
type Component struct {
	Name      string
	Namespace string
	Objects   []*unstructured.Unstructured
}

// object names an object; its version makes no difference.
type object struct {
	kind            schema.GroupKind
	namespace, name string
}

// choice tells the pods of a component from others, also where components
// share a namespace: a pod is its own where the owner of its owner, and so on,
// is one of its objects, or the pod itself is. What a component makes
// without an owner, as a hub makes its users' servers, says by a label whose
// it is. It is not safe for concurrent use.
type choice struct {
	cluster    Cluster
	component  Component
	objects    map[object]bool
	namespaces map[string]bool
	known      map[types.UID]bool // owners, and whether they are the component's
}

// Labels that name the application a pod belongs to: the recommended one
// (kubernetes.io/docs, Recommended Labels) and its forerunner.
const (
	nameLabel = "app.kubernetes.io/name"
	appLabel  = "app"
)

func newChoice(cluster Cluster, component Component) *choice {
	c := &choice{
		cluster: cluster, component: component,
		objects: map[object]bool{}, namespaces: map[string]bool{component.Namespace: true}, known: map[types.UID]bool{},
	}
	for _, o := range component.Objects {
		c.objects[object{o.GroupVersionKind().GroupKind(), o.GetNamespace(), o.GetName()}] = true
		c.namespaces[o.GetNamespace()] = true
	}
	return c
}

func (c *choice) owns(ctx context.Context, pod corev1.Pod) (bool, error) {
	if !c.namespaces[pod.Namespace] {
		return false, nil
	}
	if c.objects[object{schema.GroupKind{Kind: "Pod"}, pod.Namespace, pod.Name}] {
		return true, nil
	}
	if len(pod.OwnerReferences) == 0 {
		return pod.Namespace == c.component.Namespace &&
			slices.Contains([]string{pod.Labels[nameLabel], pod.Labels[appLabel]}, c.component.Name), nil
	}
	return c.anyOwns(ctx, pod.Namespace, pod.OwnerReferences)
}

// anyOwns goes up from the owners to one of the component's objects. The
// garbage collector lets nothing own itself, so it comes to an end.
func (c *choice) anyOwns(ctx context.Context, namespace string, owners []metav1.OwnerReference) (bool, error) {
	for _, ref := range owners {
		owns, known := c.known[ref.UID]
		if !known {
			group := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
			owns = c.objects[object{group, namespace, ref.Name}]
			if !owns {
				above, err := c.cluster.Owners(ctx, namespace, ref)
				if err != nil {
					return false, err
				}
				c.known[ref.UID] = false // also in the middle of a circle
				if owns, err = c.anyOwns(ctx, namespace, above); err != nil {
					return false, err
				}
			}
			c.known[ref.UID] = owns
		}
		if owns {
			return true, nil
		}
	}
	return false, nil
}
