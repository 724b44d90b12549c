package drift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/stack/noise"
)

// manyOfAKind is from how many objects of one kind and namespace on they are
// listed at once instead of read one by one.
const manyOfAKind = 4

// look reads the suspects whole and compares each with the release.
func (s *scan) look(ctx context.Context, suspects []*want) error {
	if len(suspects) == 0 {
		return nil
	}
	rules, err := s.facts(ctx)
	if err != nil {
		return err
	}
	type place struct {
		kind      groupKind
		namespace string
	}
	batches := map[place][]*want{}
	for _, w := range suspects {
		k := keyOf(w.object)
		p := place{groupKind{k.group, k.kind}, k.namespace}
		batches[p] = append(batches[p], w)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for p, batch := range batches {
		group.Go(func() error {
			found, err := s.fetch(ctx, p.namespace, batch)
			if err != nil {
				return err
			}
			inner, ctx := errgroup.WithContext(ctx)
			inner.SetLimit(parallel)
			for _, w := range batch {
				inner.Go(func() error { return s.judge(ctx, rules, w, found[w.object.Name]) })
			}
			return inner.Wait()
		})
	}
	return group.Wait()
}

// fetched is one object as it was read, or why it was not.
type fetched struct {
	object *unstructured.Unstructured
	err    error
}

// fetch reads objects of one kind and namespace.
func (s *scan) fetch(ctx context.Context, namespace string, batch []*want) (map[string]fetched, error) {
	found := map[string]fetched{}
	mapping := batch[0].mapping
	if len(batch) >= manyOfAKind {
		all, err := s.objects(ctx, mapping, namespace)
		if err == nil {
			for _, o := range all {
				found[o.GetName()] = fetched{object: o}
			}
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, w := range batch {
		group.Go(func() error {
			o, err := s.client.Dynamic.Resource(mapping.Resource).Namespace(namespace).Get(ctx, w.object.Name, metav1.GetOptions{})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			found[w.object.Name] = fetched{o, err}
			return nil
		})
	}
	return found, group.Wait()
}

// judge compares one object with the release.
func (s *scan) judge(ctx context.Context, rules noise.Rules, w *want, live fetched) error {
	switch {
	case live.err == nil && live.object == nil, apierrors.IsNotFound(live.err):
		s.add(w.finding(Deleted, "it was deleted while kfdev looked"))
		return nil
	case live.err != nil:
		f := w.finding(Unknown, "it cannot be read: "+live.err.Error())
		f.Count = 1
		s.add(f)
		return nil
	}
	o := live.object
	k := keyOf(w.object)
	r := recordOf(k, o, rules)
	if s.baseline != nil && r.Content != "" {
		// It was written to, and yet is what it was: content and owners.
		if before, ok := s.baseline.Objects[k]; ok && before.UID == r.UID && before.Content == r.Content && before.Owners == r.Owners {
			s.settle(k, r)
			return nil
		}
	}
	findings, err := s.compare(ctx, rules, w, o)
	if err != nil {
		return err
	}
	if len(findings) == 0 {
		s.settle(k, r)
	}
	s.add(findings...)
	return nil
}

func (s *scan) settle(k key, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled[k] = r
}

// compare returns how one object differs from the release.
func (s *scan) compare(ctx context.Context, rules noise.Rules, w *want, o *unstructured.Unstructured) ([]Finding, error) {
	content := w.content()
	c := newComparison(w, content.DeepCopy(), o.DeepCopy(), rules.Against(content).Find(o))
	c.seen = seen{hash: func(o *unstructured.Unstructured) string { return noise.Hash(rules.Strip(o)) }}.at(o)
	c.run()
	if c.suspicious() {
		// The server writes some values in another way than they were sent in:
		// 1000m is 1. Only it can tell that from a change.
		normal, err := s.dryRun(ctx, w, content)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.confirm(normal, err)
	}
	if w.derived {
		return ofMade(c.findings), nil
	}
	return c.findings, nil
}

// dryRun asks what the object would be if the release were applied again, with
// every field taken back.
func (s *scan) dryRun(ctx context.Context, w *want, content *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if len(w.shares) != 1 {
		return nil, errors.New("it is not of one set alone")
	}
	data, err := json.Marshal(content.Object)
	if err != nil {
		return nil, err
	}
	force := true
	o, err := s.client.Dynamic.Resource(w.mapping.Resource).Namespace(w.object.Namespace).Patch(ctx, w.object.Name, types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: w.shares[0].manager, Force: &force, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return nil, fmt.Errorf("the server does not say how it would write it: %w", err)
	}
	return o, nil
}
