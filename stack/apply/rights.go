package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Planned is a set with what is to be done for it.
type Planned struct {
	Set      Set
	Proposal Proposal
	// Mends says that the proposal's objects are written one by one: nothing is
	// recorded of them, and nothing waited for.
	Mends bool
}

// Missing is a right that carrying out a plan needs and the caller lacks.
type Missing struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource,omitempty"`
	Path      string `json:"path,omitempty"` // of what is no resource
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Why it is needed, where the plan's objects alone do not say: a role whose
	// rights the caller would have to hold.
	Why string `json:"why,omitempty"`
}

// String writes it as one would ask: patch deployments.apps in kubeflow.
func (m Missing) String() string {
	what := schema.GroupResource{Group: m.Group, Resource: m.Resource}.String()
	if m.Path != "" {
		what = m.Path
	}
	if m.Name != "" {
		what += " " + m.Name
	}
	return m.of(what)
}

// Refuse returns an error that names what is missing, nil where nothing is.
func Refuse(missing []Missing) error {
	if len(missing) == 0 {
		return nil
	}
	return &fault.Error{Op: "checking the rights", Kind: fault.Preflight, Err: fmt.Errorf("missing: %s", strings.Join(told(missing), "; ")),
		Hint: "the ClusterRole kfdev-promoter has what is needed; see docs/rights.md"}
}

// Rights asks the server whether the caller may do everything that carrying out
// the plans takes, and returns what it may not. That it may write a role does not
// mean that it may put those rules there: they have to be held, too, or the verb
// escalate; for a binding, those of its role, or the verb bind.
// Source: kubernetes.io/docs/reference/access-authn-authz/rbac (privilege
// escalation prevention). Beside is what the caller will need for more than the
// plans.
func (a *Applier) Rights(ctx context.Context, plans []Planned, beside ...Missing) ([]Missing, error) {
	r := &rights{applier: a, answers: map[Missing]bool{}, contents: map[objectKey]*unstructured.Unstructured{}}
	for _, p := range plans {
		if err := r.learn(ctx, p.Set); err != nil {
			return nil, &fault.Error{Op: "checking the rights", Subject: p.Set.Name, Err: err}
		}
	}
	needs, err := r.beside(ctx, beside)
	if err != nil {
		return nil, &fault.Error{Op: "checking the rights", Err: err}
	}
	for _, p := range plans {
		more, err := r.ofPlan(ctx, p)
		if err != nil {
			return nil, &fault.Error{Op: "checking the rights", Subject: p.Set.Name, Err: err}
		}
		needs = append(needs, more...)
	}
	missing, err := r.lacking(ctx, needs)
	if err != nil {
		return nil, &fault.Error{Op: "checking the rights", Err: err}
	}
	return missing, nil
}

// need is one right, or another that does as well.
type need struct {
	Missing
	or []Missing // all of them together do instead
}

// rights asks for rights, each once.
type rights struct {
	applier *Applier
	// contents are the objects of all plans, as they would be written.
	contents map[objectKey]*unstructured.Unstructured

	mu      sync.Mutex
	answers map[Missing]bool
}

// learn takes in what the objects of a set say.
func (r *rights) learn(ctx context.Context, set Set) error {
	w := &work{}
	if err := r.applier.prepare(ctx, set, w); err != nil {
		return err
	}
	for _, i := range w.items {
		r.contents[i.object.key()] = i.content
	}
	return nil
}

