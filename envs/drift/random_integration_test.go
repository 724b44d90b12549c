//go:build integration

package drift_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/stack/apply"
)

// TestIntegrationASidecarThatADryRunCallsUnchanged is what drift is for: the
// server, asked what applying the release would change, says nothing.
func TestIntegrationASidecarThatADryRunCallsUnchanged(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	c.at("Deployment", "web").edit(t, `{spec: {template: {spec: {containers: [{name: evil, image: "evil:latest"}]}}}}`)
	live := read(t, c, "Deployment", "web")
	sent := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")
	for _, o := range c.wanted.Sets[0].Objects {
		if o.GetKind() == "Deployment" && o.GetName() == "web" {
			sent = o.DeepCopy()
		}
	}
	name, id, _ := strings.Cut(apply.Selector("demo"), "=")
	sent.SetLabels(map[string]string{"app": "web", name: id})
	data, err := json.Marshal(sent.Object)
	require.NoError(t, err)
	force := true
	would, err := c.resource(t, "apps/v1", "Deployment", "demo").Patch(t.Context(), "web", types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: apply.Manager, Force: &force, DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
	require.Equal(t, live.Object["spec"], would.Object["spec"], "the dry run changes nothing")
	planned, err := c.applier.Plan(t.Context(), c.wanted.Sets[0])
	require.NoError(t, err)
	require.False(t, planned.Changed(), "and so the plan of an apply has nothing to do")

	report := c.scan(t, false)
	require.Equal(t, []string{"foreign-field " + template + "containers[name=evil]"}, lines(report.Findings))
	f := report.Findings[0]
	require.Equal(t, "kubectl-edit", f.Who[0].Manager)
	require.NotNil(t, f.Who[0].Time)
	data, err = json.Marshal(report)
	require.NoError(t, err)
	require.Contains(t, string(data), `"path":"spec/template/spec/containers[name=evil]"`)
	require.Contains(t, string(data), `"image":"evil:latest"`)
}

// TestIntegrationRandomChanges: any change to any field of an object is found,
// at the field or around it and nowhere else, and mended to the very content.
func TestIntegrationRandomChanges(t *testing.T) {
	t.Parallel()
	c := environment(t, false)
	r := rand.New(rand.NewPCG(7, 11))
	crd := load(t, "base.yaml")
	crd = slices.DeleteFunc(crd, func(o *unstructured.Unstructured) bool { return o.GetKind() != "CustomResourceDefinition" })
	for round := range 4 {
		widget := object(t, "{apiVersion: demo.example/v1, kind: Widget, metadata: {name: random}}")
		spec := map[string]any{"always": map[string]any{"a": "b", "list": []any{"x", "y", map[string]any{"k": int64(1)}}}}
		maps.Copy(spec, randomMap(r, 3))
		widget.Object["spec"] = spec
		c.wanted = drift.Wanted{Release: fmt.Sprint("sha256:", round), Sets: []apply.Set{{Name: "demo", Namespace: "default", Objects: append(slices.Clone(crd), widget)}}}
		c.apply(t)
		report, err := c.detector.Settle(t.Context(), c.wanted)
		require.NoError(t, err)
		require.Empty(t, texts(report.Findings))
		x := target{c, "demo.example/v1", "Widget", "default", "random"}
		before := content(t, c)
		for range 8 {
			at, operation := randomChange(r, before)
			data, err := json.Marshal([]any{operation})
			require.NoError(t, err)
			x.patch(t, types.JSONPatchType, "somebody", string(data))
			report := c.scan(t, false)
			require.NotEmpty(t, report.Findings, "%s", data)
			for _, f := range report.Findings {
				steps, _, err := fieldpath.ParseField(f.Path)
				require.NoError(t, err)
				require.True(t, around(steps, at), "%s for %s", f.Path, data)
			}
			_, err = c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(report), open{}.fence)
			require.NoError(t, err, "%s: %v", data, texts(report.Findings))
			require.Empty(t, texts(c.scan(t, true).Findings), "%s: %v", data, texts(report.Findings))
			require.Equal(t, before, content(t, c), "%s", data)
		}
	}
}

func content(t *testing.T, c *cluster) any {
	t.Helper()
	o, err := c.resource(t, "demo.example/v1", "Widget", "default").Get(t.Context(), "random", metav1.GetOptions{})
	require.NoError(t, err)
	return o.Object["spec"]
}

// around reports whether a path is of the place, above or below it.
func around(steps []fieldpath.Step, at []any) bool {
	for i := range min(len(steps), len(at)) {
		switch part := at[i].(type) {
		case string:
			if steps[i].Kind != fieldpath.Key || steps[i].Key != part {
				return false
			}
		case int:
			if steps[i].Kind != fieldpath.Index || steps[i].Index != part {
				return false
			}
		}
	}
	return true
}

func randomMap(r *rand.Rand, depth int) map[string]any {
	out := map[string]any{}
	for range 1 + r.IntN(4) {
		key := []string{"a", "b.c/d", "e", "f", "g~h", "steps"}[r.IntN(6)]
		switch n := r.IntN(6); {
		case key == "steps" || n == 0 && depth > 0:
			out[key] = []any{map[string]any{"name": "n", "x": int64(r.IntN(3))}, map[string]any{"name": "m"}}
		case n < 3 && depth > 0:
			out[key] = randomMap(r, depth-1)
		default:
			out[key] = []any{int64(r.IntN(9)), "text", true, ""}[r.IntN(4)]
		}
	}
	return out
}

// randomChange chooses a place of a spec and a JSON patch that changes it.
func randomChange(r *rand.Rand, spec any) (at []any, operation map[string]any) {
	var places [][]any
	var walk func(v any, at []any)
	walk = func(v any, at []any) {
		places = append(places, at)
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(v[k], append(slices.Clip(at), k))
			}
		case []any:
			for i := range v {
				walk(v[i], append(slices.Clip(at), i))
			}
		}
	}
	walk(spec, []any{"spec"})
	at = places[1+r.IntN(len(places)-1)]
	switch r.IntN(3) {
	case 0:
		return at, map[string]any{"op": "remove", "path": fieldpath.Pointer(at)}
	case 1:
		return at, map[string]any{"op": "replace", "path": fieldpath.Pointer(at), "value": "changed by somebody"}
	}
	parent := at[:len(at)-1]
	if _, inList := at[len(at)-1].(int); inList {
		return parent, map[string]any{"op": "add", "path": fieldpath.Pointer(parent) + "/-", "value": map[string]any{"new": "element"}}
	}
	at = append(slices.Clip(parent), "foreign")
	return at, map[string]any{"op": "add", "path": fieldpath.Pointer(at), "value": map[string]any{"deep": map[string]any{"er": "x"}}}
}
