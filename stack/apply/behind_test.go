package apply

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestBehind(t *testing.T) {
	t.Parallel()
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "things.example.com"},
		"spec": map[string]any{"group": "example.com", "names": map[string]any{"kind": "Thing"}}}}
	first := func(change Change) Planned {
		return Planned{Set: Set{Name: "first", Objects: []*unstructured.Unstructured{crd}},
			Proposal: Proposal{Objects: []Proposed{{Object: ObjectOf(crd), Change: change}, {Object: Object{APIVersion: "v1", Kind: "ConfigMap", Name: "c"}, Change: Configured}}}}
	}
	idle := Planned{Set: Set{Name: "idle", Objects: []*unstructured.Unstructured{crd}}, Proposal: Proposal{Objects: []Proposed{{Object: ObjectOf(crd), Change: Unchanged}}}}
	thing := Object{APIVersion: "example.com/v1", Kind: "Thing", Namespace: "n", Name: "t"}
	namespace := Object{APIVersion: "v1", Kind: "Namespace", Name: "n"}
	config := Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "n", Name: "c"}
	held := func(managers ...string) (all []Conflict) {
		for _, m := range managers {
			all = append(all, Conflict{Field: "metadata.labels.a", Manager: m})
		}
		return all
	}
	for name, tc := range map[string]struct {
		before  []Planned
		object  Proposed
		refused bool
	}{
		"of a kind that changes before":       {[]Planned{first(Configured)}, Proposed{Object: thing, Blocked: "spec.n: Invalid"}, false},
		"of a kind that is made before":       {[]Planned{first(Created)}, Proposed{Object: thing, Blocked: "spec.n: Invalid"}, false},
		"of a kind that stays":                {[]Planned{first(Unchanged)}, Proposed{Object: thing, Blocked: "spec.n: Invalid"}, true},
		"of another kind":                     {[]Planned{first(Configured)}, Proposed{Object: config, Blocked: "data: immutable"}, true},
		"with nothing before":                 {nil, Proposed{Object: thing, Blocked: "spec.n: Invalid"}, true},
		"the kind itself":                     {[]Planned{first(Configured)}, Proposed{Object: ObjectOf(crd), Blocked: "objects are stored as v1"}, true},
		"a quota, and something changes":      {[]Planned{first(Unchanged)}, Proposed{Object: config, Blocked: "exceeded quota", Denied: true}, false},
		"a quota, and nothing changes":        {[]Planned{idle}, Proposed{Object: config, Blocked: "exceeded quota", Denied: true}, true},
		"a namespace that a set before holds": {[]Planned{first(Configured)}, Proposed{Object: namespace, Conflicts: held("kfdev-first")}, false},
		"one that an idle set holds":          {[]Planned{idle}, Proposed{Object: namespace, Conflicts: held("kfdev-idle")}, true},
		"one that somebody holds, too":        {[]Planned{first(Configured)}, Proposed{Object: namespace, Conflicts: held("kfdev-first", "kubectl")}, true},
		"a manager that is called like one":   {[]Planned{first(Configured)}, Proposed{Object: config, Conflicts: held("kfdev-first")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := Proposal{Set: "second", Objects: []Proposed{tc.object}}
			got := is.Behind(tc.before)
			require.Equal(t, tc.refused, got.Problems() != nil, "%+v", got)
			if !tc.refused {
				require.NotEmpty(t, got.Objects[0].Unchecked, "it is said that nobody knows yet")
			}
			require.Error(t, is.Problems(), "the proposal itself is left alone")
		})
	}
}
