package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Until watches the object of that name until done says so, or fails. Done is
// given nil while there is no such object. It never polls: it looks once, then
// follows what the server sends.
func Until(ctx context.Context, resource dynamic.ResourceInterface, name string, done func(*unstructured.Unstructured) (bool, error)) error {
	selector := fields.OneTermEqualSelector("metadata.name", name).String()
	for {
		list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: selector})
		if err != nil {
			return ended(ctx, err)
		}
		var object *unstructured.Unstructured
		if len(list.Items) > 0 {
			object = &list.Items[0]
		}
		if ok, err := done(object); ok || err != nil {
			return err
		}
		// A watch that the server ends (it does so every few minutes) is begun
		// again from a fresh look.
		ok, err := follow(ctx, resource, metav1.ListOptions{FieldSelector: selector, ResourceVersion: list.GetResourceVersion()}, done)
		if ok || err != nil {
			return err
		}
	}
}

func follow(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions, done func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	watcher, err := resource.Watch(ctx, options)
	if err != nil {
		return false, ended(ctx, err)
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, open := <-watcher.ResultChan():
			if !open {
				return false, nil
			}
			if event.Type == watch.Error {
				err := apierrors.FromObject(event.Object)
				if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
					return false, nil
				}
				return false, ended(ctx, err)
			}
			object, isObject := event.Object.(*unstructured.Unstructured)
			if !isObject || event.Type == watch.Bookmark {
				continue
			}
			if event.Type == watch.Deleted {
				object = nil
			}
			if ok, err := done(object); ok || err != nil {
				return ok, err
			}
		}
	}
}

// ended prefers the context's own end over the error that it caused.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}
