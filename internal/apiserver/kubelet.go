package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// nodeName is the one node of a Kubelet.
const nodeName = "paper"

// Kubelet stands in for a scheduler and a node: until the context ends, every
// pod is bound to a node that exists on paper only, and gets the status that
// decide returns. Nothing runs. It returns nil when the context ended.
func Kubelet(ctx context.Context, config *rest.Config, decide func(pod *unstructured.Unstructured) (status map[string]any)) error {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	nodes := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"})
	node := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": nodeName}}}
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	pods := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	watcher, err := pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-watcher.ResultChan():
			if !open {
				return nil
			}
			pod, ok := event.Object.(*unstructured.Unstructured)
			if !ok || event.Type == "DELETED" {
				continue
			}
			if err := handle(ctx, pods, pod, decide); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
				return err
			}
		}
	}
}

func handle(ctx context.Context, pods dynamic.NamespaceableResourceInterface, pod *unstructured.Unstructured, decide func(*unstructured.Unstructured) map[string]any) error {
	in := pods.Namespace(pod.GetNamespace())
	if pod.GetDeletionTimestamp() != nil {
		now := int64(0)
		return in.Delete(ctx, pod.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
	}
	if node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName"); node == "" {
		binding := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Binding", "metadata": map[string]any{"name": pod.GetName(), "namespace": pod.GetNamespace()},
			"target": map[string]any{"apiVersion": "v1", "kind": "Node", "name": nodeName},
		}}
		_, err := in.Create(ctx, binding, metav1.CreateOptions{}, "binding")
		return err // the status follows with the event that this causes
	}
	if phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase != "Pending" {
		return nil
	}
	status := decide(pod)
	if status == nil {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = in.Patch(ctx, pod.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// Running returns a decide function for a Kubelet that lets every pod run and
// be ready, each with an address of its own.
func Running() func(*unstructured.Unstructured) map[string]any {
	var count atomic.Int64
	return func(*unstructured.Unstructured) map[string]any {
		n := count.Add(1)
		address := fmt.Sprintf("10.244.%d.%d", n/250, 1+n%250)
		now := metav1.Now().UTC().Format("2006-01-02T15:04:05Z")
		return map[string]any{
			"phase": "Running", "podIP": address, "podIPs": []any{map[string]any{"ip": address}}, "hostIP": "127.0.0.1", "startTime": now,
			"conditions": []any{
				map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": now},
				map[string]any{"type": "ContainersReady", "status": "True", "lastTransitionTime": now},
			},
		}
	}
}
