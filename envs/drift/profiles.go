package drift

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/stack/apply"
)

// derive adds what the Profile controller makes of the release's profiles: the
// owner that it writes to the namespace and binds to the admin's role, and the
// quota. Who edits these by hand edits the profile.
// Source: github.com/kubeflow/kubeflow/components/profile-controller,
// controllers/profile_controller.go.
func (d *Detector) derive(ctx context.Context, wants map[key]*want) error {
	var profiles []*want
	for k, w := range wants {
		if w.team && k.group == "kubeflow.org" && k.kind == "Profile" {
			profiles = append(profiles, w)
		}
	}
	for _, p := range profiles {
		for _, o := range ofProfile(p.source) {
			w := &want{object: apply.ObjectOf(o), source: o, set: p.set, team: true, derived: true}
			mapping, err := d.client.Mapper.Mapping(ctx, w.object.GroupVersionKind())
			var unknown *kube.UnknownKindError
			if err != nil && !errors.As(err, &unknown) {
				return err
			}
			w.mapping, w.generation = mapping, counts(mapping)
			if k := keyOf(w.object); wants[k] == nil {
				wants[k] = w
			}
		}
	}
	return nil
}

// ofProfile returns the parts of objects that a profile decides.
func ofProfile(profile *unstructured.Unstructured) []*unstructured.Unstructured {
	name := profile.GetName()
	owner, _, _ := unstructured.NestedMap(profile.Object, "spec", "owner")
	out := []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "annotations": map[string]any{"owner": owner["name"]}}}},
		{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": profiles.OwnerBinding, "namespace": name},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubeflow-admin"},
			"subjects": []any{owner},
		}},
	}
	if hard, _, _ := unstructured.NestedMap(profile.Object, "spec", "resourceQuotaSpec", "hard"); len(hard) > 0 {
		out = append(out, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ResourceQuota", "metadata": map[string]any{"name": profiles.QuotaName, "namespace": name},
			"spec": map[string]any{"hard": asServed(hard)},
		}})
	}
	return out
}

// asServed writes amounts as the server does: a profile, like every custom
// resource, keeps them as they were written.
func asServed(hard map[string]any) map[string]any {
	out := make(map[string]any, len(hard))
	for name, v := range hard {
		out[name] = v
		if q, err := resource.ParseQuantity(fmt.Sprint(v)); err == nil {
			out[name] = q.String()
		}
	}
	return out
}

// ofMade returns the findings that count for an object that another program
// makes: not what it adds, nor who owns what, but that what the release decides
// is so.
func ofMade(findings []Finding) []Finding {
	var out []Finding
	for _, f := range findings {
		says := f.steps[0].Key == "spec" || f.steps[0].Key == "subjects" || f.steps[0].Key == "roleRef"
		if f.Class == Changed || f.Class == Lost || f.Class == ForeignField && says {
			f.Why = "the Profile controller makes it of the profile, and it is not what the profile says"
			f.made = true
			out = append(out, f)
		}
	}
	return out
}
