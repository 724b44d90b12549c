package profiles

import (
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Names of Kubeflow's.
const (
	// OwnerAnnotation of a namespace names the user whom it belongs to. The
	// Profile controller takes over only a namespace that says so, and never
	// writes it to one that is there.
	// Source: github.com/kubeflow/kubeflow/components/profile-controller,
	// controllers/profile_controller.go.
	OwnerAnnotation = "owner"
	// Group is the API group of profiles.
	Group = "kubeflow.org"
	// QuotaName and OwnerBinding are what the Profile controller calls a team's
	// quota and its owner's rights.
	QuotaName    = "kf-resource-quota"
	OwnerBinding = "namespaceAdmin"
)

// Objects returns what a profile is in a cluster. The namespace is kfdev's and
// not the controller's, so that it stays when the profile goes.
func Objects(p Profile) []*unstructured.Unstructured {
	spec := map[string]any{"owner": map[string]any{"kind": "User", "name": p.Owner}}
	if len(p.Quota) > 0 {
		hard := map[string]any{}
		for name, amount := range p.Quota {
			hard[name] = string(amount)
		}
		spec["resourceQuotaSpec"] = map[string]any{"hard": hard}
	}
	objects := []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": p.Name, "annotations": map[string]any{OwnerAnnotation: p.Owner}},
		}},
		{Object: map[string]any{
			"apiVersion": Group + "/v1", "kind": "Profile",
			"metadata": map[string]any{"name": p.Name}, "spec": spec,
		}},
	}
	for _, c := range p.Contributors {
		objects = append(objects, binding(p.Name, c))
	}
	return objects
}

// binding gives a contributor their role, as Kubeflow's access management does
// it, whose list of contributors shows it then.
// Source: github.com/kubeflow/kubeflow/components/access-management,
// kfam/bindings.go.
func binding(namespace string, c Contributor) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
		"metadata": map[string]any{
			"name": bindingName(c), "namespace": namespace,
			"annotations": map[string]any{"user": c.User, "role": string(c.Role)},
		},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubeflow-" + string(c.Role)},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": c.User}},
	}}
}

// notName is what Kubeflow's access management replaces in names of bindings.
var notName = regexp.MustCompile(`[^a-z0-9]+`)

func bindingName(c Contributor) string {
	return notName.ReplaceAllString(strings.ToLower("user-"+url.QueryEscape(c.User)+"-clusterrole-"+string(c.Role)), "-")
}
