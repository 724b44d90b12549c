package structure_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/structure"
)

func value(t *testing.T, text string) any {
	t.Helper()
	var v map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &v))
	return whole(v)
}

// whole turns the whole numbers of JSON into int64, as unstructured objects have them.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	}
	return v
}

func describe(changes []structure.Change) []string {
	var out []string
	for _, c := range changes {
		text := fieldpath.Render(c.Path)
		switch {
		case c.Order:
			text += " order"
		case !c.A.Present:
			text += " added"
		case !c.B.Present:
			text += " removed"
		}
		if c.Mark >= 0 {
			text += fmt.Sprint(" mark ", c.Mark)
		}
		out = append(out, text)
	}
	return out
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a, b   string
		want   []string
		custom bool // not Kubernetes' own type
	}{
		"nothing":              {`{a: 1, b: [x]}`, `{b: [x], a: 1}`, nil, false},
		"scalar":               {`{a: {b: 1}}`, `{a: {b: 2}}`, []string{"a/b"}, false},
		"another type":         {`{a: {b: 1}}`, `{a: [b]}`, []string{"a"}, false},
		"text and number":      {`{a: "1"}`, `{a: 1}`, []string{"a"}, false},
		"null and none":        {`{a: null}`, `{}`, []string{"a removed"}, false},
		"containers move":      {`{containers: [{name: a}, {name: b}]}`, `{containers: [{name: b}, {name: a}]}`, nil, false},
		"custom ones move":     {`{containers: [{name: a}, {name: b}]}`, `{containers: [{name: b}, {name: a}]}`, []string{"containers order"}, true},
		"init containers move": {`{initContainers: [{name: a}, {name: b}]}`, `{initContainers: [{name: b}, {name: a}]}`, []string{"initContainers order"}, false},
		"a container's field": {
			`{containers: [{name: a, image: x}, {name: b}]}`, `{containers: [{name: b}, {name: a, image: y}]}`,
			[]string{"containers[name=a]/image"}, false,
		},
		"a sidecar": {`{containers: [{name: a}]}`, `{containers: [{name: b}, {name: a}]}`, []string{"containers[name=b] added"}, false},
		"ports": {
			`{ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53, protocol: TCP}]}`,
			`{ports: [{containerPort: 53, protocol: TCP, name: dns}, {containerPort: 53, protocol: UDP}]}`,
			[]string{"ports[containerPort=53,protocol=TCP]/name added"}, false,
		},
		"ports that one path would mix up": {
			`{ports: [{port: 53}, {port: 53, protocol: UDP}]}`, `{ports: [{port: 54}, {port: 53, protocol: UDP}]}`,
			[]string{"ports[0]/port"}, false,
		},
		"mounts":              {`{volumeMounts: [{mountPath: /a, name: x}]}`, `{volumeMounts: [{mountPath: /a, name: y}]}`, []string{"volumeMounts[mountPath=/a]/name"}, false},
		"a name twice":        {`{containers: [{name: a}, {name: a}]}`, `{containers: [{name: a}, {name: a, x: 1}]}`, []string{"containers[1]/x added"}, false},
		"finalizers":          {`{finalizers: [a, b]}`, `{finalizers: [b, c]}`, []string{"finalizers[=a] removed", "finalizers[=c] added"}, false},
		"arguments":           {`{args: [a, b]}`, `{args: [b, a]}`, []string{"args[0]", "args[1]"}, false},
		"a longer list":       {`{args: [a]}`, `{args: [a, b]}`, []string{"args[1] added"}, false},
		"unknown, with names": {`{steps: [{name: a, x: 1}, {name: b}]}`, `{steps: [{name: b}, {name: a, x: 2}]}`, []string{"steps order", "steps[name=a]/x"}, false},
		"a list that is gone": {`{args: [a]}`, `{}`, []string{"args removed"}, false},
		"an empty map":        {`{a: {}}`, `{}`, []string{"a removed"}, false},
		"an odd key":          {`{a: {"x.y/z": 1}}`, `{a: {"x.y/z": 2}}`, []string{`a["x.y/z"]`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := structure.Compare(value(t, tc.a), value(t, tc.b), structure.Options{BuiltIn: !tc.custom})
			require.Equal(t, tc.want, describe(got.Changes))
		})
	}
}

