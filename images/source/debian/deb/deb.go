// Package deb reads Debian's formats without Debian's tools: binary packages
// (deb(5)), control stanzas (deb822(5)), version numbers and relationships
// (deb-version(7), Debian Policy chapters 5 and 7). It reads only; nothing
// here touches a file system or a network.
package deb

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	formatMajor  = "2." // debian-binary holds "2.0\n"; a higher minor is readable (deb(5))
)

// maxWindow bounds the memory that a zstd member may ask for, bytes.
const maxWindow = 128 << 20

// Visitor takes the two archives of a package, control first. A nil function
// leaves its archive out. A reader is good only until the function returns.
type Visitor struct {
	Control func(*tar.Reader) error
	Data    func(*tar.Reader) error
}

// Walk reads a binary package from r and hands its archives to v. It fails on
// anything that deb(5) does not allow: another format version, members out of
// order, one that is cut off, an unknown compression.
func Walk(r io.Reader, v Visitor) error {
	ar := &arReader{r: bufio.NewReaderSize(r, 64<<10)}
	if err := ar.start(); err != nil {
		return err
	}
	if err := ar.version(); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		visit func(*tar.Reader) error
	}{{"control.tar", v.Control}, {"data.tar", v.Data}} {
		name, content, err := ar.member()
		if err != nil {
			return fmt.Errorf("looking for %s: %w", part.name, err)
		}
		if !strings.HasPrefix(name, part.name) {
			return fmt.Errorf("member %q where %s was due", name, part.name)
		}
		if part.visit == nil {
			continue
		}
		if err := walkTar(strings.TrimPrefix(name, part.name), content, part.visit); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func walkTar(suffix string, content io.Reader, visit func(*tar.Reader) error) error {
	plain, err := decompress(suffix, content)
	if err != nil {
		return err
	}
	// Whatever the visitor left is read too, so that a cut off or corrupt end
	// is found.
	err = visit(tar.NewReader(plain))
	if err == nil {
		_, err = io.Copy(io.Discard, plain)
	}
	return errors.Join(err, plain.Close())
}

func decompress(suffix string, r io.Reader) (io.ReadCloser, error) {
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		plain, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(plain), nil
	case ".zst":
		plain, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return plain.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compression %q is not one of none, .gz, .xz, .zst", suffix)
}

// arReader reads the common ar format as deb(5) has it: short names only.
type arReader struct {
	r    *bufio.Reader
	left io.Reader // what is left of the member at hand
	pad  bool
}

func (a *arReader) start() error {
	var magic [len(arMagic)]byte
	if _, err := io.ReadFull(a.r, magic[:]); err != nil || string(magic[:]) != arMagic {
		return errors.New("not a Debian package: no ar header")
	}
	return nil
}

func (a *arReader) version() error {
	name, content, err := a.member()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(content, 16))
	if err != nil {
		return err
	}
	if name != "debian-binary" || !strings.HasPrefix(string(text), formatMajor) {
		return fmt.Errorf("not a Debian package of format 2: member %q holds %q", name, text)
	}
	return nil
}

// member moves on to the next member that deb(5) does not tell to ignore: one
// whose name starts with an underscore is skipped.
func (a *arReader) member() (string, io.Reader, error) {
	for {
		if err := a.skip(); err != nil {
			return "", nil, err
		}
		var header [arHeaderSize]byte
		if _, err := io.ReadFull(a.r, header[:]); err != nil {
			return "", nil, fmt.Errorf("cut off: %w", err)
		}
		if string(header[58:]) != "`\n" {
			return "", nil, errors.New("a damaged ar member header")
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
		if err != nil || size < 0 {
			return "", nil, fmt.Errorf("ar member size %q", header[48:58])
		}
		name := strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
		content := &exactReader{r: a.r, left: size}
		a.left, a.pad = content, size%2 == 1
		if !strings.HasPrefix(name, "_") {
			return name, content, nil
		}
	}
}

func (a *arReader) skip() error {
	if a.left == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, a.left); err != nil {
		return err
	}
	a.left = nil
	if !a.pad {
		return nil
	}
	if _, err := a.r.Discard(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// exactReader reads left bytes and fails where there are fewer.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
