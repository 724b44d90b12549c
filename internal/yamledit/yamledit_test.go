package yamledit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/internal/yamledit"
)

const sample = `# The head.
metadata:
  name: old   # the name
platforms: [ linux/amd64, 'linux/arm64' ]  # both
stack:
  # the preset
  preset: "core"
  components:
    # katib: {}

    argo: {enabled: true}   # workflows
    hub:
      # about the hub
      values:
        text: |
          # not a comment
          b
  # behind

registry: {mirrors: {docker.io: [a]}}
empty:
`

func TestSet(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path     []string
		value    any
		old, new string // the one difference
	}{
		"plain":                   {[]string{"metadata", "name"}, "new", "name: old   #", "name: new   #"},
		"text that needs quotes":  {[]string{"metadata", "name"}, "5", "name: old   #", `name: "5"   #`},
		"text with a comma":       {[]string{"metadata", "name"}, "a, b", "name: old   #", `name: "a, b"   #`},
		"text with a hash":        {[]string{"metadata", "name"}, "a #b", "name: old   #", `name: "a #b"   #`},
		"quoted":                  {[]string{"stack", "preset"}, "tiny", `"core"`, `tiny`},
		"list item":               {[]string{"platforms", "1"}, "x", "'linux/arm64'", "x"},
		"flow":                    {[]string{"stack", "components", "argo", "enabled"}, false, "{enabled: true}", "{enabled: false}"},
		"add to flow":             {[]string{"stack", "components", "argo", "n"}, 2, "{enabled: true}", "{enabled: true, n: 2}"},
		"add a line":              {[]string{"metadata", "more"}, 1, "  # the name\n", "  # the name\n  more: 1\n"},
		"add behind a literal":    {[]string{"stack", "components", "hub", "enabled"}, true, "          b\n", "          b\n      enabled: true\n"},
		"add several levels":      {[]string{"stack", "components", "new", "enabled"}, true, "          b\n", "          b\n    new: {enabled: true}\n"},
		"add deep in flow":        {[]string{"registry", "a", "b"}, "c", "[a]}}", "[a]}, a: {b: c}}"},
		"fill an empty value":     {[]string{"empty"}, "x", "empty:", "empty: x"},
		"fill with keys":          {[]string{"empty", "a", "b"}, "x", "empty:", "empty: {a: {b: x}}"},
		"add at the top's bottom": {[]string{"last"}, "x", "empty:\n", "empty:\nlast: x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, newline := range []string{"\n", "\r\n"} {
				lines := func(s string) string { return strings.ReplaceAll(s, "\n", newline) }
				require.Equal(t, 1, strings.Count(sample, tc.old))
				got, err := yamledit.Set([]byte(lines(sample)), tc.value, tc.path...)
				require.NoError(t, err)
				require.Equal(t, lines(strings.Replace(sample, tc.old, tc.new, 1)), string(got))
			}
		})
	}
}

func TestSetAtTheEndOfAFileWithoutANewline(t *testing.T) {
	t.Parallel()
	got, err := yamledit.Set([]byte("a: b"), "d", "c")
	require.NoError(t, err)
	require.Equal(t, "a: b\nc: d", string(got))
}

func TestSetRefusesWhatItCannotDoWithCertainty(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string
		value any
		path  []string
	}{
		"an alias":          {"a: &x 1\nb: *x\n", "y", []string{"b"}},
		"an anchor":         {"a: &x 1\nb: *x\n", "y", []string{"a"}},
		"a literal":         {"a: |\n  x\n", "y", []string{"a"}},
		"several lines":     {"a: x\n  y\n", "y", []string{"a"}},
		"a mapping":         {"a: {b: c}\n", "y", []string{"a"}},
		"below a scalar":    {"a: b\n", "y", []string{"a", "c"}},
		"no such item":      {"a: [b]\n", "y", []string{"a", "1"}},
		"not a mapping":     {"- a\n", "y", []string{"a"}},
		"not YAML":          {"a: [\n", "y", []string{"a"}},
		"nothing":           {"", "y", []string{"a"}},
		"no path":           {"a: b\n", "y", nil},
		"a value of a kind": {"a: b\n", []string{"y"}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := yamledit.Set([]byte(tc.in), tc.value, tc.path...)
			require.Error(t, err)
		})
	}
}

// FuzzSet: an edit that is made says what it must and adds or changes at most
// one line; taking it back gives the text that was there, but for its quotes.
func FuzzSet(f *testing.F) {
	f.Add(sample, "x", "metadata", "name")
	f.Add(sample, "1", "stack", "other")
	f.Add("a: {b: 'c', d: [1, \"]\"]} # {\n", "x: y", "a", "e")
	f.Add("é: ü # ä\n", "ö", "é", "")
	f.Add("a:\n- b\n- c\nd: e\n", "x", "f", "g")
	f.Fuzz(func(t *testing.T, in, value, first, second string) {
		path := []string{first}
		if second != "" {
			path = append(path, second)
		}
		out, err := yamledit.Set([]byte(in), value, path...)
		if err != nil {
			return
		}
		var got any
		require.NoError(t, yaml.Unmarshal(out, &got))
		for _, part := range path {
			switch v := got.(type) {
			case map[string]any:
				got = v[part]
			case []any:
				return // the index was checked by Set itself
			}
		}
		require.Equal(t, value, got)
		before, after := strings.SplitAfter(in, "\n"), strings.SplitAfter(string(out), "\n")
		head := 0
		for head < len(before) && head < len(after) && before[head] == after[head] {
			head++
		}
		tail := 0
		for tail < len(before)-head && tail < len(after)-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
			tail++
		}
		require.LessOrEqual(t, len(before)-head-tail, 1, "lines touched")
	})
}