func TestCompareWithMarks(t *testing.T) {
	t.Parallel()
	mark := func(id int, pointers ...string) structure.Marks {
		m := structure.Marks{}
		for _, p := range pointers {
			m[p] = structure.Mark{ID: id, Name: fmt.Sprint(id)}
		}
		return m
	}
	for name, tc := range map[string]struct {
		a, b   string
		ma, mb structure.Marks
		want   []string
	}{
		"a marked field":      {`{a: {b: 1, c: 1}}`, `{a: {b: 2, c: 2}}`, mark(3, "/a/b"), mark(3, "/a/b"), []string{"a/b mark 3", "a/c"}},
		"one is enough":       {`{a: {b: 1}}`, `{a: {}}`, mark(0, "/a/b"), nil, []string{"a/b removed mark 0"}},
		"a map only here":     {`{}`, `{a: {b: 1, c: 1}}`, nil, mark(0, "/a/b"), []string{"a/b added mark 0", "a/c added"}},
		"all below is marked": {`{}`, `{a: {b: 1}}`, nil, mark(0, "/a/b"), []string{"a/b added mark 0"}},
		"the whole":           {`{a: [x]}`, `{a: [x, y]}`, mark(0, "/a"), mark(0, "/a"), []string{"a mark 0"}},
		"a marked argument moves no other": {
			`{args: [a, b, c]}`, `{args: [b, c]}`, mark(0, "/args/0"), nil, []string{"args[0] removed mark 0"},
		},
		"and hides none": {
			`{args: [a, b, c]}`, `{args: [b, d]}`, mark(0, "/args/0"), nil, []string{"args[2]", "args[0] removed mark 0"},
		},
		"marked elements pair by name": {
			`{x: [{k: 1}, {k: 2}]}`, `{x: [{k: 3}]}`,
			structure.Marks{"/x/0": {ID: 0, Name: "p"}, "/x/1": {ID: 1, Name: "q"}}, structure.Marks{"/x/0": {ID: 1, Name: "q"}},
			[]string{"x[0] removed mark 0", "x[1] mark 1"},
		},
		"a marked argument that moves": {
			`{args: [a, b, c]}`, `{args: [b, a, c]}`, mark(0, "/args/0"), mark(0, "/args/1"), []string{"args order"},
		},
		"presence is not the content": {
			`{containers: [{name: a, x: 1}]}`, `{containers: [{name: a, x: 2}, {name: b}]}`,
			structure.Marks{"/containers/0": {Presence: true}}, structure.Marks{"/containers/0": {Presence: true}, "/containers/1": {ID: 1, Presence: true}},
			[]string{"containers[name=a]/x", "containers[name=b] added mark 1"},
		},
		"a marked list only here": {`{}`, `{x: [{k: 1}, {k: 2}]}`, nil, mark(0, "/x/0"), []string{"x[1] added", "x[0] added mark 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := structure.Compare(value(t, tc.a), value(t, tc.b), structure.Options{BuiltIn: true, A: tc.ma, B: tc.mb})
			require.Equal(t, tc.want, describe(got.Changes))
		})
	}
}

func TestEqualCountsWhatIsTheSame(t *testing.T) {
	t.Parallel()
	v := value(t, `{a: 1, b: {c: [x, y], d: {}}, e: [], f: null}`)
	require.Equal(t, 6, structure.Compare(v, v, structure.Options{}).Equal)
	require.Equal(t, 6, structure.Compare(v, v, structure.Options{A: structure.Marks{"/b": {}}}).Equal)
	require.True(t, structure.Equal(map[string]any{"a": int64(1)}, map[string]any{"a": 1.0}))
	require.False(t, structure.Equal("1", int64(1)))
	require.False(t, structure.Equal(1.5, int64(1)))
}

// random makes a value of the shapes that objects have.
func random(r *rand.Rand, depth int) any {
	switch n := r.IntN(10); {
	case depth <= 0 || n < 3:
		return []any{int64(r.IntN(3)), "x", "y", true, nil, 1.5}[r.IntN(6)]
	case n < 7:
		m := map[string]any{}
		for range r.IntN(4) {
			k := []string{"a", "b", "c.d/e", "containers", "env", "ports", "args", "finalizers", "steps"}[r.IntN(9)]
			m[k] = field(r, k, depth-1)
		}
		return m
	default:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, random(r, depth-1))
		}
		return list
	}
}

func field(r *rand.Rand, key string, depth int) any {
	if r.IntN(8) == 0 {
		return random(r, depth)
	}
	list := []any{}
	for range r.IntN(4) {
		switch key {
		case "containers", "env", "steps":
			list = append(list, map[string]any{"name": string(rune('a' + r.IntN(6))), "v": random(r, depth-1)})
		case "ports":
			p := map[string]any{"port": int64(r.IntN(3)), "name": "n"}
			if r.IntN(2) == 0 {
				p["protocol"] = []string{"TCP", "UDP"}[r.IntN(2)]
			}
			list = append(list, p)
		case "args", "finalizers":
			list = append(list, string(rune('a'+r.IntN(4))))
		default:
			return random(r, depth)
		}
	}
	return list
}

