package intext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/intext"
)

const sample = `# The head.
executor:
  image: "quay.io/x"   # about it
  limits: {cpu: 1, memory: '1Gi'}
hosts:
- name: a.example
  port: 80
- {name: b.example, port: 81}
"odd.key": [one, two]
date: 2026-01-02
empty: ""
größe: 1.5 # ü
long: |
  several
  lines
anchored: &x 1
alias: *x
`

func where(t *testing.T, text string) fieldpath.Text {
	t.Helper()
	_, in, err := fieldpath.ParseField("data/x#" + text)
	require.NoError(t, err)
	return *in
}

func TestSet(t *testing.T) {
	t.Parallel()
	for path, tc := range map[string]struct {
		was, value any
		old, new   string // the one difference
	}{
		"/executor/image":             {"quay.io/x", "quay.io/y", `"quay.io/x" `, `"quay.io/y" `},
		"/executor/limits/cpu":        {int64(1), int64(2), "cpu: 1,", "cpu: 2,"},
		"/executor/limits/memory":     {"1Gi", "it's", "'1Gi'", "'it''s'"},
		"/hosts[name=a.example]/port": {int64(80), "80", "port: 80", `port: "80"`},
		"/hosts[1]/name":              {"b.example", "c, d", "b.example", `"c, d"`},
		"/hosts[name=b.example]/port": {int64(81), true, "81", "true"},
		`/["odd.key"][1]`:             {"two", "three", "two]", "three]"},
		`/["odd.key"][0]`:             {"one", "a #b", "[one", `["a #b"`},
		"/date":                       {"2026-01-02", "2027-01-02", "date: 2026-01-02", "date: 2027-01-02"},
		"/empty":                      {"", "x", `empty: ""`, `empty: "x"`},
		`/["größe"]`:                  {1.5, int64(3), "1.5", "3"},
		"~several\n  (\\w+)":          {"lines", "rows", "lines", "rows"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, 1, strings.Count(sample, tc.old))
			found, err := intext.Find(sample, where(t, path))
			require.NoError(t, err)
			require.Equal(t, tc.was, found.Value)
			got, err := intext.Set(sample, where(t, path), tc.value)
			require.NoError(t, err)
			require.Equal(t, strings.Replace(sample, tc.old, tc.new, 1), got)
			same, err := intext.Set(sample, where(t, path), tc.was)
			require.NoError(t, err)
			require.Equal(t, sample, same)
		})
	}
}

func TestJSONStaysJSON(t *testing.T) {
	t.Parallel()
	text := "{\n\t\"a\": {\"b\": \"c\"},\n\t\"n\": 1\n}"
	got, err := intext.Set(text, where(t, "/a/b"), "d")
	require.NoError(t, err)
	require.Equal(t, strings.Replace(text, `"c"`, `"d"`, 1), got)
	got, err = intext.Set(text, where(t, "/n"), "<1>")
	require.NoError(t, err)
	require.Equal(t, strings.Replace(text, `1`, `"<1>"`, 1), got)
}

func TestSeveralDocuments(t *testing.T) {
	t.Parallel()
	text := "a: 1\n---\nb: 2\n---\na: 3\n"
	got, err := intext.Set(text, where(t, "/b"), int64(4))
	require.NoError(t, err)
	require.Equal(t, "a: 1\n---\nb: 4\n---\na: 3\n", got)
	_, err = intext.Find(text, where(t, "/a"))
	require.ErrorContains(t, err, "2 values")
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for path, says := range map[string]string{
		"/nothing":         "no value at nothing",
		"/executor":        "one value is wanted",
		"/long":            "several lines",
		"/anchored":        "an anchor",
		"/alias":           "an alias",
		"~port: (\\d+)":    "more than once",
		"~absent (x)":      "matches nothing",
		"~# The head|(zz)": "without its group",
	} {
		_, err := intext.Find(sample, where(t, path))
		require.ErrorContains(t, err, says, path)
		_, err = intext.Set(sample, where(t, path), "x")
		require.ErrorContains(t, err, says, path)
	}
	_, err := intext.Set("a: [", where(t, "/a"), "x")
	require.ErrorContains(t, err, "neither YAML nor JSON")
	_, err = intext.Set("listen 80;", where(t, `~listen (\d+);`), "eighty")
	require.ErrorContains(t, err, "does not match as before")
	_, err = intext.Set("a: b", where(t, "/a"), []any{"x"})
	require.ErrorContains(t, err, "cannot be written")
}

// FuzzSet: an edit changes exactly the value's bytes, the value is there
// then, and putting the old one back gives a text that says the same.
func FuzzSet(f *testing.F) {
	f.Add(sample, "/executor/image", "x: y")
	f.Add(`{"a": {"b": "c"}, "d": [1, "]"]}`, "/a/b", "\"")
	f.Add("a:\n- {b: 'c'}\r\n- d # e\r\n", "/a[b=c]/b", "'")
	f.Add("- a\n- b\n", "/[1]", "- c")
	f.Add("listen 80;\n", `~listen (\d+);`, "81")
	f.Add("\ufeffa: b", "/a", "é")
	f.Fuzz(func(t *testing.T, text, path, value string) {
		_, in, err := fieldpath.ParseField("data/x#" + path)
		if err != nil || in == nil {
			return
		}
		was, err := intext.Find(text, *in)
		if err != nil {
			return
		}
		out, err := intext.Set(text, *in, value)
		if err != nil {
			return
		}
		is, err := intext.Find(out, *in)
		require.NoError(t, err)
		require.Equal(t, value, is.Value)
		require.Equal(t, was.Start, is.Start)
		require.Equal(t, text[:was.Start], out[:is.Start])
		require.Equal(t, text[was.End:], out[is.End:])
		if json.Valid([]byte(text)) && in.Pattern == nil {
			require.True(t, json.Valid([]byte(out)))
		}
		if back, err := intext.Set(out, *in, was.Value); err == nil {
			again, err := intext.Find(back, *in)
			require.NoError(t, err)
			require.Equal(t, was.Value, again.Value)
		}
	})
}