// ofPlan returns what one plan needs.
func (r *rights) ofPlan(ctx context.Context, p Planned) ([]need, error) {
	var needs []need
	mappings := map[Object]kube.Mapping{}
	for _, o := range p.Proposal.Objects {
		mapping, err := r.applier.client.Mapper.Mapping(ctx, o.Object.GroupVersionKind())
		var unknown *kube.UnknownKindError
		if errors.As(err, &unknown) {
			continue // that it is not served is told when it is planned
		}
		if err != nil {
			return nil, err
		}
		mappings[o.Object] = mapping
		for _, verb := range verbs(o, p.Mends) {
			namespace := o.Object.Namespace
			if verb == "list" {
				namespace = "" // what carries the set's label, wherever it is
			}
			needs = append(needs, need{Missing: Missing{Verb: verb, Group: mapping.Resource.Group, Resource: mapping.Resource.Resource, Namespace: namespace}})
		}
		if o.Change == Created || o.Change == Configured {
			content, err := r.content(ctx, p, o)
			if err != nil {
				return nil, err
			}
			more, err := r.escalation(ctx, o, content, r.contents)
			if err != nil {
				return nil, err
			}
			needs = append(needs, more...)
		}
	}
	if p.Mends {
		return needs, nil
	}
	return append(append(needs, waiting(p, mappings)...), inventoryNeeds(p.Set)...), nil
}

// inventoryNeeds is what recording what a set holds needs, or that it is gone.
func inventoryNeeds(set Set) []need {
	needs := []need{
		{Missing: Missing{Verb: "create", Resource: "namespaces"}}, {Missing: Missing{Verb: "patch", Resource: "namespaces"}},
	}
	verbs := []string{"get", "create", "patch"}
	if set.Leaves {
		verbs = append(verbs, "delete")
	}
	for _, verb := range verbs {
		needs = append(needs, need{Missing: Missing{Verb: verb, Resource: "configmaps", Namespace: SystemNamespace}})
	}
	return needs
}

// lacking asks for every need and returns those that are not met, each once.
func (r *rights) lacking(ctx context.Context, needs []need) ([]Missing, error) {
	var mu sync.Mutex
	missing := map[Missing]bool{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, n := range needs {
		group.Go(func() error {
			lacks, err := r.lacks(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range lacks {
				missing[m] = true
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := make([]Missing, 0, len(missing))
	for m := range missing {
		all = append(all, m)
	}
	return distinct(all), nil
}

func (r *rights) lacks(ctx context.Context, n need) ([]Missing, error) {
	if ok, err := r.may(ctx, n.Missing); ok || err != nil {
		return nil, err
	}
	if len(n.or) == 0 {
		return []Missing{n.Missing}, nil
	}
	var lacks []Missing
	for _, other := range n.or {
		ok, err := r.may(ctx, other)
		if err != nil {
			return nil, err
		}
		if !ok {
			other.Why = n.Why
			lacks = append(lacks, other)
		}
	}
	return lacks, nil
}

// may asks whether the caller has a right: everywhere first, for one answer
// there does for every namespace.
func (r *rights) may(ctx context.Context, m Missing) (bool, error) {
	m.Why = ""
	if m.Namespace != "" {
		everywhere := m
		everywhere.Namespace = ""
		if ok, err := r.ask(ctx, everywhere); ok || err != nil {
			return ok, err
		}
	}
	return r.ask(ctx, m)
}

func (r *rights) ask(ctx context.Context, m Missing) (bool, error) {
	r.mu.Lock()
	answer, known := r.answers[m]
	r.mu.Unlock()
	if known {
		return answer, nil
	}
	review := authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
	}
	if m.Path != "" {
		review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: m.Path, Verb: m.Verb}
	} else {
		resource, sub, _ := strings.Cut(m.Resource, "/")
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Namespace: m.Namespace, Verb: m.Verb, Group: m.Group, Version: "*", Resource: resource, Subresource: sub, Name: m.Name,
		}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&review)
	if err != nil {
		return false, err
	}
	resource := authorizationv1.SchemeGroupVersion.WithResource("selfsubjectaccessreviews")
	told, err := r.applier.client.Dynamic.Resource(resource).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	answer, _, _ = unstructured.NestedBool(told.Object, "status", "allowed")
	r.mu.Lock()
	r.answers[m] = answer
	r.mu.Unlock()
	return answer, nil
}
