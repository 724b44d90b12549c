package layer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// Sizes of the tar format (POSIX.1-1988 ustar and POSIX.1-2001 pax).
const (
	blockSize   = 512
	nameSize    = 100
	maxOctal7   = 1<<21 - 1 // what seven octal digits hold
	maxOctal11  = 1<<33 - 1 // what eleven do
	paxFileName = "././@PaxHeader"
)

// mtime is the time of every entry, seconds since 1970: one second after the
// epoch, since some programs take zero for "no time".
const mtime = 1

// tarWriter writes tar entries byte for byte as pinned here, not as the
// archive/tar of the Go release that kfdev was built with would.
type tarWriter struct {
	w io.Writer
}

// header is one entry's, all values as they go into the archive.
type header struct {
	name     string // with a slash at the end of a folder's
	link     string
	flag     byte
	mode     int64
	uid, gid int64
	size     int64
}

func (t *tarWriter) header(h header) error {
	if extended := pax(h); extended != "" {
		x := header{name: paxFileName, flag: 'x', mode: 0o644, size: int64(len(extended))}
		if err := t.block(x); err != nil {
			return err
		}
		if _, err := io.WriteString(t.w, extended+string(make([]byte, padding(x.size)))); err != nil {
			return err
		}
	}
	return t.block(h)
}

// pax returns the extended header that h needs: for text that is long or not
// ASCII, for numbers that the octal fields do not hold.
func pax(h header) string {
	var b strings.Builder
	add := func(key, value string) {
		// The length counts itself.
		n := len(key) + len(value) + len(" =\n")
		for length := n + 1; ; length++ {
			if line := strconv.Itoa(length) + " " + key + "=" + value + "\n"; len(line) == length {
				b.WriteString(line)
				return
			}
		}
	}
	for _, number := range []struct {
		key   string
		value int64
	}{{"gid", h.gid}, {"uid", h.uid}} {
		if number.value > maxOctal7 {
			add(number.key, strconv.FormatInt(number.value, 10))
		}
	}
	for _, text := range []struct{ key, value string }{{"linkpath", h.link}, {"path", h.name}} {
		if len(text.value) > nameSize || !isASCII(text.value) {
			add(text.key, text.value)
		}
	}
	if h.size > maxOctal11 {
		add("size", strconv.FormatInt(h.size, 10))
	}
	return b.String()
}

func (t *tarWriter) block(h header) error {
	var b [blockSize]byte
	copy(b[:nameSize], ascii(h.name))
	octal(b[100:108], h.mode)
	octal(b[108:116], h.uid)
	octal(b[116:124], h.gid)
	octal(b[124:136], h.size)
	octal(b[136:148], mtime)
	b[156] = h.flag
	copy(b[157:257], ascii(h.link))
	copy(b[257:265], "ustar\x0000")
	octal(b[329:337], 0) // device numbers
	octal(b[337:345], 0)
	copy(b[148:156], "        ")
	var sum int64
	for _, c := range b {
		sum += int64(c)
	}
	octal(b[148:155], sum)
	_, err := t.w.Write(b[:])
	return err
}

// octal fills field with n in octal digits and a NUL. A number that does not
// fit stands in the extended header, and as zero here.
func octal(field []byte, n int64) {
	digits := strconv.FormatInt(n, 8)
	if len(digits) > len(field)-1 {
		digits = "0"
	}
	copy(field, strings.Repeat("0", len(field)-1-len(digits))+digits+"\x00")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// ascii is what of s stands in a fixed field; the whole is in the extended
// header where this is less.
func ascii(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		}
	}
	return b.String()[:min(b.Len(), nameSize)]
}

// content copies exactly size bytes and pads them to a whole block.
func (t *tarWriter) content(r io.Reader, size int64) error {
	n, err := io.Copy(t.w, io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if n < size {
		return fmt.Errorf("its content ends after %d of %d bytes", n, size)
	}
	if extra, err := io.ReadFull(r, make([]byte, 1)); extra > 0 {
		return fmt.Errorf("its content goes on after %d bytes", size)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	_, err = t.w.Write(make([]byte, padding(size)))
	return err
}

// end writes the two empty blocks that end an archive.
func (t *tarWriter) end() error {
	_, err := t.w.Write(make([]byte, 2*blockSize))
	return err
}

func padding(size int64) int64 { return -size & (blockSize - 1) }

// unixMode returns the permission bits with setuid, setgid and sticky where
// Unix has them.
func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}
