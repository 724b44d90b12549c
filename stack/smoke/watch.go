package smoke

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/kube"
)

// Until watches the object name of a resource and calls done with each of its
// states, until done says true or an error. The object's deletion, once it was
// there, is an error.
func Until(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, name string,
	done func(*unstructured.Unstructured) (bool, error),
) error {
	seen := false
	err := kube.Until(ctx, dyn.Resource(resource).Namespace(namespace), name, func(o *unstructured.Unstructured) (bool, error) {
		if o == nil {
			if seen {
				return false, fmt.Errorf("%s was deleted while it was waited for", name)
			}
			return false, nil
		}
		seen = true
		return done(o)
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting for %s: %w", name, err)
	}
	return err
}

// UntilAny watches the objects of a resource that selector (labels) selects
// and calls done with each of their states, until done says true or an error.
func UntilAny(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, selector string,
	done func(*unstructured.Unstructured) (bool, error),
) error {
	err := kube.Follow(ctx, dyn.Resource(resource).Namespace(namespace), metav1.ListOptions{LabelSelector: selector},
		func(list []unstructured.Unstructured) (bool, error) {
			for i := range list {
				if over, err := done(&list[i]); over || err != nil {
					return over, err
				}
			}
			return false, nil
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			if gone {
				return false, nil
			}
			return done(o)
		})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("waiting for %s of %s: %w", resource.Resource, selector, err)
	}
	return err
}

// Gone watches until no object of a resource that selector (labels) selects is
// left in namespace.
func Gone(ctx context.Context, dyn dynamic.Interface, resource schema.GroupVersionResource, namespace, selector string) error {
	left := map[string]bool{}
	err := kube.Follow(ctx, dyn.Resource(resource).Namespace(namespace), metav1.ListOptions{LabelSelector: selector},
		func(list []unstructured.Unstructured) (bool, error) {
			clear(left)
			for _, o := range list {
				left[o.GetName()] = true
			}
			return len(left) == 0, nil
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			if gone {
				delete(left, o.GetName())
			} else {
				left[o.GetName()] = true
			}
			return len(left) == 0, nil
		})
	if err != nil {
		return fmt.Errorf("waiting for %d %s of %s to go: %w", len(left), resource.Resource, selector, err)
	}
	return nil
}
