package notebook

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWritesAsJupyterDoes(t *testing.T) {
	t.Parallel()
	v, err := parse([]byte(written))
	require.NoError(t, err)
	same := written == string(encode(v))
	require.True(t, same, "it is written differently")
	v, err = parse([]byte(`["\/é😀\u00e9\ud83d\ude00", "\u0000\u007f", 1E+2, {}, []]`))
	require.NoError(t, err)
	require.Equal(t, "[\n \"/é😀é😀\",\n \"\\u0000\u007f\",\n 1E+2,\n {},\n []\n]\n", string(encode(v)))
}

func TestMerge(t *testing.T) {
	t.Parallel()
	a, b, c := code("a", "x = 1\ny = 2\nz = 3"), code("b", "print(x)"), code("c", "done()")
	long := func(id, s string) page { return code(id, "import numpy as np\n"+s+"\nplot(x, y)\nshow()") }
	for _, row := range []struct {
		name                string
		base, local, remote sheet
		merged, conflicts   string
	}{
		{"source here, outputs there", book1(a, b), book1(code("a", "x = 7\ny = 2\nz = 3"), b), book1(a.ran(1, "one"), b.ran(2, "two")), "a x = 7;y = 2;z = 3 [1]=one | b print(x) [2]=two", ""},
		{"source there", book1(a, b), book1(a, b), book1(a, code("b", "print(y)").ran(1, "2")), "a x = 1;y = 2;z = 3 | b print(y) [1]=2", ""},
		{"two cells", book1(a, b), book1(code("a", "x"), b), book1(a, code("b", "y")), "a x | b y", ""},
		{"two lines of one cell", book1(a), book1(code("a", "x = 7\ny = 2\nz = 3")), book1(code("a", "x = 1\ny = 2\nz = 9")), "a x = 7;y = 2;z = 9", ""},
		{"one line", book1(a), book1(code("a", "x = 7\ny = 2\nz = 3")), book1(code("a", "x = 8\ny = 2\nz = 3")), "", "a 0 0 the source was changed on both sides, in the same lines"},
		{"a line at the end", book1(b), book1(code("b", "print(x)\nprint(y)")), book1(b.ran(1, "o")), "b print(x);print(y) [1]=o", ""},
		{"new cells", book1(a, c), book1(a, b, c), book1(a, c, code("d", "more")), "a x = 1;y = 2;z = 3 | b print(x) | c done() | d more", ""},
		{"new cells in one place", book1(a, c), book1(a, code("l", "l"), code("l2", "l2"), c), book1(a, code("r", "r"), c), "a x = 1;y = 2;z = 3 | l l | l2 l2 | r r | c done()", ""},
		{"a new cell at the top", book1(a), book1(b, a), book1(a, c), "b print(x) | a x = 1;y = 2;z = 3 | c done()", ""},
		{"deleted", book1(a, b, c), book1(a, c), book1(a, b.ran(1, "o"), c), "a x = 1;y = 2;z = 3 | c done()", ""},
		{"deleted by both", book1(a, b, c), book1(b, c), book1(a, b), "b print(x)", ""},
		{"deleted and changed", book1(a, b), book1(a), book1(a, code("b", "print(y)")), "", "b -1 1 the cell was deleted locally, and changed remotely"},
		{"changed and deleted", book1(a, b), book1(a, code("b", "print(y)")), book1(a), "", "b 1 -1 the cell was deleted remotely, and changed locally"},
		{"moved here", book1(a, b, c), book1(c, a, b), book1(a, code("b", "new"), c), "c done() | a x = 1;y = 2;z = 3 | b new", ""},
		{"moved there", book1(a, b, c), book1(a, code("b", "new"), c), book1(b, c, a), "b new | c done() | a x = 1;y = 2;z = 3", ""},
		{"moved on both sides", book1(a, b, c, code("d", "d")), book1(b, a, c, code("d", "d")), book1(a, b, code("d", "d"), c), "b print(x) | a x = 1;y = 2;z = 3 | d d | c done()", ""},
		{"the same new cell", book1(a), book1(a, b), book1(a, b.ran(1, "o")), "a x = 1;y = 2;z = 3 | b print(x) [1]=o", ""},
		{"new with one id and two sources", book1(a), book1(a, b), book1(a, code("b", "other")), "", "b 1 1 the cell was created on both sides with different source"},
		{"cleared here", book1(a.ran(1, "1"), b.ran(2, "2")), book1(a, b), book1(a.ran(1, "1"), b.ran(2, "2")), "a x = 1;y = 2;z = 3 | b print(x)", ""},
		{"cleared here, one ran there", book1(a.ran(1, "1"), b.ran(2, "2")), book1(a, b), book1(a.ran(1, "1"), b.ran(3, "3")), "a x = 1;y = 2;z = 3 | b print(x) [3]=3", ""},
		{"ran on both", book1(a), book1(a.ran(1, "here")), book1(a.ran(5, "there")), "a x = 1;y = 2;z = 3 [5]=there", ""},
		{"without ids", sheet{minor: 4, cells: []page{long("", "x=1"), code("", "f()")}}, sheet{minor: 4, cells: []page{code("", "top"), long("", "x=2"), code("", "f()")}}, sheet{minor: 4, cells: []page{long("", "x=1").ran(1, "plot"), code("", "f()"), code("", "end")}}, "top | import numpy as np;x=2;plot(x, y);show() [1]=plot | f() | end", ""},
		{"becomes markdown", book1(b.ran(1, "o")), book1(page{id: "b", kind: "markdown", source: "text"}), book1(b.ran(2, "p")), "b text", ""},
		{"tags", book1(a.with(`{"tags":["x"]}`)), book1(a.with(`{"tags":["y"]}`)), book1(a.with(`{"tags":["z"]}`)), "", "a 0 0 metadata tags changed on both sides"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			merged, conflicts, err := Merge(row.base.bytes(), row.local.bytes(), row.remote.bytes())
			require.NoError(t, err)
			var told []string
			for _, c := range conflicts {
				told = append(told, strings.Join([]string{c.ID, string(rune('0' + c.Local)), string(rune('0' + c.Remote)), c.Why}, " "))
			}
			require.Equal(t, row.conflicts, strings.ReplaceAll(strings.Join(told, "|"), "/", "-1"))
			if row.conflicts != "" {
				require.Nil(t, merged)
				return
			}
			require.Equal(t, row.merged, brief(t, merged))
			again, err := parse(merged)
			require.NoError(t, err)
			require.Equal(t, string(merged), string(encode(again)))
		})
	}
}

