package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Follow lists what the options select and then follows what the server sends.
// After the first list, and after every later one, it calls all with the whole
// list; between them change with each object that came, changed or went (gone).
// It returns nil once one of them returns true, and their error if they do.
func Follow(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions,
	all func([]unstructured.Unstructured) (bool, error), change func(o *unstructured.Unstructured, gone bool) (bool, error),
) error {
	for {
		list, err := resource.List(ctx, options)
		if err != nil {
			return ended(ctx, err)
		}
		if done, err := all(list.Items); done || err != nil {
			return err
		}
		// A watch that the server ends (it does so every few minutes) is begun
		// again from a fresh look.
		from := options
		from.ResourceVersion = list.GetResourceVersion()
		if done, err := follow(ctx, resource, from, change); done || err != nil {
			return err
		}
	}
}

// Until watches the object of that name until done says so, or fails. Done is
// given nil while there is no such object. It never polls: it looks once, then
// follows what the server sends.
func Until(ctx context.Context, resource dynamic.ResourceInterface, name string, done func(*unstructured.Unstructured) (bool, error)) error {
	return Follow(ctx, resource, metav1.ListOptions{FieldSelector: "metadata.name=" + name},
		func(items []unstructured.Unstructured) (bool, error) {
			if len(items) == 0 {
				return done(nil)
			}
			return done(&items[0])
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			if gone {
				return done(nil)
			}
			return done(o)
		})
}

func follow(ctx context.Context, resource dynamic.ResourceInterface, options metav1.ListOptions, change func(*unstructured.Unstructured, bool) (bool, error)) (bool, error) {
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
			if done, err := change(object, event.Type == watch.Deleted); done || err != nil {
				return done, err
			}
		}
	}
}
