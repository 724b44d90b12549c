package wheels

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseEntryPoints(t *testing.T) {
	t.Parallel()
	got, err := parseEntryPoints([]byte("\ufeff# made by hand\r\n[console_scripts]\r\nb-tool = pkg.mod:main\r\na=pkg:Class.method [x, y]\n\n; more\n[ gui_scripts ]\nwin = pkg:gui\n[pkg.plugins]\nno = such:thing = really\n"))
	require.NoError(t, err)
	require.Equal(t, []script{{"a", "pkg", "Class.method"}, {"b-tool", "pkg.mod", "main"}, {"win", "pkg", "gui"}}, got)
	for name, text := range map[string]string{
		"no target":      "x",
		"no function":    "x = pkg",
		"code":           "x = pkg:main(); import os",
		"a path":         "../x = pkg:main",
		"an absolute":    "/x = pkg:main",
		"a hidden file":  ".x = pkg:main",
		"no name":        "= pkg:main",
		"a double name":  "x = a:b\nx = c:d",
		"a leading dot":  "x = .pkg:main",
		"a second colon": "x = pkg:a:b",
	} {
		_, err := parseEntryPoints([]byte("[console_scripts]\n" + text + "\n"))
		require.Error(t, err, name)
	}
}

func FuzzParseEntryPoints(f *testing.F) {
	f.Add("[console_scripts]\na = b.c:d.e [f]\n")
	f.Add("[gui_scripts]\n=x\n[")
	f.Fuzz(func(t *testing.T, text string) {
		scripts, err := parseEntryPoints([]byte(text))
		if err != nil {
			return
		}
		for _, s := range scripts {
			require.True(t, safeName(s.name), s.name)
			require.NotContains(t, s.name, "/")
			require.Equal(t, 7, strings.Count(string(s.text("/p")), "\n"), "a script's text can't be broken out of")
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("Name: a\nVersion: 1\n folded\n\nbody", "a/b,sha256=x,1\n\"c,d\",,\n")
	f.Fuzz(func(t *testing.T, metadata, rows string) {
		_ = checkIdentity([]byte(metadata), []byte(metadata), "a", "1")
		recorded, err := parseRecord([]byte(rows))
		if err != nil {
			return
		}
		var all [][3]string
		for name, row := range recorded {
			all = append(all, [3]string{name, row[0], row[1]})
		}
		written, err := writeRecord(all, "self/RECORD")
		require.NoError(t, err)
		again, err := parseRecord(written)
		require.NoError(t, err)
		recorded["self/RECORD"] = [2]string{}
		require.Len(t, again, len(recorded))
	})
}

func TestVersionsInNamesAndMetadata(t *testing.T) {
	t.Parallel()
	wheel := []byte("Wheel-Version: 1.0\n")
	for _, tc := range [][2]string{{"1.0+cpu", "1.0_cpu"}, {"1.0RC1", "1.0rc1"}, {"1.0", "1.0"}} {
		require.NoError(t, checkIdentity([]byte("Name: A.B\nVersion: "+tc[0]+"\n"), wheel, "a-b", tc[1]))
	}
	require.Error(t, checkIdentity([]byte("Name: a\nVersion: 1.0.0\n"), wheel, "a", "1.0"))
}
