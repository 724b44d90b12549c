package difference_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// spot is a place in an object that a test may change.
type spot struct {
	object int
	path   fieldpath.Path
	at     []any
	value  any
}

// spots returns every scalar of the objects, but for their identities, with
// the path that Prove must give.
func spots(all []*obj) []spot {
	var out []spot
	for i, o := range all {
		ref := difference.RefOf(o)
		var walk func(node any, path []fieldpath.Step, at []any, key string)
		walk = func(node any, path []fieldpath.Step, at []any, key string) {
			switch n := node.(type) {
			case map[string]any:
				for _, k := range slices.Sorted(func(yield func(string) bool) {
					for k := range n {
						if !yield(k) {
							return
						}
					}
				}) {
					if len(path) == 0 && (k == "apiVersion" || k == "kind") || k == "name" || k == "namespace" || k == "finalizers" {
						continue
					}
					walk(n[k], append(slices.Clip(path), fieldpath.Step{Kind: fieldpath.Key, Key: k}), append(slices.Clip(at), k), k)
				}
			case []any:
				for j, item := range n {
					s := fieldpath.Step{Kind: fieldpath.Index, Index: j}
					if m, ok := item.(map[string]any); ok && m["name"] != nil {
						s = fieldpath.Step{Kind: fieldpath.Match, Match: []fieldpath.Pair{{Key: "name", Value: m["name"].(string)}}}
					}
					walk(item, append(slices.Clip(path), s), append(slices.Clip(at), j), "")
				}
			default:
				out = append(out, spot{object: i, path: ref.Path(path...), at: at, value: node})
			}
		}
		walk(o.Object, nil, nil, "")
	}
	return out
}

// randomObjects makes objects with lists that have keys, and lists that have none.
func randomObjects(r *rand.Rand) []*obj {
	var out []*obj
	for i := range 1 + r.IntN(3) {
		kind := []string{"Deployment", "Notebook"}[r.IntN(2)]
		group := map[string]string{"Deployment": "apps/v1", "Notebook": "kubeflow.org/v1"}[kind]
		var containers, args []any
		for j := range 1 + r.IntN(3) {
			args = append(args, "a"+strconv.Itoa(j))
			containers = append(containers, map[string]any{
				"name": "c" + strconv.Itoa(j), "image": "i" + strconv.Itoa(r.IntN(9)), "args": slices.Clone(args),
				"resources": map[string]any{"limits": map[string]any{"cpu": "1", "nvidia.com/gpu": int64(r.IntN(4))}},
			})
		}
		out = append(out, &obj{Object: map[string]any{
			"apiVersion": group, "kind": kind,
			"metadata": map[string]any{"name": "o" + strconv.Itoa(i), "namespace": "n", "annotations": map[string]any{"a.b/c": "d"}},
			"spec": map[string]any{
				"replicas": int64(r.IntN(5)), "paused": r.IntN(2) == 0, "containers": containers,
				"deep":       map[string]any{"list": []any{[]any{int64(1), "x"}, map[string]any{"k": "v"}}, "ratio": 0.5},
				"finalizers": []any{"x/a", "x/b"},
			},
		}})
	}
	return out
}

func put(all []*obj, s spot, value any) {
	fieldpath.Put(all[s.object].Object, s.at, func(any) any { return value })
}

// another returns a value that is not v, mostly of its type.
func another(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case int64:
		return v + 1 + r.Int64N(5)
	case bool:
		return !v
	case string:
		return v + string(rune('a'+r.IntN(5)))
	}
	return "other"
}

// domains returns domains that have both values, and a value just outside.
func domains(r *rand.Rand, a, b any) (difference.Domain, any) {
	switch x := a.(type) {
	case int64:
		y := b.(int64)
		low, high := min(x, y), max(x, y)
		outside := []any{low - 1, high + 1, strconv.FormatInt(low, 10)}[r.IntN(3)]
		return difference.Domain{Type: difference.Integer, Min: difference.Bound(strconv.FormatInt(low, 10)), Max: difference.Bound(strconv.FormatInt(high, 10))}, outside
	case bool:
		return difference.Domain{Type: difference.Boolean}, "true"
	case string:
		if r.IntN(2) == 0 {
			return difference.Domain{Enum: []any{a, b}}, x + "?"
		}
		return difference.Domain{Pattern: `[a-z0-9]+`}, x + "?"
	}
	return difference.Domain{Enum: []any{a, b}}, "outside"
}