// apply puts what changed into a, and returns it.
func apply(t *testing.T, a any, changes []structure.Change) any {
	t.Helper()
	root := any(map[string]any{"root": runtime.DeepCopyJSONValue(a)})
	for _, c := range slices.Backward(changes) { // so that what is removed at a place moves nothing that comes
		if !c.B.Present {
			root = edit(t, root, c)
		}
	}
	for _, c := range changes {
		if c.B.Present {
			root = edit(t, root, c)
		}
	}
	return root.(map[string]any)["root"]
}

func edit(t *testing.T, root any, c structure.Change) any {
	t.Helper()
	steps := append([]fieldpath.Step{{Kind: fieldpath.Key, Key: "root"}}, c.Path...)
	found := fieldpath.Resolve(root, steps, false)
	if len(found) == 0 { // an element or a key that is new
		parent := fieldpath.Resolve(root, steps[:len(steps)-1], false)
		require.Len(t, parent, 1, "%s", fieldpath.Render(c.Path))
		last := steps[len(steps)-1]
		if last.Kind == fieldpath.Key {
			parent[0].Value.(map[string]any)[last.Key] = runtime.DeepCopyJSONValue(c.B.Value)
			return root
		}
		return put(root, parent[0].At, func(v any) any { return append(v.([]any), runtime.DeepCopyJSONValue(c.B.Value)) })
	}
	require.Len(t, found, 1, "%s", fieldpath.Render(c.Path))
	if c.B.Present {
		return put(root, found[0].At, func(any) any { return runtime.DeepCopyJSONValue(c.B.Value) })
	}
	at := found[0].At
	return put(root, at[:len(at)-1], func(v any) any {
		switch last := at[len(at)-1].(type) {
		case string:
			delete(v.(map[string]any), last)
		case int:
			return slices.Delete(v.([]any), last, last+1)
		}
		return v
	})
}

func put(node any, at []any, f func(any) any) any {
	if len(at) == 0 {
		return f(node)
	}
	switch part := at[0].(type) {
	case string:
		m := node.(map[string]any)
		m[part] = put(m[part], at[1:], f)
	case int:
		l := node.([]any)
		l[part] = put(l[part], at[1:], f)
	}
	return node
}

// TestCompareTellsAllOfIt: nothing changed is nothing reported; every path
// leads to its values; what is reported, put into a, makes b of it.
func TestCompareTellsAllOfIt(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 6_000 {
		a, b := random(r, 4), random(r, 4)
		options := structure.Options{BuiltIn: r.IntN(2) == 0}
		require.Empty(t, structure.Compare(a, a, options).Changes)
		changes := structure.Compare(a, b, options).Changes
		for _, c := range changes {
			holds(t, a, c.Path, c.A)
			holds(t, b, c.Path, c.B)
		}
		// Elements that are new come last; where order has a meaning, that is
		// said once they are there.
		got := apply(t, a, changes)
		rest := structure.Compare(got, b, options).Changes
		for _, c := range rest {
			require.True(t, c.Order, "%v to %v: %v left of %v", a, b, describe(rest), describe(changes))
		}
		require.Empty(t, structure.Compare(apply(t, got, rest), b, options).Changes)
	}
}

func holds(t *testing.T, in any, path []fieldpath.Step, s structure.Side) {
	t.Helper()
	if !s.Present {
		return
	}
	text := fieldpath.Render(path)
	found := fieldpath.Resolve(in, path, false)
	require.Len(t, found, 1, "%s in %v", text, in)
	require.Equal(t, fieldpath.Pointer(s.At), fieldpath.Pointer(found[0].At), text)
	require.True(t, structure.Equal(found[0].Value, s.Value), text)
	if text != "" && !strings.HasPrefix(text, "[") {
		again, _, err := fieldpath.ParseField(text)
		require.NoError(t, err)
		require.Equal(t, path, again)
	}
}

func BenchmarkCompare(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	v := map[string]any{}
	for i := range 100 {
		v[fmt.Sprint("k", i)] = random(r, 6)
	}
	w := runtime.DeepCopyJSON(v)
	for b.Loop() {
		structure.Compare(v, w, structure.Options{BuiltIn: true})
	}
}
