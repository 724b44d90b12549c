package debian

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	for glob, cases := range map[string]map[string]bool{
		"/a/*":       {"a/b": true, "a/b/c": false, "a": false, "x/a/b": false},
		"/a/**":      {"a/b": true, "a/b/c": true, "a": false},
		"/**/x":      {"a/x": true, "a/b/x": true, "x": false},
		"/a/*.so.?":  {"a/b.so.1": true, "a/bxso.1": false, "a/b.so.12": false},
		"/a/[b](c)+": {"a/[b](c)+": true, "a/bc": false},
	} {
		f, err := newFilter([]string{glob})
		require.NoError(t, err)
		for path, want := range cases {
			require.Equal(t, want, f.excludes(path), "%s %s", glob, path)
		}
	}
	for _, bad := range []string{"", "a/*", "/", "!", "!a", "!/"} {
		_, err := newFilter([]string{bad})
		require.Error(t, err, bad)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("/usr/**/x*?[", "usr/a/x1[")
	f.Fuzz(func(t *testing.T, glob, path string) {
		out, err := newFilter([]string{glob})
		if err != nil {
			return
		}
		both, err := newFilter([]string{glob, "!" + glob})
		require.NoError(t, err)
		require.False(t, both.excludes(path), "what is taken back in is in")
		if !strings.ContainsAny(glob, "*?") && !strings.HasPrefix(glob, "!") {
			require.Equal(t, glob == "/"+path, out.excludes(path))
		}
	})
}

func FuzzCleanPath(f *testing.F) {
	f.Add("./usr/../../etc/passwd")
	f.Add("./bin/x")
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := cleanPath(name)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(merge(clean), "/") {
			require.NotEmpty(t, part)
			require.NotEqual(t, "..", part)
		}
	})
}

func FuzzSysusers(f *testing.F) {
	f.Add("u x 5:adm \"A B\" /home 'sh'\nm a b\ng c 7\nr - 1-2\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parseSysusers(text)
		if err != nil {
			return
		}
		d := directory{groups: []group{{name: "adm", gid: 4}}}
		if d.apply(lines) != nil {
			return
		}
		for _, e := range d.entries() {
			require.NotEmpty(t, e.Path)
		}
		for _, a := range d.users {
			require.NotContains(t, a.name+a.gecos+a.home+a.shell, ":", "an account stays one line of fields")
			require.NotContains(t, a.name+a.gecos+a.home+a.shell, "\n")
		}
	})
}