func TestConflictsHaveTheVersions(t *testing.T) {
	t.Parallel()
	_, conflicts, err := Merge(book1(code("a", "1")).bytes(), book1(code("n", "new"), code("a", "2")).bytes(), book1(code("a", "3")).bytes())
	require.NoError(t, err)
	require.Equal(t, []CellConflict{{
		ID: "a", Local: 1, Remote: 0, Why: "the source was changed on both sides, in the same lines",
		BaseSource: "1", LocalSource: "2", RemoteSource: "3",
	}}, conflicts)
}

func TestNoiseIsNoConflict(t *testing.T) {
	t.Parallel()
	side := func(cell, book string) []byte {
		return sheet{minor: 5, cells: []page{code("a", "x").with(cell)}, metadata: book}.bytes()
	}
	merged, conflicts, err := Merge(
		side(`{"collapsed":true,"tags":["a"]}`, `{"kernelspec":{"display_name":"Python 3","name":"python3"},"language_info":{"name":"python","version":"3.10"}}`),
		side(`{"collapsed":false,"execution":{"t":1},"mine":1,"tags":["a"]}`, `{"kernelspec":{"display_name":".venv","name":"python3"},"language_info":{"name":"python","version":"3.13"},"title":"T","vscode":{"hash":"1"}}`),
		side(`{"ExecuteTime":{"end":2},"execution":{"t":2},"scrolled":true,"tags":["b"]}`, `{"kernelspec":{"display_name":"Python 3 (ipykernel)","name":"python3"},"language_info":{"name":"python","version":"3.11"},"vscode":{"hash":"2"},"widgets":{}}`),
	)
	require.NoError(t, err)
	require.Empty(t, conflicts)
	want := side(`{"ExecuteTime":{"end":2},"execution":{"t":2},"mine":1,"scrolled":true,"tags":["b"]}`, `{"kernelspec":{"display_name":"Python 3 (ipykernel)","name":"python3"},"language_info":{"name":"python","version":"3.11"},"title":"T","vscode":{"hash":"2"},"widgets":{}}`)
	require.Equal(t, string(want), string(merged))
}

