package ready

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// Status is one object and its reading.
type Status struct {
	Object apply.Object `json:"object"`
	Reading
}

// Waiter waits for the objects of sets in one cluster.
type Waiter struct {
	client *kube.Client
	sink   progress.Sink
	within time.Duration
}

// New returns a Waiter that gives up after within.
func New(client *kube.Client, sink progress.Sink, within time.Duration) *Waiter {
	return &Waiter{client: client, sink: sink, within: within}
}

// Wait returns once every object of the set is Current and every service that
// its webhooks call has an endpoint. The first object that Failed, and the end
// of the time, are faults that say what is not ready and why, with the pods'
// last words.
func (w *Waiter) Wait(ctx context.Context, set string, objects []*unstructured.Unstructured) (err error) {
	groups, err := w.groups(ctx, set, objects)
	if err != nil {
		return err
	}
	return w.wait(ctx, "stack/"+set+"/ready", "waiting for "+set, set, groups)
}

// Served implements apply.Gate.
func (w *Waiter) Served(ctx context.Context, set string, services []types.NamespacedName) error {
	if len(services) == 0 {
		return nil
	}
	return w.wait(ctx, "stack/"+set+"/webhooks", "waiting for the webhooks of "+set, set, endpoints(services))
}

// Look reads every object of the set once.
func (w *Waiter) Look(ctx context.Context, set string, objects []*unstructured.Unstructured) ([]Status, error) {
	groups, err := w.groups(ctx, set, objects)
	if err != nil {
		return nil, err
	}
	board := newBoard(groups)
	group, inner := errgroup.WithContext(ctx)
	for _, g := range groups {
		group.Go(func() error {
			list, err := w.resource(g).List(inner, g.options)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			board.replace(g, list.Items)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, &fault.Error{Op: "looking at the component", Subject: set, Err: err}
	}
	return board.statuses(), nil
}

func (w *Waiter) wait(ctx context.Context, id, text, set string, groups []group) (err error) {
	board := newBoard(groups)
	task := progress.Start(w.sink, id, text, int64(board.total()), progress.Items)
	defer func() { task.End(err) }()
	limited, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	watching, stop := context.WithCancel(limited)
	defer stop()
	report := func() error {
		done, newly, failed := board.progress()
		if newly != 0 {
			task.Add(int64(newly))
		}
		if failed != nil {
			return &failure{*failed}
		}
		if done {
			stop()
		} else if text := board.news(); text != "" {
			w.sink.Send(progress.Event{Time: time.Now(), State: progress.Advanced, Task: id, Text: text, Done: int64(board.ready()), Total: int64(board.total()), Unit: progress.Items})
		}
		return nil
	}
	watchers, inner := errgroup.WithContext(watching)
	for _, g := range groups {
		watchers.Go(func() error {
			return kube.Follow(inner, w.resource(g), g.options,
				func(items []unstructured.Unstructured) (bool, error) { board.replace(g, items); return false, report() },
				func(o *unstructured.Unstructured, gone bool) (bool, error) {
					board.change(g, o, gone)
					return false, report()
				})
		})
	}
	err = watchers.Wait()
	if done, _, _ := board.progress(); done && ctx.Err() == nil {
		return nil
	}
	return w.explain(ctx, limited, set, board, err)
}

// failure is an object that failed for good.
type failure struct{ Status }

func (f *failure) Error() string { return f.Object.String() + ": " + f.Message }

// explain says why a wait ended without everything being ready.
func (w *Waiter) explain(ctx, limited context.Context, set string, board *board, err error) error {
	if ctx.Err() != nil {
		return &fault.Error{Op: "waiting for the component to be ready", Subject: set, Err: ctx.Err()}
	}
	var failed *failure
	timedOut := limited.Err() != nil
	if !errors.As(err, &failed) && !timedOut {
		return &fault.Error{Op: "waiting for the component to be ready", Subject: set, Err: err}
	}
	// The time to ask is a fresh one: the wait's own may be over.
	asking, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var lines []string
	for _, s := range board.statuses() {
		if s.State != Current {
			lines = append(lines, s.Object.String()+": "+join(string(s.State), s.Message))
			for _, word := range w.lastWords(asking, board.object(s.Object), s.Object) {
				lines = append(lines, "  "+word)
			}
		}
	}
	e := &fault.Error{Op: "waiting for the component to be ready", Subject: set, Hint: "see: kfdev logs " + set}
	if timedOut && failed == nil {
		e.Kind = fault.Timeout
		e.Err = fmt.Errorf("not ready after %s:\n%s", w.within, strings.Join(lines, "\n"))
		return e
	}
	e.Err = fmt.Errorf("failed:\n%s", strings.Join(lines, "\n"))
	return e
}

// group is what one list and one watch covers.
type group struct {
	mapping   kube.Mapping
	namespace string // empty: all of them
	options   metav1.ListOptions
	objects   []apply.Object
	read      func(*unstructured.Unstructured) Reading
	// service is the Service whose endpoint slices these are; the one object of
	// such a group is the Service.
	service string
}

func (w *Waiter) resource(g group) dynamic.ResourceInterface {
	return w.client.Dynamic.Resource(g.mapping.Resource).Namespace(g.namespace)
}

// groups sorts the set's objects by kind, and leaves out the kinds that are
// ready as soon as they are there.
func (w *Waiter) groups(ctx context.Context, set string, objects []*unstructured.Unstructured) ([]group, error) {
	byKind := map[kube.Mapping]*group{}
	var order []kube.Mapping
	for _, o := range objects {
		mapping, err := w.client.Mapper.Mapping(ctx, o.GroupVersionKind())
		if err != nil {
			return nil, &fault.Error{Op: "waiting for the component to be ready", Subject: set, Err: err}
		}
		if !mapping.Status || settled(o.GetKind()) {
			continue
		}
		g := byKind[mapping]
		if g == nil {
			reports, err := w.reports(ctx, mapping)
			if err != nil {
				return nil, &fault.Error{Op: "waiting for the component to be ready", Subject: set, Err: err}
			}
			g = &group{mapping: mapping, options: metav1.ListOptions{LabelSelector: apply.Selector(set)},
				read: func(o *unstructured.Unstructured) Reading { return Read(o, reports) }}
			byKind[mapping] = g
			order = append(order, mapping)
		}
		object := apply.ObjectOf(o)
		if mapping.Namespaced && object.Namespace == "" {
			object.Namespace = metav1.NamespaceDefault
		}
		g.objects = append(g.objects, object)
	}
	var all []group
	for _, mapping := range order {
		all = append(all, *byKind[mapping])
	}
	return append(all, endpoints(apply.Services(objects))...), nil
}

// reports says whether a controller surely reports on objects of this kind:
// Kubernetes' own do, and those that a set of kfdev's brought. Of another
// program's kinds (a mesh's, say) many have a status that nobody writes.
func (w *Waiter) reports(ctx context.Context, m kube.Mapping) (bool, error) {
	if !strings.Contains(m.Kind.Group, ".") {
		return true, nil
	}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	definition, err := w.client.Metadata.Resource(definitions).Get(ctx, m.Resource.Resource+"."+m.Resource.Group, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsForbidden(err):
		return false, nil
	case err != nil:
		return false, err
	}
	return apply.InSet(definition), nil
}

// settled reports whether objects of this kind are not waited for here: an
// apply waits for the kinds that it changes, and they are large.
func settled(kind string) bool { return kind == "Namespace" || kind == "CustomResourceDefinition" }

// endpoints makes a group of each service's endpoint slices.
func endpoints(services []types.NamespacedName) []group {
	var all []group
	for _, s := range services {
		all = append(all, group{
			mapping:   kube.Mapping{Kind: endpointSlices().GroupVersion().WithKind("EndpointSlice"), Resource: endpointSlices(), Namespaced: true},
			namespace: s.Namespace,
			options:   metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + s.Name},
			objects:   []apply.Object{{APIVersion: "v1", Kind: "Service", Namespace: s.Namespace, Name: s.Name}},
			service:   s.Name,
		})
	}
	return all
}

// serving reports whether any of a Service's endpoint slices has an endpoint
// that is ready.
func serving(slice *unstructured.Unstructured) bool {
	list, _, _ := unstructured.NestedSlice(slice.Object, "endpoints")
	return slices.ContainsFunc(list, func(each any) bool {
		m, ok := each.(map[string]any)
		if !ok {
			return false
		}
		// No word on readiness means ready, as the API says.
		is, found, err := unstructured.NestedBool(m, "conditions", "ready")
		return err == nil && (!found || is)
	})
}