// TestOnlyWhatIsDeclaredMayDiffer: whatever is changed outside what entries
// declare is found, with its exact path and both values; within its domain it
// is accepted; one beyond the domain's edge is not. What is suggested then
// makes it right.
func TestOnlyWhatIsDeclaredMayDiffer(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 600 {
		all := randomObjects(r)
		places := spots(all)
		r.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		n := r.IntN(min(4, len(places)-1))
		mine, rest := places[:n], places[n:]

		var e []difference.Entry
		other := copies(all)
		outside := make([]any, n)
		for i, s := range mine {
			value := another(r, s.value)
			var d difference.Domain
			d, outside[i] = domains(r, s.value, value)
			e = append(e, difference.Entry{
				ID: fmt.Sprint("e", i), Paths: []fieldpath.Path{s.path}, Allow: d, Reason: "r", Owner: "o",
				Values: map[string]any{"a": s.value, "b": value},
			})
			put(other, s, value)
		}
		require.Empty(t, difference.Check(e, []string{"a", "b"}))
		made, used, err := difference.Render(all, e, "b")
		require.NoError(t, err)
		require.Len(t, used, n)
		require.Equal(t, text(t, other), text(t, made), "Render makes b of a")

		findings, err := difference.Prove(map[string][]*obj{"a": all, "b": other}, e)
		require.NoError(t, err)
		require.Len(t, findings, n)
		require.NoError(t, difference.Err(findings))

		for i, s := range mine { // the edge
			beyond := copies(other)
			put(beyond, s, outside[i])
			findings, err := difference.Prove(map[string][]*obj{"a": all, "b": beyond}, e)
			require.NoError(t, err)
			exactly(t, findings, s, outside[i], e[i].ID)
		}
		s := rest[r.IntN(len(rest))]
		value := another(r, s.value)
		put(other, s, value)
		findings, err = difference.Prove(map[string][]*obj{"a": all, "b": other}, e)
		require.NoError(t, err)
		exactly(t, findings, s, value, "")

		for _, suggested := range difference.Unique(difference.Suggest(findings), nil) {
			suggested.ID, suggested.Reason, suggested.Owner = "x-"+suggested.ID, "r", "o"
			require.Empty(t, suggested.Check([]string{"a", "b"}))
			e = append(e, suggested)
		}
		findings, err = difference.Prove(map[string][]*obj{"a": all, "b": other}, e)
		require.NoError(t, err)
		require.NoError(t, difference.Err(findings))
	}
}

func exactly(t *testing.T, findings []difference.Finding, s spot, value any, entry string) {
	t.Helper()
	bad := difference.Undeclared(findings)
	require.Len(t, bad, 1, "%v", describe(findings))
	require.Equal(t, s.path.String(), bad[0].Path.String())
	require.Equal(t, s.value, bad[0].A.Value)
	require.Equal(t, value, bad[0].B.Value)
	require.Equal(t, entry, bad[0].Entry)
	require.NotEmpty(t, bad[0].Why)
}

// TestSuggestedEntriesTurnOneIntoTheOther: for any two sets of objects, what is
// suggested passes Check, allows all that was found, and makes one set of the
// other.
func TestSuggestedEntriesTurnOneIntoTheOther(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	names := []string{"a", "b", "c"}
	for range 150 {
		whole := randomObjects(r)
		renders := map[string][]*obj{"a": whole}
		for _, name := range names[1:] {
			other := copies(whole)
			for range r.IntN(4) {
				mutate(r, other)
			}
			renders[name] = other
		}
		findings, err := difference.Prove(renders, nil)
		require.NoError(t, err)
		suggested := difference.Unique(difference.Suggest(findings), nil)
		for i := range suggested {
			suggested[i].Reason, suggested[i].Owner = "r", "o"
		}
		written, err := difference.YAML(suggested)
		require.NoError(t, err)
		require.Empty(t, difference.Check(suggested, names), written)
		after, err := difference.Prove(renders, suggested)
		require.NoError(t, err)
		require.Empty(t, describe(difference.Undeclared(after)), "%s", written)
		for _, name := range names {
			made, _, err := difference.Render(whole, suggested, name)
			require.NoError(t, err, written)
			left, err := difference.Prove(map[string][]*obj{"made": made, "real": renders[name]}, nil)
			require.NoError(t, err)
			require.Empty(t, describe(left), "%s", written)
		}
	}
}

// mutate changes, adds or takes out something anywhere below spec.
func mutate(r *rand.Rand, all []*obj) {
	o := all[r.IntN(len(all))]
	node := o.Object["spec"]
	for {
		m, ok := node.(map[string]any)
		if !ok {
			return
		}
		keys := make([]string, 0, len(m))
		for k := range m {
			if k != "name" {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		switch r.IntN(6) {
		case 0:
			m["new"+strconv.Itoa(r.IntN(3))] = []any{int64(1), "x", map[string]any{"y": "z"}, []any{"l"}, nil}[r.IntN(5)]
			return
		case 1:
			if len(keys) > 0 {
				delete(m, keys[r.IntN(len(keys))])
			}
			return
		}
		if len(keys) == 0 {
			return
		}
		k := keys[r.IntN(len(keys))]
		switch v := m[k].(type) {
		case map[string]any:
			node = v
		case []any:
			switch i := r.IntN(3); {
			case i == 0 && len(v) > 0:
				m[k] = runtime.DeepCopyJSONValue(slices.Delete(slices.Clone(v), 0, 1))
				return
			case i == 1 && (k == "args" || k == "finalizers"):
				m[k] = append(slices.Clone(v), "new")
				return
			case i == 1 && k == "containers":
				m[k] = append(slices.Clone(v), map[string]any{"name": "new" + strconv.Itoa(len(v)), "image": "x"})
				return
			case len(v) > 0:
				node = v[r.IntN(len(v))]
			default:
				return
			}
		default:
			m[k] = another(r, v)
			return
		}
	}
}

func BenchmarkProve(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	var all []*obj
	for i := range 500 {
		o := randomObjects(r)[0]
		o.SetName(fmt.Sprint("o", i))
		all = append(all, o)
	}
	other := copies(all)
	var e []difference.Entry
	for _, p := range []string{"apps/Deployment/*/spec/replicas", "kubeflow.org/Notebook/*/spec/replicas"} {
		path, err := fieldpath.Parse(p)
		require.NoError(b, err)
		e = append(e, difference.Entry{ID: "a", Paths: []fieldpath.Path{path}, Allow: difference.Domain{Type: difference.Integer}})
	}
	for b.Loop() {
		if _, err := difference.Prove(map[string][]*obj{"a": all, "b": other}, e); err != nil {
			b.Fatal(err)
		}
	}
}
