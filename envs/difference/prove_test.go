package difference_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/fault"
)

func describe(findings []difference.Finding) []string {
	var out []string
	for _, f := range findings {
		state := "undeclared"
		if f.Allowed {
			state = "by " + f.Entry
		}
		out = append(out, fmt.Sprintf("%s: %s, %s: %s", f.Path, f.A, f.B, state))
	}
	return out
}

func TestWhatEntriesDeclareIsProven(t *testing.T) {
	t.Parallel()
	e := entries(t, declared)
	rendered := renderAll(t, objects(t, base), e)
	findings, err := difference.Prove(rendered, e)
	require.NoError(t, err)
	require.Empty(t, difference.Undeclared(findings), "%v", describe(findings))
	require.NoError(t, difference.Err(findings))
	got := describe(findings)
	manager := "apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=manager]/"
	for _, want := range []string{
		"apps/Deployment/jupyter:hub/spec/replicas: dev has 2, prod has 10: by replicas",
		"policy/PodDisruptionBudget/kubeflow:katib: dev has nothing, prod has it: by budget",
		manager + `resources/limits/memory: dev has "1024Mi", staging has "2Gi": by memory`,
		`apps/Deployment/kubeflow:katib/metadata/annotations["sidecar.istio.io/inject"]: dev has nothing, staging has "false": by inject`,
		`core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log: dev has "debug", prod has "info": by log`,
		`core/ConfigMap/kubeflow:config/data["nginx.conf"]#~server_name (\S+);: dev has "test.example", prod has "kubeflow.example": by host`,
		manager + `args[1]: dev has nothing, prod has "--leader-elect": by election`,
	} {
		require.Contains(t, got, want)
	}
	// The same values are no difference: staging's and dev's replicas.
	require.NotContains(t, fmt.Sprint(got), "replicas: dev has 2, staging has 2")

	for name, change := range map[string]struct{ old, new difference.Entry }{
		"a smaller range": {e[0], func() difference.Entry { x := e[0]; x.Allow.Max = "9"; return x }()},
		"a larger least":  {e[0], func() difference.Entry { x := e[0]; x.Allow.Min = "3"; return x }()},
	} {
		less := append([]difference.Entry{change.new}, e[1:]...)
		findings, err := difference.Prove(rendered, less)
		require.NoError(t, err)
		err = difference.Err(findings)
		require.ErrorContains(t, err, "apps/Deployment/jupyter:hub/spec/replicas", name)
		require.Equal(t, fault.Drift, fault.KindOf(err))
	}
	for i := range e {
		without := slices.Delete(slices.Clone(e), i, i+1)
		findings, err := difference.Prove(rendered, without)
		require.NoError(t, err)
		if e[i].ID == "available" || e[i].ID == "kernel" { // only prod has the object; a dimension is no object's
			continue
		}
		require.NotEmpty(t, difference.Undeclared(findings), "without %s", e[i].ID)
	}
}

func field(t *testing.T, o *obj, value any, path ...string) {
	t.Helper()
	require.NoError(t, unstructured.SetNestedField(o.Object, value, path...))
}

