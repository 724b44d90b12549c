package drift

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// meta is the metadata of a live object.
type meta = metav1.PartialObjectMetadata

// listing is what the cluster has of one kind.
type listing struct {
	mapping kube.Mapping
	items   []*meta
	err     error // it may not be read
}

// pageSize bounds one answer. A kind with more objects than that in the whole
// cluster is asked for namespace by namespace, so that the cost is that of the
// environment and not of its neighbours.
const pageSize = 10_000

// list reads the metadata of everything that is wanted, and of everything in
// the environment's namespaces.
func (s *scan) list(ctx context.Context) error {
	kinds, err := s.client.Mapper.Kinds(ctx)
	if err != nil {
		return err
	}
	s.lists, s.live = map[groupKind]*listing{}, map[key]*meta{}
	for _, w := range s.wants {
		if w.mapping.Resource.Resource != "" {
			s.lists[groupKind{w.mapping.Kind.Group, w.mapping.Kind.Kind}] = &listing{mapping: w.mapping}
		}
	}
	for _, m := range kinds {
		k := groupKind{m.Kind.Group, m.Kind.Kind}
		if s.lists[k] == nil && s.looksThrough(m) {
			s.lists[k] = &listing{mapping: m}
		}
	}
	spaces := s.namespaces()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for k, l := range s.lists {
		group.Go(func() error {
			l.items, l.err = s.metadata(ctx, l.mapping, spaces)
			if apierrors.IsNotFound(l.err) || apierrors.IsMethodNotSupported(l.err) {
				l.err = nil // not served any more: what is wanted of it is not there
			}
			if l.err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range l.items {
				s.live[key{k.group, k.kind, m.Namespace, m.Name}] = m
			}
			return nil
		})
	}
	return group.Wait()
}

// metadata lists one kind: in the whole cluster, or, where that is too much or
// not allowed, in each of the environment's namespaces.
func (s *scan) metadata(ctx context.Context, m kube.Mapping, spaces []string) ([]*meta, error) {
	if !m.Namespaced {
		items, _, err := s.pages(ctx, m, "", true)
		return items, err
	}
	items, whole, err := s.pages(ctx, m, "", false)
	if whole || err != nil && !apierrors.IsForbidden(err) {
		return items, err
	}
	items = nil
	for _, space := range spaces {
		in, _, err := s.pages(ctx, m, space, true)
		if err != nil {
			return nil, err
		}
		items = append(items, in...)
	}
	return items, nil
}

// pages lists what a namespace has; all says whether to go on after a page.
func (s *scan) pages(ctx context.Context, m kube.Mapping, namespace string, all bool) (items []*meta, whole bool, err error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := s.client.Metadata.Resource(m.Resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, false, err
		}
		for i := range list.Items {
			items = append(items, &list.Items[i])
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return items, true, nil
		}
		if !all {
			return nil, false, nil
		}
	}
}

// objects reads a kind whole, in one namespace or all.
func (s *scan) objects(ctx context.Context, m kube.Mapping, namespace string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	options := metav1.ListOptions{Limit: 1000}
	for {
		list, err := s.client.Dynamic.Resource(m.Resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return out, nil
		}
	}
}

// namespaces returns the namespaces that the release has objects in, or brings.
func (s *scan) namespaces() []string {
	seen := map[string]bool{}
	for _, w := range s.wants {
		switch {
		case w.object.Namespace != "":
			seen[w.object.Namespace] = true
		case isNamespace(w.object):
			seen[w.object.Name] = true
		case w.team && w.object.Kind == "Profile":
			seen[w.object.Name] = true
		}
	}
	var out []string
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// unreadable reports the kinds that may not be read: once each, with how many
// objects of the release that leaves in the dark.
func (s *scan) unreadable() {
	count, proven := map[groupKind]int{}, map[groupKind]int{}
	for k := range s.wants {
		kind := groupKind{k.group, k.kind}
		count[kind]++
		if s.baseline.has(k) {
			proven[kind]++
		}
	}
	for k, l := range s.lists {
		if l.err == nil {
			continue
		}
		why := fmt.Sprintf("%s cannot be listed, so that nothing is known of foreign ones", l.mapping.Resource.Resource)
		if n := count[k]; n > 0 {
			why = fmt.Sprintf("%s cannot be listed, so that nothing is known of the %d of the release", l.mapping.Resource.Resource, n)
		}
		settled := s.baseline != nil && apierrors.IsForbidden(l.err) && proven[k] == count[k]
		s.add(Finding{Class: Unknown, Count: count[k], Settled: settled, Why: why + ": " + l.err.Error(),
			Object: apply.Object{APIVersion: l.mapping.Kind.GroupVersion().String(), Kind: l.mapping.Kind.Kind, Name: "*"}})
	}
}
