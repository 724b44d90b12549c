package drift

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/kube"
)

func metadata(change func(*meta)) *meta {
	m := &meta{ObjectMeta: metav1.ObjectMeta{
		Name: "a", Namespace: "n", UID: "u", ResourceVersion: "10", Generation: 3, Labels: map[string]string{"a": "b"},
		ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kfdev", Operation: "Apply", APIVersion: "v1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:a":{},"f:b":{}}}`)},
			{Manager: "controller", Operation: "Update", APIVersion: "v1", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)},
		},
	}}
	if change != nil {
		change(m)
	}
	return m
}

// TestWhatABaselineProves: what evidence is taken for, and what is not.
func TestWhatABaselineProves(t *testing.T) {
	t.Parallel()
	k := key{"apps", "Deployment", "n", "a"}
	b := &baseline{Release: "r", Objects: map[key]record{k: {UID: "u", Version: "10", Generation: 3, Owners: ownership(metadata(nil)), Content: "c"}}}
	written := func(more func(*meta)) func(*meta) {
		return func(m *meta) {
			m.ResourceVersion = "11"
			if more != nil {
				more(m)
			}
		}
	}
	for name, tc := range map[string]struct {
		change     func(*meta)
		generation bool
		want       bool
	}{
		"not written since":                   {nil, false, true},
		"another of its name":                 {func(m *meta) { m.UID = "v" }, true, false},
		"being deleted":                       {func(m *meta) { now := metav1.Now(); m.DeletionTimestamp = &now }, true, false},
		"written, and no generation is known": {written(nil), false, false},
		"only the status":                     {written(func(m *meta) { m.ManagedFields[1].FieldsV1 = metav1.NewFieldsV1(`{"f:status":{"f:x":{}}}`) }), true, true},
		"the status only, by another":         {written(func(m *meta) { m.ManagedFields[1].Manager = "other" }), true, true},
		"the same fields in another order":    {written(func(m *meta) { m.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1(`{"f:spec":{"f:b":{},"f:a":{}}}`) }), true, true},
		"a new generation":                    {written(func(m *meta) { m.Generation = 4 }), true, false},
		"a label":                             {written(func(m *meta) { m.Labels["a"] = "c" }), true, false},
		"an annotation":                       {written(func(m *meta) { m.Annotations = map[string]string{"x": "y"} }), true, false},
		"a finalizer":                         {written(func(m *meta) { m.Finalizers = []string{"x"} }), true, false},
		"an owner":                            {written(func(m *meta) { m.OwnerReferences = []metav1.OwnerReference{{Name: "x"}} }), true, false},
		"a field changed hands": {written(func(m *meta) {
			m.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1(`{"f:spec":{"f:a":{}}}`)
			m.ManagedFields = append(m.ManagedFields, metav1.ManagedFieldsEntry{Manager: "x", Operation: "Apply", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:b":{}}}`)})
		}), true, false},
		"another manager's scale": {written(func(m *meta) {
			m.ManagedFields = append(m.ManagedFields, metav1.ManagedFieldsEntry{Manager: "x", Operation: "Update", Subresource: "scale", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)})
		}), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, b.proves(k, metadata(tc.change), tc.generation))
		})
	}
	require.False(t, (*baseline)(nil).proves(k, metadata(nil), true))
	require.False(t, b.proves(key{"apps", "Deployment", "n", "other"}, metadata(nil), true))
	empty := &baseline{Objects: map[key]record{k: {}}}
	require.False(t, empty.proves(k, metadata(func(m *meta) { m.UID, m.ResourceVersion, m.Generation = "", "", 0 }), true), "nothing is no evidence")
}

func TestWhichKindsCountTheirChanges(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"apps/v1 Deployment": true, "apps/v1 ReplicaSet": false, "batch/v1 Job": true, "v1 ConfigMap": false, "v1 Service": false, "v1 Pod": false,
		"rbac.authorization.k8s.io/v1 Role": false, "autoscaling/v2 HorizontalPodAutoscaler": false, "kubeflow.org/v1 Profile": true,
		"gateway.networking.k8s.io/v1 Gateway": false, "storage.k8s.io/v1 StorageClass": false, "policy/v1 PodDisruptionBudget": true,
	} {
		var version, kind string
		_, err := fmt.Sscan(text, &version, &kind)
		require.NoError(t, err)
		require.Equal(t, want, counts(kube.Mapping{Kind: schema.FromAPIVersionAndKind(version, kind)}), text)
	}
}

func sample(count int) baseline {
	b := baseline{Release: "sha256:r", Rules: "x", Objects: map[key]record{}}
	for i := range count {
		b.Objects[key{"apps", "Deployment", "n", fmt.Sprint("a", i)}] = record{UID: types.UID(fmt.Sprint("u", i)), Version: "1", Generation: 2, Owners: "o", Content: "c"}
	}
	b.Objects[key{"", "Namespace", "", "n"}] = record{UID: "x", Version: "1", Owners: "o", Content: "c"}
	return b
}

func written(tb testing.TB, b baseline) []string {
	tb.Helper()
	parts, err := b.encode()
	require.NoError(tb, err)
	var out []string
	for _, p := range parts {
		text, err := json.Marshal(p)
		require.NoError(tb, err)
		require.Less(tb, len(text), 1<<20)
		out = append(out, string(text))
	}
	return out
}

func TestABaselineIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, perPart - 1, perPart, 2*perPart + 5} {
		b := sample(count)
		texts := written(t, b)
		require.Equal(t, texts, written(t, b), "the same each time")
		texts[0], texts[len(texts)-1] = texts[len(texts)-1], texts[0] // in whatever order
		got, err := decode(texts)
		require.NoError(t, err)
		require.Equal(t, &b, got)
	}
}

func TestPartsThatDoNotFitAreNoBaseline(t *testing.T) {
	t.Parallel()
	b := sample(2 * perPart)
	texts := written(t, b)
	other := sample(2*perPart + 1)
	for name, list := range map[string][]string{
		"none":             nil,
		"one lacks":        texts[:len(texts)-1],
		"one twice":        append([]string{texts[0]}, texts...),
		"of two":           {texts[0], written(t, other)[1], texts[2]},
		"no JSON":          {"x"},
		"more behind":      {texts[0] + "{}", texts[1], texts[2]},
		"an unknown key":   {`{"version":2,"surprise":true}`},
		"another version":  {`{"version":3}`},
		"of an older form": {`{"version":1,"of":1,"objects":null}`},
		"an entry of none": {`{"version":2,"of":1,"objects":[{"a":""}]}`},
		"an entry twice":   {`{"version":2,"of":1,"objects":[{"k":"/ConfigMap","a":"x","v":"","o":"","c":"","u":""},{"k":"/ConfigMap","a":"x","v":"","o":"","c":"","u":""}]}`},
	} {
		_, err := decode(list)
		require.Error(t, err, name)
	}
}

func FuzzDecodeBaseline(f *testing.F) {
	texts := written(f, sample(2))
	f.Add(texts[0], "")
	f.Add(`{"version":2,"of":2,"part":0}`, `{"version":2,"of":2,"part":1}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		list := []string{one}
		if two != "" {
			list = append(list, two)
		}
		b, err := decode(list)
		if err != nil {
			return
		}
		again, err := decode(written(t, *b))
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
