package envs

import (
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/kube"
)

func (l *liveStack) pods() dynamic.ResourceInterface {
	return l.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
}

// Pods returns every pod of the cluster.
func (l *liveStack) Pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := l.pods().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	return podsOf(list.Items)
}

// FollowPods looks at every pod of the cluster, and follows what becomes of
// them.
func (l *liveStack) FollowPods(ctx context.Context, all func([]corev1.Pod) (bool, error), change func(corev1.Pod, bool) (bool, error)) error {
	return kube.Follow(ctx, l.pods(), metav1.ListOptions{},
		func(items []unstructured.Unstructured) (bool, error) {
			pods, err := podsOf(items)
			if err != nil {
				return true, err
			}
			return all(pods)
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			pods, err := podsOf([]unstructured.Unstructured{*o})
			if err != nil {
				return true, err
			}
			return change(pods[0], gone)
		})
}

func podsOf(items []unstructured.Unstructured) ([]corev1.Pod, error) {
	pods := make([]corev1.Pod, len(items))
	for i, item := range items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pods[i]); err != nil {
			return nil, fmt.Errorf("reading pod %s: %w", item.GetName(), err)
		}
	}
	return pods, nil
}

// Owners returns the owners of the object that a reference in the namespace
// names; none where it, or its kind, is not there any more.
func (l *liveStack) Owners(ctx context.Context, namespace string, ref metav1.OwnerReference) ([]metav1.OwnerReference, error) {
	mapping, err := l.client.Mapper.Mapping(ctx, schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind))
	var unknown *kube.UnknownKindError
	if errors.As(err, &unknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !mapping.Namespaced {
		namespace = ""
	}
	owner, err := l.client.Metadata.Resource(mapping.Resource).Namespace(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at %s %s: %w", ref.Kind, ref.Name, err)
	}
	return owner.OwnerReferences, nil
}

// Log opens the log of a pod's container.
func (l *liveStack) Log(ctx context.Context, namespace, pod string, o kube.LogOptions) (io.ReadCloser, error) {
	return l.client.Logs(ctx, namespace, pod, o)
}
