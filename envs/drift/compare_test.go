package drift

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON(data))
	return o
}

// TestSecretsAreNotShown: a finding about a Secret's data has no value, in text
// and JSON.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	live := parsed(t, "{apiVersion: v1, kind: Secret, metadata: {name: a, uid: u}, data: {one: cGxhbnRlZA==, two: cGxhbnRlZA==}}")
	live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl-edit", Operation: "Update", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:one":{},"f:two":{}}}`)}})
	wanted := parsed(t, "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {one: cGxhbnRlZHRvbw==}}")
	c := newComparison(&want{shares: []share{{apply.Manager, wanted}}, object: apply.ObjectOf(wanted)}, wanted, live, noise.Default().Find(live))
	c.run()
	require.Len(t, c.findings, 2)
	for _, f := range c.findings {
		data, err := json.Marshal(f)
		require.NoError(t, err)
		require.NotContains(t, string(data)+f.String(), "cGxhbnRlZ")
		require.Contains(t, f.String(), "a value that is not shown")
		require.Equal(t, "kubectl-edit", f.Who[0].Manager)
	}
}

func TestAFindingOnOneLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := Finding{Class: Changed, Object: apply.Object{Kind: "Deployment", Namespace: "n", Name: "a"}, Path: "spec/replicas", Wanted: int64(1), Live: int64(2),
		Who: []Who{{Manager: "kubectl-edit", Operation: "Update", Time: &at}}, Why: "what runs is not what was promoted"}
	require.Equal(t, "changed: Deployment/n/a spec/replicas: wanted 1, live 2, by kubectl-edit (Update 2026-01-02T03:04:05Z): what runs is not what was promoted", f.String())
}

func TestAPlanIsOfEveryObjectOnce(t *testing.T) {
	t.Parallel()
	step := func(key string) []fieldpath.Step { return []fieldpath.Step{{Kind: fieldpath.Key, Key: key}} }
	deployment := apply.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "n", Name: "a"}
	namespace := apply.Object{APIVersion: "v1", Kind: "Namespace", Name: "n"}
	stray := apply.Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "n", Name: "s"}
	report := Report{Findings: []Finding{
		{Class: Changed, Object: deployment, Path: "x", steps: step("x"), seen: seen{uid: "u", version: "1"}},
		{Class: ForeignField, Object: deployment, Path: "y/z", steps: append(step("y"), step("z")...), top: step("y"), seen: seen{uid: "u", version: "1"}},
		{Class: ForeignField, Object: deployment, Path: "y/w", steps: append(step("y"), step("w")...), top: step("y"), seen: seen{uid: "u", version: "1"}},
		{Class: Deleted, Object: namespace},
		{Class: ForeignObject, Object: stray, seen: seen{uid: "s", version: "2"}},
		{Class: Unknown, Object: apply.Object{Kind: "Pod", Name: "*"}},
		{Class: ForeignImage, Object: apply.Object{APIVersion: "v1", Kind: "Pod", Namespace: "n", Name: "p"}},
	}}
	p := PlanFix(report)
	require.Len(t, p.Steps, 2)
	require.Equal(t, Create, p.Steps[0].Action, "a namespace comes first")
	require.Equal(t, []string{"x"}, p.Steps[1].Put)
	require.Equal(t, []string{"y"}, p.Steps[1].Remove, "what is foreign as a whole goes as a whole, once")
	require.Len(t, p.Left, 3)
	p = PlanFix(report, stray)
	require.Len(t, p.Steps, 3)
	require.Equal(t, Delete, p.Steps[2].Action)
	require.Len(t, p.Left, 2)
}

func TestWhatAConflictIsAbout(t *testing.T) {
	t.Parallel()
	s := Step{Put: []string{"spec/template/spec/containers[name=web]/image", `metadata/labels["a.b/c"]`, "spec/ports[port=80,protocol=TCP]/targetPort", "data/mode"}, Remove: []string{"spec/selector/matchLabels/x"}}
	for path, want := range map[string]bool{
		`.spec.template.spec.containers[name="web"].image`:     true,
		`.spec.template.spec.containers[name="web"].imagePull`: false,
		`.spec.template.spec.containers[name="other"].image`:   false,
		`.metadata.labels.a.b/c`:                               true,
		`.metadata.labels.a.b/d`:                               false,
		`.spec.ports[port=80,protocol="TCP"].targetPort`:       true,
		`.spec.selector`:                                       true,
		`.data.mode`:                                           true,
		`.data.model`:                                          false,
		`.spec.replicas`:                                       false,
	} {
		require.Equal(t, want, s.covers(path), path)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		f    Finding
		want bool
	}{
		{Finding{Class: Changed, Wanted: "1000m", Live: "1"}, true},
		{Finding{Class: Changed, Wanted: "2048Mi", Live: "2Gi"}, true},
		{Finding{Class: Changed, Wanted: int64(2), Live: "2"}, true},
		{Finding{Class: Changed, Wanted: "1", Live: "2"}, false},
		{Finding{Class: Changed, Wanted: "a", Live: "b"}, false},
		{Finding{Class: Lost, Wanted: map[string]any{}}, true},
		{Finding{Class: Lost, Wanted: ""}, true},
		{Finding{Class: Lost, Wanted: "x"}, false},
		{Finding{Class: Lost, Wanted: map[string]any{"a": "b"}}, false},
		{Finding{Class: ForeignField, Live: ""}, false},
	} {
		require.Equal(t, tc.want, rewritten(tc.f), "%v", tc.f)
	}
}
