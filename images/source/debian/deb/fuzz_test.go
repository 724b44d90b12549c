package deb_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/source/debian/deb"
	"github.com/kfdev/kfdev/images/source/debian/debtest"
)

func FuzzWalk(f *testing.F) {
	for _, compression := range []string{"", ".gz", ".zst"} {
		f.Add(debtest.Build(f, debtest.Package{
			Name: "a", Version: "1", Compression: compression,
			Entries: []tar.Header{{Name: "./usr/"}, {Name: "./usr/x"}, {Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "usr/x"}},
		}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		// xz sets up a dictionary as large as its header says; what kfdev reads
		// was checked against a hash before.
		if bytes.Contains(raw, []byte(".xz")) {
			return
		}
		first, errFirst := names(raw)
		second, errSecond := names(raw)
		require.Equal(t, errFirst == nil, errSecond == nil)
		require.Equal(t, first, second)
		stanza, err := deb.Control(bytes.NewReader(raw))
		require.True(t, err != nil || stanza.Get("Package") != "")
	})
}

func FuzzParseStanzas(f *testing.F) {
	f.Add("Package: a\nDepends: b\n c\n\nPackage: d\n")
	f.Add("A:\n b\n")
	f.Fuzz(func(t *testing.T, text string) {
		stanzas, err := deb.ParseStanzas(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range stanzas {
			again, err := deb.ParseStanzas(strings.NewReader(s.String()))
			require.NoError(t, err)
			require.Equal(t, []deb.Stanza{s}, again)
		}
	})
}

func FuzzVersions(f *testing.F) {
	f.Add("1:1.0~rc1-2+b1", "1.0")
	f.Fuzz(func(t *testing.T, a, b string) {
		require.Zero(t, deb.CompareVersions(a, a))
		require.Equal(t, deb.CompareVersions(a, b), -deb.CompareVersions(b, a))
	})
}

func FuzzParseRelations(f *testing.F) {
	f.Add("libc6 (>= 2.34), a | b:any (= 1)")
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := deb.ParseRelations(text)
		if err != nil {
			return
		}
		for _, group := range groups {
			for _, r := range group {
				again, err := deb.ParseRelations(r.String())
				require.NoError(t, err)
				require.Equal(t, [][]deb.Relation{{r}}, again)
			}
		}
	})
}
