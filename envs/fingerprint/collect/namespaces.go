package collect

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/profiles"
)

// contract is something that decides in a namespace, an item of its own:
// NAMESPACE.quota, NAMESPACE.roles.
type contract struct {
	name, group, resource, kind string
	of                          func(*unstructured.Unstructured) any
}

func contracts(own released) []contract {
	spec := func(o *unstructured.Unstructured) any { return o.Object["spec"] }
	return []contract{
		{"quota", "", "resourcequotas", "ResourceQuota", spec},
		{"limits", "", "limitranges", "LimitRange", spec},
		{"network-policies", "networking.k8s.io", "networkpolicies", "NetworkPolicy", spec},
		{"pod-defaults", "kubeflow.org", "poddefaults", "PodDefault", func(o *unstructured.Unstructured) any { return digestOf(o.Object["spec"]) }},
		{"roles", "rbac.authorization.k8s.io", "roles", "Role", func(o *unstructured.Unstructured) any { return digestOf(o.Object["rules"]) }},
		{"role-bindings", "rbac.authorization.k8s.io", "rolebindings", "RoleBinding", own.binding},
	}
}

// binding is whom a role is bound to. Who owns a profile is declared for each
// environment, and counts there: here it is only said that it is the owner.
func (r released) binding(o *unstructured.Unstructured) any {
	role, _, _ := unstructured.NestedMap(o.Object, "roleRef")
	var people, accounts []string
	subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
	for _, each := range subjects {
		subject, _ := each.(map[string]any)
		owner := r.owners[o.GetNamespace()]
		switch {
		case subject["kind"] == "ServiceAccount":
			accounts = append(accounts, fmt.Sprintf("%v/%v", subject["namespace"], subject["name"]))
		case owner != nil && subject["kind"] == owner["kind"] && subject["name"] == owner["name"]:
			people = append(people, "the profile's owner")
		default:
			people = append(people, fmt.Sprintf("%v/%v", subject["kind"], subject["name"]))
		}
	}
	return map[string]any{"role": fmt.Sprintf("%v/%v", role["kind"], role["name"]), "people": fingerprint.Set(people...).Is, "accounts": fingerprint.Set(accounts...).Is}
}

// namespaces reads what decides in the stack's and the profiles' namespaces. A
// namespace that is not there has no items.
func namespaces(ctx context.Context, r *reader) dimensions {
	found := map[string]fingerprint.Value{}
	there := map[string]bool{}
	for _, namespace := range r.options.Namespaces {
		v, ok := r.podSecurity(ctx, namespace)
		if there[namespace] = ok; ok {
			found[named(namespace, "pod-security")] = v
		}
	}
	own := releasedOf(r.options.Release)
	for _, c := range contracts(own) {
		all, whys := r.inEach(ctx, c.group, c.resource)
		for _, namespace := range r.options.Namespaces {
			item := named(namespace, c.name)
			switch why := whys[namespace]; {
			case !there[namespace]:
			case why != "":
				found[item] = fingerprint.Value{Unknown: why}
			default:
				v := map[string]any{}
				for i := range all[namespace] {
					if o := &all[namespace][i]; !own.has(c, o) {
						v[o.GetName()] = c.of(o)
					}
				}
				found[item] = value(v)
			}
		}
	}
	return dimensions{fingerprint.Namespaces: items(found)}
}

// place is an object's.
type place struct{ group, kind, namespace, name string }

// released is what a release has in namespaces: its own objects, and what its
// profiles say, by profile.
type released struct {
	objects map[place]bool
	quotas  map[string]map[string]any
	owners  map[string]map[string]any // kind and name
}

func releasedOf(objects []*unstructured.Unstructured) released {
	r := released{objects: map[place]bool{}, quotas: map[string]map[string]any{}, owners: map[string]map[string]any{}}
	for _, o := range objects {
		kind := o.GroupVersionKind()
		r.objects[place{kind.Group, kind.Kind, o.GetNamespace(), o.GetName()}] = true
		if kind.Group == profiles.Group && kind.Kind == "Profile" {
			r.quotas[o.GetName()], _, _ = unstructured.NestedMap(o.Object, "spec", "resourceQuotaSpec", "hard")
			r.owners[o.GetName()], _, _ = unstructured.NestedMap(o.Object, "spec", "owner")
		}
	}
	return r
}

// has reports whether an object is the release's own, or the quota of one of its
// profiles and just as that says. These are compared with the release, and what
// is declared of them counts once.
func (r released) has(c contract, o *unstructured.Unstructured) bool {
	if r.objects[place{c.group, c.kind, o.GetNamespace(), o.GetName()}] {
		return true
	}
	says, ok := r.quotas[o.GetNamespace()]
	if c.kind != "ResourceQuota" || o.GetName() != profiles.QuotaName || !ok {
		return false
	}
	hard, _, _ := unstructured.NestedMap(o.Object, "spec", "hard")
	return sameAmounts(says, hard)
}

func sameAmounts(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for name, v := range a {
		one, errOne := resource.ParseQuantity(fmt.Sprint(v))
		two, errTwo := resource.ParseQuantity(fmt.Sprint(b[name]))
		if errOne != nil || errTwo != nil || one.Cmp(two) != 0 {
			return false
		}
	}
	return true
}

// podSecurity reads the labels that say what pods may do; ok is false where the
// namespace is known not to be there.
func (r *reader) podSecurity(ctx context.Context, namespace string) (v fingerprint.Value, ok bool) {
	o, err := r.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fingerprint.Value{}, false
	}
	if err != nil {
		return fingerprint.Value{Unknown: reason(err, "get the namespace "+namespace)}, true
	}
	labels := map[string]any{}
	for k, v := range o.GetLabels() {
		if name, is := strings.CutPrefix(k, "pod-security.kubernetes.io/"); is {
			labels[name] = v
		}
	}
	return value(labels), true
}