func TestSame(t *testing.T) {
	t.Parallel()
	require.True(t, Same([]byte("no notebook"), []byte("no notebook")))
	require.False(t, Same([]byte("no notebook"), []byte("another")))
	require.True(t, Same([]byte(written), []byte(strings.ReplaceAll(written, "\n ", "\n    "))), "the layout")
	for from, noise := range map[string]string{`"3.11.9"`: `"3.12.1"`, "Python 3 (ipykernel)": "venv", `"collapsed": false,`: `"collapsed": true, "scrolled": false,`, `"source": []`: `"source": ""`} {
		require.Contains(t, written, from)
		require.True(t, Same([]byte(written), []byte(strings.Replace(written, from, noise, 1))), noise)
	}
	for from, real := range map[string]string{"red": "blue", "parameters": "other", `"name": "python3"`: `"name": "ir"`, "1e-05": "1e-06", `"execution_count": 1,`: `"execution_count": 2,`, `"c41e9d20"`: `"c41e9d21"`} {
		require.Contains(t, written, from)
		require.False(t, Same([]byte(written), []byte(strings.Replace(written, from, real, 1))), real)
	}
}

func TestIDsForNotebooksThatNeedThem(t *testing.T) {
	t.Parallel()
	old := sheet{minor: 4, cells: []page{code("", "a"), code("", "b")}}
	local := sheet{minor: 4, cells: []page{code("", "a"), code("", "b"), code("", "new")}}
	remote := book1(code("ia", "a"), code("ib", "b"))
	merged, conflicts, err := Merge(old.bytes(), local.bytes(), remote.bytes())
	require.NoError(t, err)
	require.Empty(t, conflicts)
	require.Regexp(t, `^ia a \| ib b \| [0-9a-f]{8} new$`, brief(t, merged))
	again, _, err := Merge(old.bytes(), local.bytes(), remote.bytes())
	require.NoError(t, err)
	require.Equal(t, merged, again)
}

func TestTrivialMerges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		base := randomSheet(rnd)
		x := base.edited(rnd, rnd.IntN(8))
		b, y := base.bytes(), x.bytes()
		for _, sides := range [][2][]byte{{y, b}, {b, y}, {y, y}} {
			merged, conflicts, err := Merge(b, sides[0], sides[1])
			require.NoError(t, err)
			require.Empty(t, conflicts)
			require.True(t, Same(y, merged), "%s\n%s\n%s", brief(t, b), brief(t, y), brief(t, merged))
		}
	})
}

// What one side wrote is in the result or was in the base, and no cell is there
// twice.
func TestMergesKeepEverything(t *testing.T) {
	t.Parallel()
	clean := 0
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		base := randomSheet(rnd)
		base.minor = 5
		for i := range base.cells {
			base.cells[i].id = string(rune('a' + i))
		}
		local, remote := base.edited(rnd, rnd.IntN(5)), base.edited(rnd, rnd.IntN(5))
		local.metadata, remote.metadata = "", ""
		merged, conflicts, err := Merge(base.bytes(), local.bytes(), remote.bytes())
		require.NoError(t, err)
		if len(conflicts) > 0 {
			require.Nil(t, merged)
			return
		}
		clean++
		was := map[string]string{}
		for _, p := range base.cells {
			was[p.id] = p.source
		}
		have := map[string]string{}
		b, err := read(merged)
		require.NoError(t, err)
		for _, c := range b.cells {
			require.NotEmpty(t, c.id)
			require.NotContains(t, have, c.id)
			have[c.id] = c.source
		}
		for _, side := range []sheet{local, remote} {
			for _, p := range side.cells {
				if source, old := was[p.id]; old && source == p.source {
					continue
				}
				source, kept := have[p.id]
				if !kept {
					// Two new cells with one source are one cell, and an old one under a new
					// id is the old one, which the other side may have deleted.
					require.NotContains(t, was, p.id)
					require.Contains(t, slices.Concat(slices.Collect(maps.Values(have)), slices.Collect(maps.Values(was))), p.source)
					continue
				}
				for line := range strings.SplitSeq(p.source, "\n") {
					require.Contains(t, source+was[p.id], line, "%s\n%s\n%s\n%s", brief(t, base.bytes()), brief(t, local.bytes()), brief(t, remote.bytes()), brief(t, merged))
				}
			}
		}
		again, conflicts, err := Merge(base.bytes(), merged, merged)
		require.NoError(t, err)
		require.Empty(t, conflicts)
		require.Equal(t, string(merged), string(again))
	})
	require.Positive(t, clean)
}
