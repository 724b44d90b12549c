package wheels

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/kfdev/kfdev/images/source"
)

// Bounds on what one wheel may unpack to. The largest in use has 1.2 GB in
// 16,000 files.
const (
	maxMembers  = 200_000
	maxUnpacked = 8 << 30
	maxText     = 16 << 20 // of a metadata file read into memory
)

// member is one file of a wheel, with what it takes to read it without
// reading the archive's directory again.
type member struct {
	name   string // clean, relative, with slashes
	exec   bool
	offset int64 // of the content in the archive
	packed int64
	size   int64
	method uint16
	crc    uint32
}

// archive is a wheel whose directory has been read. It holds no open file.
type archive struct {
	file    string // the wheel's file name, for errors
	open    func() (io.ReadSeekCloser, error)
	members []member
}

// readArchive reads and checks the directory of a wheel in the store.
func readArchive(ctx context.Context, store source.Inputs, file, hash string) (_ *archive, err error) {
	a := &archive{file: file, open: func() (io.ReadSeekCloser, error) { return store.Open(ctx, hash) }}
	content, err := a.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	size, err := content.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	a.members, err = readDirectory(seekerAt{content}, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return a, nil
}

// readDirectory lists a zip's files, refusing whatever no wheel has and an
// unpacker could be misled by.
func readDirectory(content io.ReaderAt, size int64) ([]member, error) {
	archive, err := zip.NewReader(content, size)
	if err != nil {
		return nil, err
	}
	if len(archive.File) > maxMembers {
		return nil, fmt.Errorf("%d files, more than %d", len(archive.File), maxMembers)
	}
	seen := make(map[string]bool, len(archive.File))
	members := make([]member, 0, len(archive.File))
	var total uint64
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 {
			continue
		}
		m, err := readMember(f)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", f.Name, err)
		}
		if seen[m.name] {
			return nil, fmt.Errorf("%q comes twice", f.Name)
		}
		seen[m.name] = true
		if total += f.UncompressedSize64; total > maxUnpacked {
			return nil, fmt.Errorf("unpacks to more than %d bytes", int64(maxUnpacked))
		}
		members = append(members, m)
	}
	return members, nil
}

func readMember(f *zip.File) (member, error) {
	mode := f.Mode()
	switch {
	case !safeName(f.Name):
		return member{}, errors.New("the name is not a clean path below the root")
	case mode&fs.ModeType != 0:
		return member{}, fmt.Errorf("is not a plain file (%s)", mode)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return member{}, fmt.Errorf("compression method %d", f.Method)
	case f.UncompressedSize64 > maxUnpacked || f.CompressedSize64 > maxUnpacked:
		return member{}, errors.New("is too big")
	case f.Flags&1 != 0:
		return member{}, errors.New("is encrypted")
	}
	offset, err := f.DataOffset()
	if err != nil {
		return member{}, err
	}
	return member{
		name: f.Name, exec: mode&0o111 != 0, offset: offset, method: f.Method, crc: f.CRC32,
		packed: int64(f.CompressedSize64), size: int64(f.UncompressedSize64), //nolint:gosec // bounded above
	}, nil
}

// safeName says whether a name in an archive is a clean relative path that
// stays below where it is unpacked.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !path.IsAbs(name) && path.Clean(name) == name &&
		!strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\\\x00\n\r")
}

// opener returns a function that opens the member's content. Reading to the
// end fails unless it is as long as, and has the checksum that, the directory says.
func (a *archive) opener(m member) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		content, err := a.open()
		if err != nil {
			return nil, err
		}
		if _, err := content.Seek(m.offset, io.SeekStart); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %s: %w", a.file, m.name, err), content.Close())
		}
		plain := io.LimitReader(content, m.packed)
		if m.method == zip.Deflate {
			plain = flate.NewReader(plain)
		}
		return &checkedReader{from: plain, close: content.Close, left: m.size, sum: crc32.NewIEEE(), want: m.crc,
			what: a.file + ": " + m.name}, nil
	}
}

// text reads a small member whole.
func (a *archive) text(m member) (_ []byte, err error) {
	if m.size > maxText {
		return nil, fmt.Errorf("%s: %s: %d bytes, more than %d", a.file, m.name, m.size, maxText)
	}
	content, err := a.opener(m)()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return io.ReadAll(content)
}

// checkedReader passes exactly left bytes on, and checks their sum at the end.
type checkedReader struct {
	from  io.Reader
	close func() error
	left  int64
	sum   hash.Hash32
	want  uint32
	what  string
}

// Read implements io.Reader.
func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.left -= int64(n)
	_, _ = r.sum.Write(p[:n]) // a hash never fails
	switch {
	case r.left < 0:
		return n, fmt.Errorf("%s: longer than its archive says", r.what)
	case err == io.EOF && r.left > 0:
		return n, fmt.Errorf("%s: %w", r.what, io.ErrUnexpectedEOF)
	case r.left == 0 && r.sum.Sum32() != r.want: // at once, for a caller that stops at the size it knows
		return n, fmt.Errorf("%s: the checksum is not its archive's", r.what)
	}
	return n, err
}

// Close closes the archive.
func (r *checkedReader) Close() error { return r.close() }

// seekerAt reads at offsets of a seeker, one caller at a time.
type seekerAt struct{ io.ReadSeeker }

// ReadAt implements io.ReaderAt.
func (s seekerAt) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := s.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.ReadSeeker, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
