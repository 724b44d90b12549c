// Package debtest makes Debian packages, and signed archives of them, for
// tests: small ones, by hand, without Debian's tools.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

// Package is a package to make. Control fields that are not set get a value
// that will do.
type Package struct {
	Name, Version string
	Fields        map[string]string // more control fields: Depends, Provides, Replaces
	Entries       []tar.Header      // in order; Name as a package has it: ./usr/bin/x
	Content       map[string]string // of files, by Name; a file that has none holds its name
	Compression   string            // "", ".gz", ".xz" or ".zst", of both archives
}

// Control returns the package's control stanza.
func (p Package) Control() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.invalid>\n", p.Name, p.Version)
	for _, name := range []string{"Pre-Depends", "Depends", "Recommends", "Provides", "Replaces"} {
		if value := p.Fields[name]; value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	b.WriteString("Description: for a test\n of kfdev\n")
	return b.String()
}

// Build returns the package as a .deb file.
func Build(tb testing.TB, p Package) []byte {
	tb.Helper()
	control := Tar(tb, []tar.Header{{Name: "./control"}}, map[string]string{"./control": p.Control()})
	data := Tar(tb, p.Entries, p.Content)
	return Ar([][2]string{
		{"debian-binary", "2.0\n"},
		{"control.tar" + p.Compression, string(compress(tb, p.Compression, control))},
		{"data.tar" + p.Compression, string(compress(tb, p.Compression, data))},
	})
}

// Tar returns a tar archive. An entry without a type is a file, or a folder
// where its name ends in a slash; one without a mode has 0644, or 0755.
func Tar(tb testing.TB, entries []tar.Header, content map[string]string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		text, ok := content[h.Name]
		switch {
		case h.Typeflag == 0 && strings.HasSuffix(h.Name, "/"):
			h.Typeflag = tar.TypeDir
		case h.Typeflag == 0:
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			if !ok {
				text = h.Name
			}
			h.Size = int64(len(text))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		require.NoError(tb, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, text)
			require.NoError(tb, err)
		}
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// Ar returns an ar archive of members, each a name and its content.
func Ar(members [][2]string) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m[0], 0, 0, 0, "100644", len(m[1]), m[1])
		if len(m[1])%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func compress(tb testing.TB, how string, plain []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch how {
	case "":
		return plain
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		require.FailNow(tb, "no such compression", how)
	}
	require.NoError(tb, err)
	_, err = w.Write(plain)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return b.Bytes()
}
