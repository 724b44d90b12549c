package ignore

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	enc, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(tb, err)
	b, err := enc.Marshal(v)
	require.NoError(tb, err)
	return b
}

func TestParseIsStrict(t *testing.T) {
	one := func(l formList) form { return form{Version: 1, Lists: []formList{l}} }
	good := formList{Group: groupGit, Name: []byte("n"), Base: []byte("a/b"), Patterns: []byte("x\n!y\\ \n")}
	r, err := Parse(encode(t, one(good)))
	require.NoError(t, err)
	require.True(t, r.Ignored("a/b/x", false))
	require.False(t, r.Ignored("a/x", false))

	with := func(change func(*formList)) form {
		l := good
		change(&l)
		return one(l)
	}
	for name, v := range map[string]any{
		"another version":     form{Version: 2},
		"no version":          form{},
		"unknown field":       map[int]any{1: 1, 9: 1},
		"unknown group":       with(func(l *formList) { l.Group = groups }),
		"base that leaves":    with(func(l *formList) { l.Base = []byte("../x") }),
		"absolute base":       with(func(l *formList) { l.Base = []byte("/x") }),
		"lead and base":       with(func(l *formList) { l.Lead = []byte("x/") }),
		"lead without slash":  with(func(l *formList) { l.Base, l.Lead = nil, []byte("x") }),
		"lead that leaves":    with(func(l *formList) { l.Base, l.Lead = nil, []byte("../") }),
		"lead of a slash":     with(func(l *formList) { l.Base, l.Lead = nil, []byte("/") }),
		"comment":             with(func(l *formList) { l.Patterns = []byte("#x\n") }),
		"empty line":          with(func(l *formList) { l.Patterns = []byte("x\n\ny\n") }),
		"space at the end":    with(func(l *formList) { l.Patterns = []byte("x \n") }),
		"no line feed":        with(func(l *formList) { l.Patterns = []byte("x") }),
		"NUL":                 with(func(l *formList) { l.Patterns = []byte("x\x00\n") }),
		"long pattern":        with(func(l *formList) { l.Patterns = []byte(strings.Repeat("x", maxPattern+1) + "\n") }),
		"long name":           with(func(l *formList) { l.Name = make([]byte, 5000) }),
		"twice the same":      form{Version: 1, Lists: []formList{good, good}},
		"not in order":        form{Version: 1, Lists: []formList{good, {Group: groupUser, Name: []byte("u"), Patterns: []byte("x\n")}}},
		"too many lists":      form{Version: 1, Lists: make([]formList, maxLists+1)},
		"too many bytes":      with(func(l *formList) { l.Patterns = bytes.Repeat([]byte("x\n"), MaxBytes/2+1) }),
		"text, not bytes":     map[int]any{1: 1, 3: []any{map[int]any{2: "n", 5: []byte("x\n")}}},
		"nothing":             nil,
		"a list with a zero":  map[int]any{1: 1, 3: []any{map[int]any{1: 0, 2: []byte("n"), 5: []byte("x\n")}}},
		"false where omitted": map[int]any{1: 1, 2: false},
	} {
		_, err := Parse(encode(t, v))
		require.Error(t, err, name)
	}
	_, err = Parse(append(encode(t, one(good)), 0))
	require.Error(t, err)
	_, err = Parse(nil)
	require.Error(t, err)
}

func FuzzParse(f *testing.F) {
	f.Add(encode(f, form{Version: 1, Fold: true, Lists: []formList{
		{Group: groupUser, Name: []byte("u"), Lead: []byte("s/"), Patterns: []byte("/s/[a-z]**/x\n!*.y\n")},
		{Group: groupGit, Name: []byte("n"), Base: []byte("a/b"), Patterns: []byte("x\n!y\\ \n")},
	}}), "a/b/x")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), b) {
			t.Fatal("not the one form")
		}
		if path != "" && path[0] != '/' {
			r.Ignored(path, true)
		}
	})
}

// A rule file of any bytes is read and, when it is stored, means the same.
func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"a\n", "\xef\xbb\xbf!a/\r\n#\n\\#\\ \n", "**/a/**/[!]a-z[:alpha:]]\\", "/*\n!/a\n", "[", "a**b/***/c", "x\r\r\n", "a\x00b\n"} {
		f.Add([]byte(s), "a/b", true)
	}
	f.Fuzz(func(t *testing.T, content []byte, path string, fold bool) {
		l := &list{group: groupGit, name: "n", patterns: readPatterns(content, fold)}
		if len(l.patterns) == 0 || l.check() != nil || path == "" || path[0] == '/' || len(content) > 1<<16 {
			return
		}
		r := newRules(fold, []*list{l})
		stored, err := Parse(r.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []bool{true, false} {
			if r.Ignored(path, dir) != stored.Ignored(path, dir) {
				t.Fatalf("%q is another one after it was stored", content)
			}
		}
		for _, p := range l.patterns {
			if p.glob != nil && !p.glob.bad && p.glob.match(path) != slow(p.glob.parts, path, fold) {
				t.Fatalf("%q and %q", p.text, path)
			}
		}
	})
}

// slow is what a glob means, said as plainly as can be: which parts can come next
// after each byte.
func slow(parts []part, text string, fold bool) bool {
	at := make([]bool, len(parts)+1)
	var reach func(i int)
	reach = func(i int) {
		if at[i] {
			return
		}
		at[i] = true
		if i < len(parts) && parts[i].op >= opStar {
			reach(i + 1)
		}
	}
	reach(0)
	// A part for folders that has begun ends only after a slash.
	inside := make([]bool, len(parts)+1)
	for j := range len(text) {
		was, wasInside := at, inside
		at, inside = make([]bool, len(parts)+1), make([]bool, len(parts)+1)
		for i, q := range parts {
			switch {
			case q.op == opFolders && (was[i] || wasInside[i]):
				inside[i] = true
				if text[j] == '/' {
					reach(i + 1)
				}
			case !was[i]:
			case q.op == opStar && text[j] != '/', q.op == opStarStar:
				reach(i)
			case q.op < opStar && q.takes(text[j], fold):
				reach(i + 1)
			}
		}
	}
	return at[len(parts)]
}