func TestWhatNothingDeclaresIsFound(t *testing.T) {
	t.Parallel()
	e := entries(t, declared)
	container := func(t *testing.T, o *obj, i int) map[string]any {
		t.Helper()
		list, _, err := unstructured.NestedFieldNoCopy(o.Object, "spec", "template", "spec", "containers")
		require.NoError(t, err)
		return list.([]any)[i].(map[string]any)
	}
	for name, tc := range map[string]struct {
		change func(t *testing.T, prod []*obj) []*obj
		want   []string
	}{
		"a field": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				field(t, prod[0], true, "spec", "paused")
				return prod
			},
			[]string{"apps/Deployment/kubeflow:katib/spec/paused: prod has true, staging has nothing"},
		},
		"a sidecar": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				list, _, err := unstructured.NestedSlice(prod[0].Object, "spec", "template", "spec", "containers")
				require.NoError(t, err)
				field(t, prod[0], append([]any{map[string]any{"name": "evil", "image": "x"}}, list...), "spec", "template", "spec", "containers")
				return prod
			},
			[]string{`apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=evil]: prod has {"image":"x","name":"evil"}, staging has nothing`},
		},
		"beside what is declared": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				container(t, prod[0], 0)["args"] = []any{"--zap", "--leader-elect", "--extra", "--port=81"}
				return prod
			},
			[]string{
				"apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=manager]/args: ",
				`apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=manager]/args[3]: prod has "--port=81", staging has "--port=80"`,
			},
		},
		"in a text, beside what is declared": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				field(t, prod[3], "executor:\n  image: x\n  log: info\nhosts: [{name: a, port: 80}]\n", "data", "config.yaml")
				return prod
			},
			[]string{`core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/image: prod has "x", staging has "quay.io/argo`},
		},
		"how a text is written": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				text, _, _ := unstructured.NestedString(prod[3].Object, "data", "config.yaml")
				field(t, prod[3], text+"# more\n", "data", "config.yaml")
				return prod
			},
			[]string{`core/ConfigMap/kubeflow:config/data["config.yaml"]: prod has "# Read`},
		},
		"around a pattern": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				field(t, prod[3], "server { listen 81; server_name kubeflow.example; }", "data", "nginx.conf")
				return prod
			},
			[]string{`core/ConfigMap/kubeflow:config/data["nginx.conf"]: prod has "server { listen 81`},
		},
		"an object": {
			func(_ *testing.T, prod []*obj) []*obj { return slices.Delete(prod, 1, 2) },
			[]string{"apps/Deployment/jupyter:hub: prod has nothing, staging has it"},
		},
		"a value outside": {
			func(t *testing.T, prod []*obj) []*obj {
				t.Helper()
				field(t, prod[0], int64(51), "spec", "replicas")
				return prod
			},
			[]string{"apps/Deployment/kubeflow:katib/spec/replicas: prod has 51, staging has 2: in prod, 51 is not allowed: it is more than 50"},
		},
		"a field that must be there": {
			func(_ *testing.T, prod []*obj) []*obj {
				unstructured.RemoveNestedField(prod[0].Object, "spec", "replicas")
				return prod
			},
			[]string{"apps/Deployment/kubeflow:katib/spec/replicas: prod has nothing, staging has 2: in prod, the field is left out"},
		},
		"the version": {
			func(_ *testing.T, prod []*obj) []*obj { prod[0].SetAPIVersion("apps/v1beta1"); return prod },
			[]string{`apps/Deployment/kubeflow:katib/apiVersion: prod has "apps/v1beta1", staging has "apps/v1"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered := renderAll(t, objects(t, base), e)
			delete(rendered, "dev")
			rendered["prod"] = tc.change(t, rendered["prod"])
			findings, err := difference.Prove(rendered, e)
			require.NoError(t, err)
			bad := difference.Undeclared(findings)
			require.Len(t, bad, len(tc.want), "%v", describe(bad))
			for i := range bad {
				require.Contains(t, bad[i].String(), tc.want[i])
			}
			require.ErrorContains(t, difference.Err(findings), tc.want[0])
		})
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	a, b := objects(t, base), objects(t, base)
	field(t, b[4], "s3cret-in-prod", "stringData", "token")
	field(t, b[4], "s3cret-too", "data", "more")
	b[4].SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "s3cret-copy"})
	b[4].SetLabels(map[string]string{"app": "other"})
	renders := map[string][]*obj{"dev": a, "prod": b}
	loose := entries(t, `- {id: a, paths: [core/Secret/*/stringData/token], allow: {enum: [x]}}`)
	keyed := map[string]string{}
	for _, key := range []string{"", "one", "two"} {
		for _, e := range [][]difference.Entry{nil, loose} {
			proof, err := difference.Prover{Key: []byte(key), Entries: e}.Prove(renders)
			require.NoError(t, err)
			require.Len(t, proof.Findings, 4)
			require.Len(t, difference.Undeclared(proof.Findings), 4)
			raw, err := json.Marshal(proof.Findings)
			require.NoError(t, err)
			suggested, err := difference.YAML(difference.Unique(difference.Suggest(proof.Findings), nil))
			require.NoError(t, err)
			all := string(raw) + fmt.Sprint(proof.Findings) + fmt.Sprint(difference.Err(proof.Findings)) + suggested
			require.NotContains(t, all, "s3cret")
			require.Contains(t, all, "labels/app: dev has \"katib\"", "a label is no secret")
			token := proof.Findings[3]
			require.Equal(t, "core/Secret/kubeflow:token/stringData/token", token.Path.String())
			if key == "" {
				require.Empty(t, token.A.Hash)
				continue
			}
			require.NotEqual(t, token.A.Hash, token.B.Hash)
			keyed[key] = token.A.Hash
		}
	}
	require.NotEqual(t, keyed["one"], keyed["two"])
}

func TestWhatIsDerivedCountsOnce(t *testing.T) {
	t.Parallel()
	e := entries(t, declared)
	rendered := renderAll(t, objects(t, base), e)
	delete(rendered, "staging")
	made := func(name, from string, replicas int64) *obj {
		return &obj{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "ReplicaSet",
			"metadata": map[string]any{
				"name": name, "namespace": "kubeflow",
				"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": from, "uid": "u", "controller": true}},
			},
			"spec": map[string]any{"replicas": replicas, "x": replicas},
		}}
	}
	rendered["dev"] = append(rendered["dev"], made("katib-1", "katib", 2), made("other-1", "other", 2))
	rendered["prod"] = append(rendered["prod"], made("katib-1", "katib", 10), made("other-1", "other", 3))
	without, err := difference.Prover{Entries: e}.Prove(rendered)
	require.NoError(t, err)
	require.Len(t, difference.Undeclared(without.Findings), 4)
	with, err := difference.Prover{Entries: e, Source: difference.ByOwner}.Prove(rendered)
	require.NoError(t, err)
	require.Len(t, difference.Undeclared(with.Findings), 2, "the other's source does not differ")
	last := with.Findings[len(with.Findings)-1]
	require.Equal(t, "apps/ReplicaSet/kubeflow:katib-1", last.Path.String())
	require.Equal(t, "katib", last.DerivedFrom.Name)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, difference.Count(without, e, now).Declared, difference.Count(with, e, now).Declared)
}

func TestBudgetAndExpiry(t *testing.T) {
	t.Parallel()
	e := entries(t, declared)
	e[0].Expires = "2026-12-31"
	rendered := renderAll(t, objects(t, base), e)
	delete(rendered, "staging")
	field(t, rendered["prod"][0], true, "spec", "paused")
	proof, err := difference.Prover{Entries: e}.Prove(rendered)
	require.NoError(t, err)
	before := difference.Count(proof, e, time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC))
	after := difference.Count(proof, e, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	require.Equal(t, 0, before.Expired)
	require.Equal(t, 2, after.Expired, "two Deployments")
	require.Equal(t, before.Declared, after.Declared+2)
	require.Equal(t, 1, before.Undeclared)
	require.Greater(t, before.Identical, 30)
	require.Empty(t, difference.Expired(e, time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)))
	require.Len(t, difference.Expired(e, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)), 1)
}

func TestSuggestedEntriesAllowWhatWasFound(t *testing.T) {
	t.Parallel()
	e := entries(t, declared)
	all := objects(t, base)
	rendered := renderAll(t, all, e)
	findings, err := difference.Prove(rendered, nil)
	require.NoError(t, err)
	suggested := difference.Unique(difference.Suggest(findings), nil)
	written, err := difference.YAML(suggested)
	require.NoError(t, err)
	again := entries(t, written) // with a reason and an owner
	require.Empty(t, difference.Check(again, environments), written)
	findings, err = difference.Prove(rendered, again)
	require.NoError(t, err)
	require.NoError(t, difference.Err(findings), written)
	require.Contains(t, written, `- id: deployment-replicas
  paths:
    - apps/Deployment/jupyter:hub/spec/replicas
    - apps/Deployment/kubeflow:katib/spec/replicas
  allow:
    type: integer
    min: 2
    max: 10
  values:
    dev: 2
    prod: 10
    staging: 2
  reason: ""
  owner: ""
`)
	// Put into one environment's render they make another's of it, but for how
	// a number in a text is quoted.
	for _, name := range []string{"dev", "staging"} {
		made, _, err := difference.Render(rendered["prod"], again, name)
		require.NoError(t, err)
		findings, err := difference.Prove(map[string][]*obj{"a": made, "b": rendered[name]}, nil)
		require.NoError(t, err)
		require.Empty(t, describe(findings))
	}
	// As it stands, without reason and owner, nothing takes it.
	require.NotEmpty(t, difference.Check(suggested, environments))
}

// Null is how an entry says that a field is left out: a null that is meant is
// suggested with what is around it.
func TestSuggestedNull(t *testing.T) {
	t.Parallel()
	a, b := objects(t, base), objects(t, base)
	field(t, a[0], nil, "spec", "strategy", "x")
	field(t, b[0], "y", "spec", "strategy", "x")
	findings, err := difference.Prove(map[string][]*obj{"a": a, "b": b}, nil)
	require.NoError(t, err)
	suggested := difference.Unique(difference.Suggest(findings), nil)
	require.Len(t, suggested, 1)
	require.Equal(t, "apps/Deployment/kubeflow:katib/spec/strategy", suggested[0].Paths[0].String())
	made, _, err := difference.Render(b, suggested, "a")
	require.NoError(t, err)
	require.Equal(t, text(t, a), text(t, made))
}
