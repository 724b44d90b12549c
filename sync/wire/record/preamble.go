package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// magic begins each direction. It is no text, and it breaks where a terminal
// or anything else on the way changes line ends, takes the eighth bit or stops
// at a NUL byte.
const magic = "\xffkfdev-sync\r\n\x00\x1a\n"

// maxNoise is how many bytes may come before the magic number: what a shell's
// profile prints, or why the helper did not start.
const maxNoise = 64 << 10

// ErrNoPeer means that nobody spoke this protocol. The error that wraps it says
// what was printed instead.
var ErrNoPeer = errors.New("no answer in the sync protocol")

// findMagic reads up to the end of the magic number, and not a byte further.
func findMagic(r io.Reader) error {
	var seen []byte
	next := make([]byte, len(magic))
	missing := len(magic)
	for {
		n, err := io.ReadFull(r, next[:missing])
		seen = append(seen, next[:n]...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return noPeer(seen, "the stream ended")
		case err != nil:
			return noPeer(seen, err.Error())
		}
		have := overlap(seen)
		if missing = len(magic) - have; missing == 0 {
			return nil
		}
		if len(seen) > maxNoise {
			return noPeer(seen, fmt.Sprintf("%d bytes of something else", len(seen)))
		}
	}
}

// overlap is how many bytes at the end of seen are the beginning of the magic
// number.
func overlap(seen []byte) int {
	for n := min(len(seen), len(magic)); n > 0; n-- {
		if bytes.Equal(seen[len(seen)-n:], []byte(magic)[:n]) {
			return n
		}
	}
	return 0
}

func noPeer(printed []byte, reason string) error {
	if text := printable(printed, 400); text != "" {
		return fmt.Errorf("%w: %s; it printed %q", ErrNoPeer, reason, text)
	}
	return fmt.Errorf("%w: %s", ErrNoPeer, reason)
}

// printable is the end of what was printed, without what would move a cursor.
func printable(b []byte, limit int) string {
	if len(b) > limit {
		b = b[len(b)-limit:]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "")))
}
