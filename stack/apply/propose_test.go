package apply

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// tree reads a value as objects hold it.
func tree(tb testing.TB, text string) map[string]any {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte("{apiVersion: v1, kind: ConfigMap, object: " + text + "}"))
	require.NoError(tb, err)
	o := &unstructured.Unstructured{}
	require.NoError(tb, o.UnmarshalJSON(data))
	return o.Object["object"].(map[string]any)
}

func TestDiffer(t *testing.T) {
	t.Parallel()
	const owned = `{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:args":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{}}}}},"f:finalizers":{"v:\"x\"":{}}}}`
	for name, tc := range map[string]struct {
		from, to   string
		wantedOnly bool
		want       []FieldChange
	}{
		"same":                {"{a: 1, b: [1, {c: d}]}", "{b: [1, {c: d}], a: 1.0}", false, nil},
		"a leaf":              {"{a: {b: 1}}", "{a: {b: 2}}", false, []FieldChange{{"a/b", int64(1), int64(2)}}},
		"new and gone":        {"{a: {b: 1}}", "{a: {c: 1}}", false, []FieldChange{{"a/b", int64(1), nil}, {"a/c", nil, int64(1)}}},
		"only what is wanted": {"{a: {b: 1}, z: 1}", "{a: {c: 1}}", true, []FieldChange{{"a/c", nil, int64(1)}}},
		"another shape":       {"{a: {b: 1}}", "{a: [1]}", false, []FieldChange{{"a", map[string]any{"b": int64(1)}, []any{int64(1)}}}},
		"a quoted key":        {"{a: {b.c/d: x}}", "{a: {b.c/d: v}}", false, []FieldChange{{`a["b.c/d"]`, "x", "v"}}},
		"an element by its key": {"{spec: {containers: [{name: a, image: x}, {name: b, image: x}]}}", "{spec: {containers: [{name: a, image: x}, {name: b, image: v}]}}", false,
			[]FieldChange{{"spec/containers[name=b]/image", "x", "v"}}},
		"an element in front of others": {"{spec: {containers: [{name: a}]}}", "{spec: {containers: [{name: first}, {name: a}]}}", false,
			[]FieldChange{{"spec/containers[name=first]", nil, map[string]any{"name": "first"}}}},
		"an element less": {"{spec: {containers: [{name: first}, {name: a}]}}", "{spec: {containers: [{name: a}]}}", false,
			[]FieldChange{{"spec/containers[name=first]", map[string]any{"name": "first"}, nil}}},
		"one that others added": {"{spec: {containers: [{name: first}, {name: a}]}}", "{spec: {containers: [{name: a}]}}", true, nil},
		"another order": {"{spec: {containers: [{name: a}, {name: b}]}}", "{spec: {containers: [{name: b}, {name: a}]}}", false,
			[]FieldChange{{"spec/containers", "[name=a][name=b]", "[name=b][name=a]"}}},
		"two keys": {"{spec: {containers: [{name: a, ports: [{containerPort: 80, protocol: TCP, name: x}]}]}}", "{spec: {containers: [{name: a, ports: [{containerPort: 80, protocol: TCP, name: v}]}]}}", false,
			[]FieldChange{{"spec/containers[name=a]/ports[containerPort=80,protocol=TCP]/name", "x", "v"}}},
		"a key by default": {"{spec: {containers: [{name: a, ports: [{containerPort: 80, protocol: TCP}]}]}}", "{spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}}", true, nil},
		"keys that do not tell apart": {"{spec: {containers: [{name: a, image: x}, {name: a, image: x}]}}", "{spec: {containers: [{name: a, image: x}, {name: a, image: v}]}}", false,
			[]FieldChange{{"spec/containers[1]/image", "x", "v"}}},
		"a set":         {"{spec: {finalizers: [x, v]}}", "{spec: {finalizers: [v, z]}}", false, []FieldChange{{"spec/finalizers[=x]", "x", nil}, {"spec/finalizers[=z]", nil, "z"}}},
		"a set's order": {"{spec: {finalizers: [x, v]}}", "{spec: {finalizers: [v, x]}}", false, nil},
		"a list as one value": {"{spec: {containers: [{name: a, args: [x, v]}]}}", "{spec: {containers: [{name: a, args: [x, z, w]}]}}", false,
			[]FieldChange{{"spec/containers[name=a]/args[1]", "v", "z"}, {"spec/containers[name=a]/args[2]", nil, "w"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &unstructured.Unstructured{Object: map[string]any{}}
			o.SetManagedFields([]metav1.ManagedFieldsEntry{entry("anybody", metav1.ManagedFieldsOperationUpdate, owned)})
			d := &differ{lists: listsOf(o), wantedOnly: tc.wantedOnly}
			d.walk(nil, tree(t, tc.from), tree(t, tc.to))
			require.Equal(t, tc.want, d.out)
		})
	}
}

// What applying the changes to one side gives is not computed by kfdev; that two
// trees without a change are equal, whatever their lists' shapes, is.
func FuzzDiffer(f *testing.F) {
	f.Add(`{"a":[{"name":"x"}]}`, `{"a":[{"name":"y"}]}`, `{"f:a":{"k:{\"name\":\"x\"}":{}}}`)
	f.Add(`{"a":[1,2]}`, `{"a":[2,1]}`, `{"f:a":{"v:1":{}}}`)
	f.Add(`{"a":{}}`, `{}`, `{"f:a":{"i:0":{}}}`)
	f.Fuzz(func(t *testing.T, a, b, fields string) {
		from, to := &unstructured.Unstructured{}, &unstructured.Unstructured{}
		head := `{"apiVersion":"v1","kind":"K","x":`
		if from.UnmarshalJSON([]byte(head+a+"}")) != nil || to.UnmarshalJSON([]byte(head+b+"}")) != nil {
			return
		}
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetManagedFields([]metav1.ManagedFieldsEntry{entry("m", metav1.ManagedFieldsOperationUpdate, fields)})
		one := &differ{lists: listsOf(o)}
		one.walk(nil, from.Object, to.Object)
		same := &differ{lists: listsOf(o)}
		same.walk(nil, from.Object, from.DeepCopy().Object)
		require.Empty(t, same.out)
		back := &differ{lists: listsOf(o)}
		back.walk(nil, to.Object, from.Object)
		require.Equal(t, len(one.out) == 0, len(back.out) == 0)
	})
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "configmaps"}
	denied := func(text string) error { return apierrors.NewForbidden(resource, "c", errors.New(text)) }
	crd := &item{change: Created, content: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": map[string]any{"group": "", "names": map[string]any{"kind": "Changing"}}}}}
	for name, tc := range map[string]struct {
		kind               string
		err                error
		blocked, unchecked string
	}{
		"no such kind":        {"ConfigMap", &kube.UnknownKindError{}, "", "its kind is not served yet"},
		"no such path":        {"ConfigMap", apierrors.NewNotFound(schema.GroupResource{}, ""), "", "its kind is not served yet"},
		"no namespace":        {"ConfigMap", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "n"), "", "the namespace n is not there yet"},
		"no rights":           {"ConfigMap", denied(`User "u" cannot patch resource "configmaps"`), "", "no rights to ask"},
		"escalation":          {"ConfigMap", denied(`user "u" is attempting to grant RBAC permissions not currently held`), "", "no rights to ask"},
		"a quota":             {"ConfigMap", denied("exceeded quota"), "exceeded quota", ""},
		"side effects":        {"ConfigMap", apierrors.NewBadRequest(`admission webhook "w" does not support dry run`), "", "a webhook cannot be asked"},
		"a webhook down":      {"ConfigMap", apierrors.NewInternalError(errors.New(`failed calling webhook "w"`)), "", "a webhook cannot be asked"},
		"its kind changes":    {"Changing", apierrors.NewBadRequest("strict decoding error"), "", "its kind changes with it"},
		"a field that is not": {"ConfigMap", apierrors.NewBadRequest("strict decoding error"), "strict decoding error", ""},
		"misshapen":           {"ConfigMap", errors.New("failed to create typed patch object (x): .spec: field not declared in schema"), "field not declared", ""},
		"the server is gone":  {"ConfigMap", apierrors.NewServiceUnavailable("x"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &item{object: Object{APIVersion: "v1", Kind: tc.kind, Namespace: "n", Name: "c"}}
			w := &work{items: []*item{crd, {content: &unstructured.Unstructured{Object: map[string]any{"kind": "ConfigMap"}}}}}
			var p Proposed
			err := w.verdict(i, tc.err, &p)
			require.Equal(t, tc.blocked == "" && tc.unchecked == "", err != nil)
			require.Contains(t, p.Blocked, tc.blocked)
			require.Contains(t, p.Unchecked, tc.unchecked)
			require.Equal(t, tc.blocked != "", p.Blocked != "")
			require.Equal(t, tc.unchecked != "", p.Unchecked != "")
			require.Equal(t, name == "a quota", p.Denied)
		})
	}
}

