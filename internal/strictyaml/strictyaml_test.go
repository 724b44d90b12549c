package strictyaml_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/internal/strictyaml"
)

type sample struct {
	Name   string            `yaml:"name"`
	Count  int               `yaml:"count"`
	On     *bool             `yaml:"on"`
	Items  []item            `yaml:"items"`
	Labels map[string]string `yaml:"labels"`
	Free   map[string]any    `yaml:"free"`
	Hidden string            `yaml:"-"`
}

type item struct {
	Kind string `yaml:"kind"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"good":            {"name: a\ncount: 2\non: true\nitems: [{kind: x}]\nlabels: {a: b}\nfree: {x: [1, {y: z}]}\n", nil},
		"null is unset":   {"name:\nitems:\n", nil},
		"null in a list":  {"items: [null, {kind: x}]\n", []string{`f.yaml:1:9: items[0]: nothing is there: write an item, or take its place out`}},
		"unknown, near":   {"namme: a\n", []string{`f.yaml:1:1: unknown key "namme": did you mean "name"?`}},
		"unknown, far":    {"zzzzzz: a\n", []string{`f.yaml:1:1: unknown key "zzzzzz": the keys here are count, free, items, labels, name, on`}},
		"hidden":          {"Hidden: a\n", []string{`f.yaml:1:1: unknown key "Hidden": the keys here are count, free, items, labels, name, on`}},
		"all at once":     {"name: 5\ncount: many\non: maybe\nitems: [{kid: x}, 3]\n", []string{`f.yaml:1:7: name: a string is wanted; write "5"`, `f.yaml:2:8: count: a whole number is wanted, not "many"`, `f.yaml:3:5: on: true or false is wanted, not "maybe"`, `f.yaml:4:10: unknown key "items[0].kid": did you mean "kind"?`, `f.yaml:4:19: items[1]: a mapping is wanted, not "3"`}},
		"list for string": {"name: [a]\n", []string{`f.yaml:1:7: name: a string is wanted, not a list`}},
		"string for list": {"items: a\n", []string{`f.yaml:1:8: items: a list is wanted, not "a"`}},
		"twice":           {"name: a\nname: b\n", []string{`f.yaml:2:1: "name" comes twice`}},
		"twice in a map":  {"labels:\n  a: x\n  a: y\n", []string{`f.yaml:3:3: "labels.a" comes twice`}},
		"two documents":   {"name: a\n---\nname: b\n", []string{`f.yaml:2:1: a second document; only one is taken`}},
		"empty":           {"", []string{`f.yaml: is empty`}},
		"not a mapping":   {"- a\n", []string{`f.yaml:1:1: a mapping is wanted, not a list`}},
		"not yaml":        {"name: [a\n", []string{`f.yaml:1:1: did not find expected ',' or ']'`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var into sample
			_, problems := strictyaml.Decode("f.yaml", []byte(tc.text), &into)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestAtNamesTheNearestPlace(t *testing.T) {
	t.Parallel()
	var into sample
	doc, problems := strictyaml.Decode("f.yaml", []byte("name: a\nitems:\n  - kind: x\n  - kind: y\nfree:\n"), &into)
	require.NoError(t, problems.Err())
	require.Equal(t, "f.yaml:4:11: no", doc.At("no", "items", 1, "kind").String())
	require.Equal(t, "f.yaml:4:5: no", doc.At("no", "items", 1, "other").String())
	require.Equal(t, "f.yaml:1:1: no", doc.At("no", "other").String())
	require.Equal(t, "f.yaml:4:5: no", doc.Key("no", "items", 1, "kind").String())
	require.Equal(t, "f.yaml:2:1: no", doc.Key("no", "items").String())
	require.Equal(t, "f.yaml:1:1: no", doc.Key("no", "other").String())
	require.True(t, doc.Has("items", 1, "kind"))
	require.False(t, doc.Has("items", 2))
	require.False(t, doc.Has("free"))
	sorted := strictyaml.Problems{doc.At("b", "items", 1, "kind"), doc.At("a", "name")}
	require.EqualError(t, sorted.Err(), "f.yaml:1:7: a\nf.yaml:4:11: b")
}

func TestWhatIsRightIsReadBesideProblems(t *testing.T) {
	t.Parallel()
	var into sample
	_, problems := strictyaml.Decode("f.yaml", []byte("nam: a\nname: b\ncount: many\nitems: [{kind: x}]\nname: c\n"), &into)
	require.Len(t, problems, 3)
	require.Equal(t, sample{Name: "b", Items: []item{{Kind: "x"}}}, into)
}

type several struct {
	Words words           `yaml:"words"`
	First int             `yaml:"first"`
	Rest  map[string]item `yaml:",inline"`
}

type words []string

func (*words) Forms() map[yaml.Kind]reflect.Type {
	return map[yaml.Kind]reflect.Type{yaml.ScalarNode: reflect.TypeFor[string](), yaml.SequenceNode: reflect.TypeFor[[]string]()}
}

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*w = words{"one", n.Value}
		return nil
	}
	return n.Decode((*[]string)(w))
}

func TestFormsAndInlinedMaps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text  string
		want  several
		wrong string
	}{
		"a text":              {"words: a\n", several{Words: words{"one", "a"}}, ""},
		"a list":              {"words: [a, b]\n", several{Words: words{"a", "b"}}, ""},
		"an alias":            {"a: &a {kind: x}\nb: *a\n", several{Rest: map[string]item{"a": {Kind: "x"}, "b": {Kind: "x"}}}, ""},
		"another form":        {"words: {a: b}\n", several{}, "f.yaml:1:8: words: a string or a list is wanted, not a mapping"},
		"wrong within a form": {"words: [a, 5]\n", several{}, `f.yaml:1:12: words[1]: a string is wanted; write "5"`},
		"the rest":            {"first: 1\nx: {kind: y}\nz: {}\n", several{First: 1, Rest: map[string]item{"x": {Kind: "y"}, "z": {}}}, ""},
		"wrong within it":     {"x: {kid: y}\n", several{}, `f.yaml:1:5: unknown key "x.kid": did you mean "kind"?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var into several
			_, problems := strictyaml.Decode("f.yaml", []byte(tc.text), &into)
			if tc.wrong != "" {
				require.EqualError(t, problems.Err(), tc.wrong)
				return
			}
			require.NoError(t, problems.Err())
			require.Equal(t, tc.want, into)
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"storage", "training-operator", "jupyterhub"}
	require.Equal(t, "jupyterhub", strictyaml.Nearest("jupiterhub", names))
	require.Equal(t, "storage", strictyaml.Nearest("stroage", names))
	require.Empty(t, strictyaml.Nearest("katib", names))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\nitems: [{kind: x}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("name: &x {y: *x}\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var into sample
		doc, problems := strictyaml.Decode("f.yaml", data, &into)
		if doc != nil {
			require.NotZero(t, doc.At("x", "items", 0, "kind").Line)
		}
		for _, p := range problems {
			require.NotEmpty(t, p.Text)
		}
	})
}
