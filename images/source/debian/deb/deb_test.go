package deb_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/source/debian/deb"
	"github.com/kfdev/kfdev/images/source/debian/debtest"
)

// names reads a package's data archive to the end.
func names(raw []byte) (found []string, err error) {
	err = deb.Walk(bytes.NewReader(raw), deb.Visitor{Data: func(t *tar.Reader) error {
		for {
			header, err := t.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			found = append(found, header.Name)
		}
	}})
	return found, err
}

func TestWalkReadsEveryCompression(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"", ".gz", ".xz", ".zst"} {
		raw := debtest.Build(t, debtest.Package{Name: "a", Version: "1-2", Compression: compression, Entries: []tar.Header{{Name: "./usr/"}, {Name: "./usr/x"}}})
		found, err := names(raw)
		require.NoError(t, err, compression)
		require.Equal(t, []string{"./usr/", "./usr/x"}, found)
		stanza, err := deb.Control(bytes.NewReader(raw))
		require.NoError(t, err, compression)
		require.Equal(t, "1-2", stanza.Get("version"))
	}
}

func TestWalkSkipsMembersThatItMay(t *testing.T) {
	t.Parallel()
	raw := debtest.Ar([][2]string{
		{"debian-binary", "2.1\n"},
		{"_odd", "odd"},
		{"control.tar", string(debtest.Tar(t, nil, nil))},
		{"data.tar/", string(debtest.Tar(t, []tar.Header{{Name: "x"}}, nil))},
		{"more", "ignored"},
	})
	found, err := names(raw)
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, found)
}

