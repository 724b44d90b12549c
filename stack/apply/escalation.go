package apply

import (
	"context"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// escalation returns what an object needs beyond the right to write it.
func (r *rights) escalation(ctx context.Context, p Proposed, content *unstructured.Unstructured, set map[objectKey]*unstructured.Unstructured) ([]need, error) {
	if content == nil {
		return nil, nil
	}
	switch content.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: rbacGroup, Kind: "ClusterRole"}, schema.GroupKind{Group: rbacGroup, Kind: "Role"}:
		if p.Change == Configured && !touches(p, "rules", "aggregationRule") {
			return nil, nil // the server asks only about rules that change
		}
		if aggregated(content) { // whatever rules it says it has, others are put there
			content = content.DeepCopy()
			delete(content.Object, "rules")
		}
		verb := Missing{Verb: "escalate", Group: rbacGroup, Resource: resourceOf(p.Object.Kind), Namespace: p.Object.Namespace, Name: p.Object.Name}
		return needRules(verb, p.Object, content)
	case schema.GroupKind{Group: rbacGroup, Kind: "ClusterRoleBinding"}, schema.GroupKind{Group: rbacGroup, Kind: "RoleBinding"}:
		if p.Change == Configured && !touches(p, "roleRef", "subjects") {
			return nil, nil
		}
		return r.binding(ctx, p.Object, content, set)
	case schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:
		return r.policyParams(ctx, content)
	}
	return nil, nil
}

// policyParams: who writes a policy has to be able to read its parameters, and
// all there is, where the server does not serve their kind yet.
// Source: k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicy/authz.go.
func (r *rights) policyParams(ctx context.Context, content *unstructured.Unstructured) ([]need, error) {
	kind, _, _ := unstructured.NestedString(content.Object, "spec", "paramKind", "kind")
	version, _, _ := unstructured.NestedString(content.Object, "spec", "paramKind", "apiVersion")
	if kind == "" {
		return nil, nil
	}
	param := Missing{Verb: "get", Group: "*", Resource: "*", Name: "*", Namespace: "*", Why: "the parameters of " + ObjectOf(content).String()}
	served, err := r.applier.client.Mapper.Kinds(ctx) // and not those that the set brings
	if err != nil {
		return nil, err
	}
	of := schema.FromAPIVersionAndKind(version, kind).GroupKind()
	for _, m := range served {
		if m.Kind.GroupKind() == of {
			param.Group, param.Resource = m.Resource.Group, m.Resource.Resource
		}
	}
	return []need{{Missing: param}}, nil
}

func resourceOf(kind string) string { return strings.ToLower(kind) + "s" }

func touches(p Proposed, fields ...string) bool {
	if p.Unchecked != "" && len(p.Fields) == 0 {
		return true
	}
	for _, f := range p.Fields {
		for _, name := range fields {
			if rest, ok := strings.CutPrefix(f.Path, name); ok && (rest == "" || rest[0] == '/' || rest[0] == '[') {
				return true
			}
		}
	}
	return false
}

// binding returns what binding to a role needs: the verb bind, or its rules.
func (r *rights) binding(ctx context.Context, o Object, content *unstructured.Unstructured, set map[objectKey]*unstructured.Unstructured) ([]need, error) {
	kind, _, _ := unstructured.NestedString(content.Object, "roleRef", "kind")
	name, _, _ := unstructured.NestedString(content.Object, "roleRef", "name")
	role := Object{APIVersion: rbacGroup + "/v1", Kind: kind, Name: name}
	if kind == "Role" {
		role.Namespace = o.Namespace
	}
	verb := Missing{Verb: "bind", Group: rbacGroup, Resource: resourceOf(kind), Namespace: o.Namespace, Name: name, Why: "for " + o.String()}
	rules := set[role.key()]
	if rules == nil || aggregated(rules) {
		live, err := r.applier.read(ctx, role)
		switch {
		case err == nil:
			rules = live
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
			return []need{{Missing: verb}}, nil
		default:
			return nil, err
		}
	}
	return needRules(verb, o, rules)
}

// needRules returns the verb or, instead of it, all of a role's rules.
func needRules(verb Missing, o Object, role *unstructured.Unstructured) ([]need, error) {
	var parsed rbacv1.ClusterRole
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(role.Object, &parsed); err != nil {
		return nil, err
	}
	rules := parsed.Rules
	if aggregated(role) && len(rules) == 0 {
		// What will be aggregated is not known, so the server asks for everything.
		rules = []rbacv1.PolicyRule{
			{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
			{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
		}
	}
	verb.Why = "for " + o.String()
	n := need{Missing: verb, or: held(rules, o.Namespace)}
	if len(n.or) == 0 {
		return nil, nil // it gives nothing
	}
	return []need{n}, nil
}

// aggregated reports whether a controller of Kubernetes writes o's rules.
func aggregated(o *unstructured.Unstructured) bool {
	return o.GetKind() == "ClusterRole" && o.GroupVersionKind().Group == rbacGroup && o.Object["aggregationRule"] != nil
}

// held returns the single rights that rules give.
func held(rules []rbacv1.PolicyRule, namespace string) []Missing {
	var all []Missing
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range rule.Verbs {
			for _, path := range rule.NonResourceURLs {
				all = append(all, Missing{Verb: verb, Path: path})
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						all = append(all, Missing{Verb: verb, Group: group, Resource: resource, Name: name, Namespace: namespace})
					}
				}
			}
		}
	}
	return all
}
