package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

func TestSetIDIsKubectls(t *testing.T) {
	t.Parallel()
	// As KEP-3659 computes it for the ConfigMap kfdev-app in kfdev-system:
	// base64url(sha256("kfdev-app.kfdev-system.ConfigMap.")).
	require.Equal(t, "applyset-vcTBNu3NrG5BQUZ8oA81quqFjOl53jM4wr23Us1ceKo-v1", SetID("app"))
	require.Equal(t, "applyset.kubernetes.io/part-of="+SetID("app"), Selector("app"))
}

func TestInventoryRoundTrip(t *testing.T) {
	t.Parallel()
	i := Inventory{Version: 1, Name: "app", Hash: "sha256:x", Members: []Member{
		{Object: Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "b", Name: "two"}, UID: "u", Desired: "d", Owned: "o"},
		{Object: Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "a", Name: "one"}},
		{Object: Object{APIVersion: "v1", Kind: "Namespace", Name: "a"}},
	}}
	parent, err := encode(i)
	require.NoError(t, err)
	require.Equal(t, "kfdev-app", parent.GetName())
	require.Equal(t, SetID("app"), parent.GetLabels()[idLabel])
	require.Equal(t, "ConfigMap,Deployment.apps,Namespace", parent.GetAnnotations()[kindsAnnotation])
	require.Equal(t, "a,b", parent.GetAnnotations()[namespaceAnnotation])
	back, err := decode(parent)
	require.NoError(t, err)
	require.Equal(t, i, *back)
}

func TestDecodeRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*unstructured.Unstructured)
		want   string
	}{
		"another tool": {func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{toolingAnnotation: "kubectl/v1"})
		}, `belongs to the tool "kubectl/v1"`},
		"no tool":         {func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }, "belongs to the tool"},
		"not JSON":        {func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{inventoryKey: "{"} }, "unexpected end"},
		"nothing":         {func(o *unstructured.Unstructured) { delete(o.Object, "data") }, "unexpected end"},
		"a later version": {func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{inventoryKey: `{"version":2}`} }, "it has the version 2"},
		"another's":       {func(o *unstructured.Unstructured) { o.SetName("kfdev-other") }, `it names the set "app"`},
		"half a member": {func(o *unstructured.Unstructured) {
			o.Object["data"] = map[string]any{inventoryKey: `{"version":1,"name":"app","members":[{"kind":"X"}]}`}
		}, "lacks its kind or name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent, err := encode(Inventory{Version: 1, Name: "app"})
			require.NoError(t, err)
			tc.change(parent)
			_, err = decode(parent)
			require.ErrorContains(t, err, tc.want)
			require.NotEmpty(t, fault.Hint(err))
		})
	}
}

