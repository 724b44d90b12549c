package apply

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/kube"
)

// Need returns the rights to do something with a resource, to be asked for by
// Rights: verbs with blanks between them, and the resource as kubectl names it
// ("deployments.apps", "pods/log"). Without a namespace they are needed in all.
func Need(why, verbs, resource, namespace string) []Missing {
	of := schema.ParseGroupResource(resource)
	var all []Missing
	for _, verb := range strings.Fields(verbs) {
		all = append(all, Missing{Verb: verb, Group: of.Group, Resource: of.Resource, Namespace: namespace, Why: why})
	}
	return all
}

// verbs are what writing an object takes, and seeing what became of it.
func verbs(o Proposed, mends bool) []string {
	if mends {
		switch o.Change {
		case Created:
			return []string{"create", "patch"}
		case Configured:
			return []string{"get", "patch"}
		case Deleted:
			return []string{"delete"}
		case Unchanged, Skipped:
		}
		return nil
	}
	all := []string{"get", "list"}
	switch o.Change {
	case Created:
		all = append(all, "create", "patch")
	case Configured:
		all = append(all, "patch")
	case Deleted:
		all = append(all, "watch", "delete")
	case Unchanged, Skipped:
	}
	if o.Reason == beingDeleted || o.Change != Unchanged && o.Object.Kind == "CustomResourceDefinition" {
		all = append(all, "watch") // until it is gone, or served
	}
	return all
}

// waiting is what waiting for the objects of a set takes: those that have a
// status are watched, wherever they are, and the endpoints of what webhooks call.
func waiting(p Planned, mappings map[Object]kube.Mapping) []need {
	var all []Missing
	for _, o := range p.Proposal.Objects {
		m, served := mappings[o.Object]
		if !served || !m.Status || o.Change == Deleted || o.Change == Skipped || o.Object.Kind == "Namespace" || o.Object.Kind == "CustomResourceDefinition" {
			continue
		}
		all = append(all, Missing{Verb: "watch", Group: m.Resource.Group, Resource: m.Resource.Resource, Why: "to see when it is ready"})
	}
	for _, service := range Services(p.Set.Objects) {
		all = append(all, Need("to see whether the webhook "+service.Name+" is served", "list watch", "endpointslices.discovery.k8s.io", service.Namespace)...)
	}
	return needsOf(all)
}

func needsOf(all []Missing) []need {
	needs := make([]need, len(all))
	for n, m := range all {
		needs[n] = need{Missing: m}
	}
	return needs
}

// content is what would be written of an object; of one that another program
// made and that is mended, what is there.
func (r *rights) content(ctx context.Context, p Planned, o Proposed) (*unstructured.Unstructured, error) {
	content := r.contents[o.Object.key()]
	if content != nil || !p.Mends || o.Object.GroupVersionKind().Group != rbacGroup {
		return content, nil
	}
	live, err := r.applier.read(ctx, o.Object)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil //nolint:nilnil // mending it will say so
	}
	return live, err
}

// beside is what is needed for more than the plans. Binding to a role takes the
// verb, or the role's rules.
func (r *rights) beside(ctx context.Context, all []Missing) ([]need, error) {
	var needs []need
	for _, m := range all {
		if m.Verb != "bind" || m.Name == "" {
			needs = append(needs, need{Missing: m})
			continue
		}
		kind := "Role"
		if m.Resource == resourceOf("ClusterRole") {
			kind = "ClusterRole"
		}
		binding := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": rbacGroup + "/v1", "kind": "RoleBinding", "metadata": map[string]any{"namespace": m.Namespace},
			"roleRef": map[string]any{"kind": kind, "name": m.Name},
		}}
		more, err := r.binding(ctx, ObjectOf(binding), binding, r.contents)
		if err != nil {
			return nil, err
		}
		for n := range more {
			more[n].Why = m.Why
		}
		needs = append(needs, more...)
	}
	return needs, nil
}

// distinct leaves each right once where several are needed for it: one that
// says why it is, before one that does not.
func distinct(all []Missing) []Missing {
	slices.SortFunc(all, func(a, b Missing) int { return strings.Compare(a.String(), b.String()) })
	named := map[Missing]bool{}
	for _, m := range all {
		if m.Why != "" {
			m.Why = ""
			named[m] = true
		}
	}
	return slices.DeleteFunc(all, func(m Missing) bool { return m.Why == "" && named[m] })
}

// told are the rights as an error lists them: what is needed of many resources
// for one reason stands together.
func told(missing []Missing) []string {
	type alike struct{ verb, namespace, why string }
	var lines []string
	at := map[alike]int{}
	resources := map[alike][]string{}
	for _, m := range missing {
		k := alike{m.Verb, m.Namespace, m.Why}
		if m.Path != "" || m.Name != "" {
			lines = append(lines, m.String())
			continue
		}
		if len(resources[k]) == 0 {
			at[k] = len(lines)
			lines = append(lines, "")
		}
		resources[k] = append(resources[k], schema.GroupResource{Group: m.Group, Resource: m.Resource}.String())
	}
	for k, n := range at {
		line := Missing{Verb: k.verb, Namespace: k.namespace, Why: k.why}
		lines[n] = line.of(strings.Join(resources[k], ", "))
	}
	return lines
}

// of writes a right to what is given.
func (m Missing) of(what string) string {
	text := m.Verb + " " + what
	if m.Namespace != "" {
		text += " in " + m.Namespace
	}
	if m.Why != "" {
		text += " (" + m.Why + ")"
	}
	return text
}
