//go:build integration

package envs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// snapshot is all that promotions answer for in a cluster: what every object of
// a set says, which fields are kfdev's, and what the inventories record.
func snapshot(t *testing.T, client *kube.Client) map[string]string {
	t.Helper()
	kinds, err := client.Mapper.Kinds(t.Context())
	require.NoError(t, err)
	all := map[string]string{}
	for _, m := range kinds {
		if !m.List {
			continue
		}
		list, err := client.Dynamic.Resource(m.Resource).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err, m.Resource.String())
		for i := range list.Items {
			o := &list.Items[i]
			if o.GetLabels()["applyset.kubernetes.io/part-of"] != "" || o.GetLabels()["applyset.kubernetes.io/id"] != "" ||
				o.GetKind() == "Namespace" && o.GetLabels()["app.kubernetes.io/managed-by"] == "kfdev" {
				all[fmt.Sprintf("%s %s/%s", o.GroupVersionKind(), o.GetNamespace(), o.GetName())] = said(t, o)
			}
		}
	}
	return all
}

// said is what an object says, without what every life of it has anew.
func said(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	var owners []string
	for _, f := range o.GetManagedFields() {
		if strings.HasPrefix(f.Manager, apply.Manager) && f.Subresource == "" {
			owners = append(owners, fmt.Sprintf("%s %s %s", f.Manager, f.Operation, f.FieldsV1.GetRawBytes()))
		}
	}
	slices.Sort(owners)
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
	for _, field := range []string{"clusterIP", "clusterIPs"} {
		unstructured.RemoveNestedField(o.Object, "spec", field)
	}
	delete(o.Object, "status")
	if text, ok, _ := unstructured.NestedString(o.Object, "data", "inventory"); ok {
		var recorded apply.Inventory
		require.NoError(t, json.Unmarshal([]byte(text), &recorded))
		for i := range recorded.Members {
			recorded.Members[i].UID = ""
		}
		slices.SortFunc(recorded.Members, func(a, b apply.Member) int { return strings.Compare(a.String(), b.String()) })
		o.Object["data"] = recorded
	}
	data, err := json.Marshal(o.Object)
	require.NoError(t, err)
	return string(data) + "\n" + strings.Join(owners, "\n")
}

// equalClusters names what is not the same in two snapshots.
func equalClusters(t *testing.T, want, got map[string]string, msg ...any) {
	t.Helper()
	for key, text := range want {
		require.Contains(t, got, key, msg...)
		require.Equal(t, text, got[key], append([]any{key + ": "}, msg...)...)
	}
	for key := range got {
		require.Contains(t, want, key, msg...)
	}
}
