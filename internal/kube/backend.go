package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
)

// backend is a pod behind a Service, and the port that it serves there.
type backend struct {
	pod  string
	port int
}

// backend returns a pod that is ready, and waits a while for one.
func (f *Forward) backend(ctx context.Context) (backend, error) {
	name, err := f.portName(ctx)
	if err != nil {
		return backend{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, backendWithin)
	defer cancel()
	slicesOf := f.client.Dynamic.Resource(discovery.SchemeGroupVersion.WithResource("endpointslices")).Namespace(f.namespace)
	var found backend
	look := func(o *unstructured.Unstructured) (bool, error) {
		var slice discovery.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &slice); err != nil {
			return false, err
		}
		to, ok := choose(&slice, name)
		if ok {
			found = to
		}
		return ok, nil
	}
	err = Follow(ctx, slicesOf, metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + f.service},
		func(items []unstructured.Unstructured) (bool, error) {
			for i := range items {
				if ok, err := look(&items[i]); ok || err != nil {
					return ok, err
				}
			}
			return false, nil
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			if gone {
				return false, nil
			}
			return look(o)
		})
	if errors.Is(err, context.DeadlineExceeded) {
		err = &fault.Error{Kind: fault.Timeout, Err: fmt.Errorf("no pod behind the Service %s was ready within %s", f.service, backendWithin)}
	}
	return found, err
}

// portName returns the name of the Service's port, by which endpoints know it.
func (f *Forward) portName(ctx context.Context) (string, error) {
	o, err := f.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace(f.namespace).
		Get(ctx, f.service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", &fault.Error{Kind: fault.NotFound, Err: err}
	}
	if err != nil {
		return "", err
	}
	var service corev1.Service
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &service); err != nil {
		return "", err
	}
	i := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return int(p.Port) == f.port })
	if i < 0 {
		return "", &fault.Error{Kind: fault.NotFound, Err: fmt.Errorf("the Service %s has no port %d", f.service, f.port)}
	}
	return service.Spec.Ports[i].Name, nil
}

// choose returns the first pod of a slice that is ready.
func choose(slice *discovery.EndpointSlice, portName string) (backend, bool) {
	port := 0
	for _, p := range slice.Ports {
		if p.Port != nil && (p.Name == nil && portName == "" || p.Name != nil && *p.Name == portName) {
			port = int(*p.Port)
		}
	}
	if port == 0 {
		return backend{}, false
	}
	for _, e := range slice.Endpoints {
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
			return backend{e.TargetRef.Name, port}, true
		}
	}
	return backend{}, false
}