func TestImmutable(t *testing.T) {
	t.Parallel()
	sealed := &unstructured.Unstructured{Object: map[string]any{"immutable": true}}
	open := &unstructured.Unstructured{Object: map[string]any{}}
	changed := func(path string) []FieldChange { return []FieldChange{{Path: path}} }
	deployment := Object{APIVersion: "apps/v1", Kind: "Deployment"}
	require.NotEmpty(t, immutable(deployment, open, changed("spec/selector/matchLabels/a")))
	require.NotEmpty(t, immutable(deployment, open, changed(`spec/selector`)))
	require.Empty(t, immutable(deployment, open, changed("spec/selectors")))
	require.Empty(t, immutable(deployment, open, changed("spec/replicas")))
	require.NotEmpty(t, immutable(Object{APIVersion: "v1", Kind: "ConfigMap"}, sealed, changed(`data["a.b"]`)))
	require.Empty(t, immutable(Object{APIVersion: "v1", Kind: "ConfigMap"}, open, changed(`data["a.b"]`)))
	require.NotEmpty(t, immutable(Object{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, open, changed("roleRef/name")))
}

func TestConflictsOf(t *testing.T) {
	t.Parallel()
	err := apierrors.NewApplyConflict([]metav1.StatusCause{
		{Type: metav1.CauseTypeFieldManagerConflict, Field: ".spec.replicas", Message: `conflict with "kubectl-scale" with subresource "scale" using apps/v1 at 2026-01-02T03:04:05Z`},
		{Type: metav1.CauseTypeFieldManagerConflict, Field: ".spec.paused", Message: `conflict with "a \"b\""`},
	}, "conflict")
	all := conflictsOf(err, nil)
	require.Len(t, all, 2)
	require.Equal(t, "spec.replicas kubectl-scale 2026-01-02", fmt.Sprint(all[0].Field, " ", all[0].Manager, " ", all[0].Since.Format("2006-01-02")))
	require.Equal(t, `a "b"`, all[1].Manager)
	require.Empty(t, conflictsOf(apierrors.NewConflict(schema.GroupResource{}, "x", errors.New("moved")), nil))
	require.Empty(t, conflictsOf(nil, nil))
	require.True(t, SameConflicts(all, []Conflict{all[1], {Field: "spec.replicas", Manager: "kubectl-scale", Force: true}}))
	require.False(t, SameConflicts(all, all[:1]))
	require.False(t, SameConflicts(all[:1], all[1:]))
}

func TestDecideForcesAllOrNone(t *testing.T) {
	t.Parallel()
	p := Proposed{Conflicts: []Conflict{{Field: "a", Manager: "x"}, {Field: "b", Manager: "y"}}}
	ProposeOptions{Force: func(_ Object, c Conflict) bool { return c.Manager == "x" }}.decide(&p)
	require.False(t, p.Conflicts[0].Force || p.Conflicts[1].Force)
	require.Equal(t, fault.Drift, fault.KindOf(Proposal{Objects: []Proposed{p}}.Problems()))
	ProposeOptions{Force: func(Object, Conflict) bool { return true }}.decide(&p)
	require.True(t, p.Conflicts[0].Force && p.Conflicts[1].Force)
	require.NoError(t, Proposal{Objects: []Proposed{p}}.Problems())
	require.Equal(t, fault.Gate, fault.KindOf(Proposal{Objects: []Proposed{{Blocked: "x"}}}.Problems()))
}

func TestAggregated(t *testing.T) {
	t.Parallel()
	role := of("rbac.authorization.k8s.io/v1", "ClusterRole", "x")
	require.False(t, aggregated(role))
	role.Object["aggregationRule"] = map[string]any{}
	require.True(t, aggregated(role))
}

func TestHeldNamesEverySingleRight(t *testing.T) {
	t.Parallel()
	role := &unstructured.Unstructured{Object: tree(t, "{rules: [{verbs: [get, list], apiGroups: ['', apps], resources: [pods], resourceNames: [a]}, {verbs: [get], nonResourceURLs: [/metrics]}]}")}
	needs, err := needRules(Missing{Verb: "bind"}, Object{Kind: "RoleBinding", Namespace: "n", Name: "b"}, role)
	require.NoError(t, err)
	require.Len(t, needs, 1)
	require.Len(t, needs[0].or, 5)
	require.Equal(t, "get pods a in n", needs[0].or[0].String())
	require.Equal(t, "get /metrics", needs[0].or[4].String())
	none, err := needRules(Missing{Verb: "bind"}, Object{}, &unstructured.Unstructured{Object: map[string]any{}})
	require.NoError(t, err)
	require.Empty(t, none)
}
