package notebook

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsNoNotebook(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		``:                              "the base notebook: byte 0: it ends too early",
		`{`:                             "a key is missing",
		`{"a":1,"a":2}`:                 `the key "a" comes twice`,
		`{"a" 1}`:                       "a colon is missing",
		`[1 2]`:                         "a comma is missing",
		`["a" "b"]`:                     "a comma is missing",
		`[01]`:                          "no value",
		`[tru]`:                         "no value",
		`["\ud800"]`:                    "half a surrogate pair",
		`["\ud800\u0041"]`:              "half a surrogate pair",
		`["\x"]`:                        "an unknown escape",
		`["\u00g0"]`:                    "an escape without four digits",
		"[\"a\nb\"]":                    "a control character in a text",
		"[\"\xff\"]":                    "not UTF-8",
		`["a`:                           "a text has no end",
		`{} {}`:                         "something comes after the end",
		strings.Repeat("[", MaxDepth+1): "deeper than 128",
		`[]`:                            "no notebook of nbformat 4",
		`{"nbformat":3,"nbformat_minor":0,"worksheets":[]}`:                                         "no notebook of nbformat 4",
		`{"nbformat":4,"cells":[]}`:                                                                 "no nbformat_minor",
		`{"nbformat":4,"nbformat_minor":-1,"cells":[]}`:                                             "nbformat_minor is no number",
		`{"nbformat":4,"nbformat_minor":5}`:                                                         "no list of cells",
		`{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":1}`:                                 "metadata is no object",
		`{"nbformat":4,"nbformat_minor":5,"cells":[1]}`:                                             "cell 0: no cell_type",
		`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code"}]}`:                          "cell 0: source is no text",
		`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code","source":[1]}]}`:             "cell 0: source is no text",
		`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code","source":"","id":1}]}`:       "cell 0: id is no text",
		`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code","source":"","outputs":1}]}`:  "cell 0: outputs is no list",
		`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code","source":"","metadata":1}]}`: "cell 0: metadata is no object",
	} {
		merged, conflicts, err := Merge([]byte(data), []byte(written), []byte(written))
		require.ErrorContains(t, err, want, data)
		require.Nil(t, merged)
		require.Nil(t, conflicts)
	}
	_, err := parse(make([]byte, MaxSize+1))
	require.ErrorContains(t, err, "more than")
}

func TestSplitLines(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][]string{
		"": nil, "a": {"a"}, "a\n": {"a\n"}, "a\r\nb\rc\n\nd": {"a\r\n", "b\r", "c\n", "\n", "d"},
		"a\u2028b\vc\u0085d": {"a\u2028", "b\v", "c\u0085", "d"},
	} {
		require.Equal(t, want, splitLines(s), "%q", s)
	}
}

func TestMergeText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, local, remote, want string }{
		{"a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC"},
		{"a\nb\nc", "a\nb\nc\nd", "x\na\nb\nc", "x\na\nb\nc\nd"},
		{"a\nb\nc", "a\nc", "a\nb\nc\nd", "a\nc\nd"},
		{"a\nb\nc", "a\nX\nc", "a\nX\nc\nd", "a\nX\nc\nd"},
		{"a\nb", "A\nb", "a\nB", "conflict"},
		{"a", "a\nl", "a\nr", "conflict"},
		{"", "l", "r", "conflict"},
	} {
		b := fullBudget
		got, ok := b.mergeText(c.base, c.local, c.remote)
		if !ok {
			got = "conflict"
		}
		require.Equal(t, c.want, got)
	}
}

// What a notebook could ask for without end is given up on when the budget is
// used up, and counts as different then.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	b := budget(40)
	require.Equal(t, []int{-1, 0}, b.common([]string{"x", "a"}, []string{"a", "y"}))
	require.Equal(t, budget(36), b)
	old, now := strings.Split("a b c d e f g", " "), strings.Split("g f e d c b a", " ")
	require.Equal(t, slices.Repeat([]int{-1}, 7), b.common(old, now), "49 steps")
	require.Equal(t, budget(36), b)

	lone := func(id, source string) *cell { return &cell{kind: "code", id: id, source: source} }
	was, is := []*cell{lone("", "x = 1\ny = 2")}, []*cell{lone("", "x = 1\ny = 3")}
	full := fullBudget
	require.Equal(t, []int{0}, full.match(was, is))
	none := budget(0)
	require.Equal(t, []int{-1}, none.match(was, is))
}

func FuzzMerge(f *testing.F) {
	// Small ones: the fuzzer takes long to make large ones smaller.
	for _, seed := range []string{
		`{"cells":[{"cell_type":"code","source":"a\nb"}],"nbformat":4,"nbformat_minor":4}`,
		`{"cells":[{"cell_type":"code","source":["x"],"id":"a","metadata":{"tags":[]}},{"cell_type":"code","source":"y","id":"b"}],"nbformat":4,"nbformat_minor":5}`,
		`{"cells":[{"id":"b","cell_type":"raw","source":"y"},{"id":"a","cell_type":"code","source":"x","outputs":[-1.5e+3,"\u00e9\n"]}],"nbformat":4,"nbformat_minor":5,"metadata":{"kernelspec":{}}}`,
	} {
		f.Add([]byte(`{"cells":[{"cell_type":"code","source":"x","id":"a"}],"nbformat":4,"nbformat_minor":5}`), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, base, x []byte) {
		if len(base)+len(x) > 1<<16 {
			return
		}
		for _, sides := range [][2][]byte{{x, base}, {base, x}, {x, x}} {
			merged, conflicts, err := Merge(base, sides[0], sides[1])
			if err != nil {
				continue
			}
			if len(conflicts) > 0 || !Same(x, merged) {
				t.Fatalf("%v\n%s\n%s\n%s", conflicts, base, x, merged)
			}
		}
		if v, err := parse(x); err == nil {
			again, err := parse(encode(v))
			if err != nil || !exact(v, again) {
				t.Fatalf("%q is read back as something else: %v", x, err)
			}
		}
	})
}