func FuzzDecodeInventory(f *testing.F) {
	f.Add(`{"version":1,"name":"app","members":[{"apiVersion":"v1","kind":"ConfigMap","name":"a"}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		parent, err := encode(Inventory{Version: 1, Name: "app"})
		require.NoError(t, err)
		parent.Object["data"] = map[string]any{inventoryKey: text}
		i, err := decode(parent)
		if err != nil {
			return
		}
		again, err := encode(*i)
		require.NoError(t, err)
		_, err = decode(again)
		require.NoError(t, err)
	})
}

func of(apiVersion, kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}}
}

func TestStages(t *testing.T) {
	t.Parallel()
	order := [][2]string{
		{"v1", "Namespace"}, {"apiextensions.k8s.io/v1", "CustomResourceDefinition"},
		{"storage.k8s.io/v1", "StorageClass"}, {"scheduling.k8s.io/v1", "PriorityClass"}, {"networking.k8s.io/v1", "IngressClass"},
		{"rbac.authorization.k8s.io/v1", "ClusterRole"}, {"rbac.authorization.k8s.io/v1", "ClusterRoleBinding"}, {"v1", "ServiceAccount"}, {"v1", "PersistentVolumeClaim"}, {"networking.k8s.io/v1", "NetworkPolicy"},
		{"apps/v1", "Deployment"}, {"v1", "Pod"}, {"kubeflow.org/v1", "Profile"},
		{"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"}, {"apiregistration.k8s.io/v1", "APIService"},
	}
	last := foundations
	seen := map[stage]bool{}
	for _, o := range order {
		s := stageOf(of(o[0], o[1], "x"))
		require.GreaterOrEqual(t, s, last, o)
		last = s
		seen[s] = true
	}
	require.Len(t, seen, int(stages))
	for s := range stages {
		require.NotEmpty(t, s.String())
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	hook := of("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "m")
	hook.Object["webhooks"] = []any{
		map[string]any{"clientConfig": map[string]any{"service": map[string]any{"name": "a", "namespace": "n", "port": int64(443)}}},
		map[string]any{"clientConfig": map[string]any{"service": map[string]any{"name": "a", "namespace": "n", "path": "/x"}}},
		map[string]any{"clientConfig": map[string]any{"url": "https://example.com"}},
	}
	api := of("apiregistration.k8s.io/v1", "APIService", "s")
	api.Object["spec"] = map[string]any{"service": map[string]any{"name": "b", "namespace": "n"}}
	local := of("apiregistration.k8s.io/v1", "APIService", "local")
	require.Equal(t, []types.NamespacedName{{Namespace: "n", Name: "a"}, {Namespace: "n", Name: "b"}},
		Services([]*unstructured.Unstructured{hook, api, local, of("v1", "Service", "c")}))
}

func entry(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: "v1", FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	hash := func(entries ...metav1.ManagedFieldsEntry) string {
		h, _, err := ownership(entries, Manager)
		require.NoError(t, err)
		return h
	}
	base := hash(entry(Manager, metav1.ManagedFieldsOperationApply, `{"f:data":{"f:a":{},"f:b":{}}}`))
	require.NotEmpty(t, base)
	require.Equal(t, base, hash(entry("other", metav1.ManagedFieldsOperationUpdate, `{}`), entry(Manager, metav1.ManagedFieldsOperationApply, `{"f:data":{"f:b":{},"f:a":{}}}`)), "the order does not count")
	require.NotEqual(t, base, hash(entry(Manager, metav1.ManagedFieldsOperationApply, `{"f:data":{"f:a":{}}}`)), "a field that was taken over counts")
	require.Empty(t, hash(entry(Manager, metav1.ManagedFieldsOperationUpdate, `{}`)), "an update is not an apply")
	require.Empty(t, hash())
	_, _, err := ownership([]metav1.ManagedFieldsEntry{entry(Manager, metav1.ManagedFieldsOperationApply, `{`)}, Manager)
	require.Error(t, err)
}

func TestFate(t *testing.T) {
	t.Parallel()
	there := live{found: true, uid: "u", partOf: SetID("app")}
	config := Object{APIVersion: "v1", Kind: "ConfigMap", Name: "c"}
	crd := Object{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "k"}
	for name, tc := range map[string]struct {
		g     gone
		named []Object
		want  Change
	}{
		"ours":                  {gone{Member: Member{Object: config, UID: "u"}, live: there}, nil, Deleted},
		"not there":             {gone{Member: Member{Object: config, UID: "u"}}, nil, ""},
		"made anew by another":  {gone{Member: Member{Object: config, UID: "old"}, live: there}, nil, Skipped},
		"its label is gone":     {gone{Member: Member{Object: config, UID: "u"}, live: live{found: true, uid: "u"}}, nil, Skipped},
		"a kind":                {gone{Member: Member{Object: crd, UID: "u"}, live: there}, nil, Skipped},
		"a kind that is named":  {gone{Member: Member{Object: crd, UID: "u"}, live: there}, []Object{crd}, Deleted},
		"a namespace":           {gone{Member: Member{Object: Object{APIVersion: "v1", Kind: "Namespace", Name: "n"}, UID: "u"}, live: live{found: true, uid: "u"}}, nil, Skipped},
		"a volume":              {gone{Member: Member{Object: Object{APIVersion: "v1", Kind: "PersistentVolume", Name: "n"}}, live: there}, nil, Skipped},
		"a claim":               {gone{Member: Member{Object: Object{APIVersion: "v1", Kind: "PersistentVolumeClaim", Name: "n"}}, live: there}, nil, Skipped},
		"cut off before a UID":  {gone{Member: Member{Object: config}, live: there}, nil, Deleted},
		"another's by its name": {gone{Member: Member{Object: config}, live: live{found: true, uid: "x"}}, nil, Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.g.set = "app"
			change, reason := tc.g.fate(tc.named)
			require.Equal(t, tc.want, change)
			require.Equal(t, tc.want == Skipped, reason != "")
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	o := Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "n", Name: "d"}
	conflict := apierrors.NewApplyConflict([]metav1.StatusCause{
		{Type: metav1.CauseTypeFieldManagerConflict, Field: ".spec.replicas", Message: `conflict with "kubectl-scale" with subresource "scale" using apps/v1`},
	}, "conflict")
	err := refused(o, conflict)
	require.EqualError(t, err, `applying: Deployment/n/d: the field spec.replicas is held by "kubectl-scale" with subresource "scale" using apps/v1`)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.Contains(t, strings.Join(fault.Hint(err), ""), "takes no field from another owner")

	err = refused(o, &kube.UnknownKindError{Kind: schema.GroupVersionKind{Group: "g", Version: "v1", Kind: "K"}})
	require.ErrorContains(t, err, "serves no g/v1 K")
	require.NotEmpty(t, fault.Hint(err))
	require.Empty(t, fault.Hint(refused(o, errors.New("boom"))))
	require.Equal(t, fault.Failure, fault.KindOf(refused(o, apierrors.NewConflict(schema.GroupResource{}, "d", errors.New("x")))))
}

func TestChangeSet(t *testing.T) {
	t.Parallel()
	set := ChangeSet{{Object{Kind: "B", Name: "x"}, Unchanged, ""}, {Object{Kind: "A", Name: "x"}, Skipped, "r"}}
	require.False(t, set.Changed())
	set.sort()
	require.Equal(t, "[{A/x skipped r} {B/x unchanged }]", fmt.Sprint(set))
	require.True(t, append(set, Entry{Change: Deleted}).Changed())
	require.Equal(t, 1, set.Count(Skipped))
}
