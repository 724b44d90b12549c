package policy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// How the cluster is looked through.
const (
	parallelLists = 8
	pageSize      = 250 // objects of one answer
)

// Retain returns which of the digests of old that are not of new something in
// the cluster still names, as text@sha256:…: pods, templates, jobs, and custom
// resources of any kind (notebooks, workflows, runs). These have to stay
// allowed, else what is there could not start again. Where a kind can't be read
// it fails, since nobody knows then.
func Retain(ctx context.Context, client *kube.Client, old, new []string) (kept []string, err error) {
	candidates := map[string]bool{}
	for _, d := range old {
		if !slices.Contains(new, d) {
			candidates[d] = true
		}
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	fail := func(hint string, err error) ([]string, error) {
		return nil, &fault.Error{Op: "looking for what still names images of before", Hint: hint, Err: err}
	}
	kinds, err := client.Mapper.Kinds(ctx)
	if err != nil {
		return fail("", err)
	}
	var group errgroup.Group
	group.SetLimit(parallelLists)
	var mu sync.Mutex
	found := map[string]bool{}
	var problems []error
	for _, kind := range kinds {
		if !kind.List || !namesImages(kind.Kind.GroupKind()) {
			continue
		}
		group.Go(func() error {
			named, err := scan(ctx, client, kind.Resource, candidates)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range named {
				found[d] = true
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", kind.Resource.GroupResource(), err))
			}
			return nil
		})
	}
	_ = group.Wait() // the problems are gathered beside it
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return fail("the right to list them in all namespaces is needed", errors.Join(problems...))
	}
	for d := range found {
		kept = append(kept, d)
	}
	slices.Sort(kept)
	return kept, nil
}

// namesImages reports whether objects of the kind may make pods: of Kubernetes'
// own kinds few do, of all others any might.
func namesImages(kind schema.GroupKind) bool {
	switch kind.Group {
	case "":
		return kind.Kind == "Pod" || kind.Kind == "PodTemplate" || kind.Kind == "ReplicationController"
	case "apps", "batch":
		return true
	case "policy", "autoscaling", "extensions", Resource().Group:
		return false
	}
	return !strings.HasSuffix(kind.Group, ".k8s.io")
}

// scan returns the candidates that objects of one resource name.
func scan(ctx context.Context, client *kube.Client, resource schema.GroupVersionResource, candidates map[string]bool) ([]string, error) {
	form := regexp.MustCompile(`@(sha256:[0-9a-f]{64})`)
	var named []string
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := client.Dynamic.Resource(resource).List(ctx, options)
		switch {
		case apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
			return named, nil // the kind went meanwhile
		case apierrors.IsResourceExpired(err) && options.Continue != "":
			options.Continue = "" // it took too long to page through: from the start
			continue
		case err != nil:
			return named, err
		}
		for i := range list.Items {
			texts(withoutFields(&list.Items[i]), func(s string) {
				for _, m := range form.FindAllStringSubmatch(s, -1) {
					if candidates[m[1]] {
						named = append(named, m[1])
					}
				}
			})
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return named, nil
		}
	}
}

// withoutFields drops what only says who wrote the object.
func withoutFields(o *unstructured.Unstructured) any {
	o.SetManagedFields(nil)
	return o.Object
}

// texts calls with every text in a value.
func texts(v any, with func(string)) {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "@sha256:") {
			with(v)
		}
	case []any:
		for _, each := range v {
			texts(each, with)
		}
	case map[string]any:
		for _, each := range v {
			texts(each, with)
		}
	}
}