func TestWalkRefuses(t *testing.T) {
	t.Parallel()
	good := debtest.Build(t, debtest.Package{Name: "a", Version: "1", Compression: ".xz", Entries: []tar.Header{{Name: "./x"}}})
	empty := string(debtest.Tar(t, nil, nil))
	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":           {nil, "no ar header"},
		"something else":    {[]byte("PK\x03\x04 this is no package"), "no ar header"},
		"cut in a header":   {good[:70], "EOF"},
		"cut in the data":   {good[:len(good)-40], "EOF"},
		"another version":   {debtest.Ar([][2]string{{"debian-binary", "3.0\n"}}), "format 2"},
		"no version first":  {debtest.Ar([][2]string{{"control.tar", empty}}), "format 2"},
		"out of order":      {debtest.Ar([][2]string{{"debian-binary", "2.0\n"}, {"data.tar", empty}}), "where control.tar was due"},
		"no data":           {debtest.Ar([][2]string{{"debian-binary", "2.0\n"}, {"control.tar", empty}}), "looking for data.tar"},
		"odd compression":   {debtest.Ar([][2]string{{"debian-binary", "2.0\n"}, {"control.tar", empty}, {"data.tar.lzma", "x"}}), ".lzma"},
		"corrupt data":      {debtest.Ar([][2]string{{"debian-binary", "2.0\n"}, {"control.tar", empty}, {"data.tar.gz", "\x1f\x8bxx"}}), "data.tar.gz"},
		"a bad size":        {bytes.Replace(good, []byte("4         `\n"), []byte("-4        `\n"), 1), "size"},
		"a damaged trailer": {bytes.Replace(good, []byte("`\n"), []byte("??"), 1), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := names(tc.raw)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ control, want string }{
		"no name":      {"Version: 1\nArchitecture: all\n", "no Package"},
		"two":          {"Package: a\n\nPackage: b\n", "2 stanzas"},
		"continuation": {" text\n", "continues no field"},
		"no field":     {"Package\n", "not \"Field: value\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control := debtest.Tar(t, []tar.Header{{Name: "./control"}}, map[string]string{"./control": tc.control})
			raw := debtest.Ar([][2]string{{"debian-binary", "2.0\n"}, {"control.tar", string(control)}, {"data.tar", ""}})
			_, err := deb.Control(bytes.NewReader(raw))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestStanzasRoundTrip(t *testing.T) {
	t.Parallel()
	text := "Package: a\nDepends: b,\n c (>= 1)\nConffiles:\n /etc/a 123\nDescription: one\n two\n .\n three\n"
	stanzas, err := deb.ParseStanzas(strings.NewReader("# a comment\n\n" + text + "\n\nPackage: z\n"))
	require.NoError(t, err)
	require.Len(t, stanzas, 2)
	require.Equal(t, text, stanzas[0].String())
	require.Equal(t, "z", stanzas[1].Get("PACKAGE"))
	require.Equal(t, "b,\n c (>= 1)", stanzas[0].Get("Depends"))
	require.Empty(t, stanzas[0].Get("Version"))
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	// Each is less than the next.
	for i, ordered := range [][]string{
		{"1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-1", "1.0-1.1", "1.0-2", "1.0a", "1.0+b", "1.0.1", "1.2", "1.10", "1:0.1"},
		{"0~beta1+really1", "0", "1~rc1-1", "1-1~deb12u1", "1-1", "1-1+b1", "1-1+deb12u1"},
		{"9", "10", "123456789012345678901234567890", "123456789012345678901234567891"},
	} {
		for a := range ordered {
			for b := range ordered {
				want := 0
				if a < b {
					want = -1
				} else if a > b {
					want = 1
				}
				require.Equal(t, want, deb.CompareVersions(ordered[a], ordered[b]), "table %d: %s and %s", i, ordered[a], ordered[b])
			}
		}
	}
	for _, same := range [][2]string{{"1", "0:1"}, {"1.0", "1.00"}, {"1", "1-0"}, {"1.", "1.0"}} {
		require.Zero(t, deb.CompareVersions(same[0], same[1]), same)
	}
}

func TestRelations(t *testing.T) {
	t.Parallel()
	groups, err := deb.ParseRelations("libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0,\n python3:any (<< 3.12), x(=1),")
	require.NoError(t, err)
	require.Equal(t, [][]deb.Relation{
		{{Name: "libc6", Operator: ">=", Version: "2.34"}},
		{{Name: "debconf", Operator: ">=", Version: "0.5"}, {Name: "debconf-2.0"}},
		{{Name: "python3", Operator: "<<", Version: "3.12"}},
		{{Name: "x", Operator: "=", Version: "1"}},
	}, groups)
	require.Equal(t, "libc6 (>= 2.34)", groups[0][0].String())
	for _, bad := range []string{"a b", "a (1)", "a (>= 1", "(>= 1)", "a (>= 1) x", "a (~ 1)", "a | ", "a (>=)"} {
		_, err := deb.ParseRelations(bad)
		require.Error(t, err, bad)
	}
	for operator, want := range map[string][3]bool{
		"": {true, true, true}, "=": {false, true, false}, "<<": {true, false, false}, ">>": {false, false, true},
		"<=": {true, true, false}, ">=": {false, true, true}, "<": {true, true, false}, ">": {false, true, true}, "!": {},
	} {
		for i, version := range []string{"1", "2", "3"} {
			require.Equal(t, want[i], deb.Relation{Name: "a", Operator: operator, Version: "2"}.Allows(version), "%s %s 2", version, operator)
		}
	}
}

func TestClosure(t *testing.T) {
	t.Parallel()
	stanzas, err := deb.ParseStanzas(strings.NewReader(`Package: app
Version: 1
Pre-Depends: libc (>= 2)
Depends: missing | service, tool

Package: libc
Version: 2.1

Package: provider
Version: 1
Provides: service, api (= 3)

Package: tool
Version: 1
Depends: app, api (>= 2)

Package: lone
Version: 1
Depends: libc (>> 2.1), service (>= 1)
`))
	require.NoError(t, err)
	reached, unmet, err := deb.Closure(stanzas, []string{"app"})
	require.NoError(t, err)
	require.Empty(t, unmet)
	require.Equal(t, []string{"app", "libc", "provider", "tool"}, reached)

	reached, unmet, err = deb.Closure(stanzas, []string{"lone", "nosuch"})
	require.NoError(t, err)
	require.Equal(t, []string{"lone"}, reached)
	require.Equal(t, []string{"lone needs [libc (>> 2.1)]", "lone needs [service (>= 1)]", "nosuch is asked for"}, unmet)

	_, _, err = deb.Closure([]deb.Stanza{{{Name: "Package", Value: "a"}, {Name: "Depends", Value: "b c"}}}, []string{"a"})
	require.ErrorContains(t, err, "Depends of a")
}
