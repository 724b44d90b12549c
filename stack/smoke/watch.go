package smoke

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Until watches the object name of a resource and calls done with each of its
// states, until done says true or an error. The object's deletion is an error.
func Until(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, name string,
	done func(*unstructured.Unstructured) (bool, error),
) error {
	err := until(ctx, dyn, resource, namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + name}, func(e watch.Event, o *unstructured.Unstructured) (bool, error) {
		switch {
		case o.GetName() != name:
			return false, nil
		case e.Type == watch.Deleted:
			return false, fmt.Errorf("%s was deleted while it was waited for", name)
		}
		return done(o)
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting for %s: %w", name, context.Cause(ctx))
	}
	return err
}

// UntilAny watches the objects of a resource that selector (labels) selects
// and calls done with each of their states, until done says true or an error.
func UntilAny(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, selector string,
	done func(*unstructured.Unstructured) (bool, error),
) error {
	err := until(ctx, dyn, resource, namespace, metav1.ListOptions{LabelSelector: selector}, func(e watch.Event, o *unstructured.Unstructured) (bool, error) {
		if e.Type == watch.Deleted {
			return false, nil
		}
		return done(o)
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting for %s of %s: %w", resource.Resource, selector, context.Cause(ctx))
	}
	return err
}

// until watches, over the ends that watches come to by themselves, until see
// says true or an error, or ctx ends.
func until(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace string, which metav1.ListOptions,
	see func(watch.Event, *unstructured.Unstructured) (bool, error),
) error {
	client := dyn.Resource(resource).Namespace(namespace)
	list := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector, o.LabelSelector = which.FieldSelector, which.LabelSelector
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector, o.LabelSelector = which.FieldSelector, which.LabelSelector
			return client.Watch(ctx, o)
		},
	}, dyn)
	_, err := watchtools.UntilWithSync(ctx, list, &unstructured.Unstructured{}, nil, func(e watch.Event) (bool, error) {
		if e.Type == watch.Error {
			return false, fmt.Errorf("watching %s: %v", resource.Resource, e.Object)
		}
		object, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			return false, nil
		}
		return see(e, object)
	})
	return err
}

// Gone watches until no object of a resource that selector (labels) selects is
// left in namespace. It says how many are left when ctx ends.
func Gone(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, selector string) error {
	client := dyn.Resource(resource).Namespace(namespace)
	for {
		left, err := client.List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return fmt.Errorf("listing %s: %w", resource.Resource, err)
		}
		if len(left.Items) == 0 {
			return nil
		}
		if err := untilDeletion(ctx, client, selector, left.GetResourceVersion()); err != nil {
			return fmt.Errorf("waiting for %d %s of %s to go: %w", len(left.Items), resource.Resource, selector, err)
		}
	}
}

// untilDeletion returns when something was deleted since version, or when the
// watch ended by itself, as watches do from time to time.
func untilDeletion(ctx context.Context, client dynamic.ResourceInterface, selector, version string) error {
	watcher, err := client.Watch(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: version})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for {
		select {
		case event, ok := <-watcher.ResultChan():
			if !ok || event.Type == watch.Deleted || event.Type == watch.Error {
				return ctx.Err()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
