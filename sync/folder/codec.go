package folder

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/kfdev/kfdev/sync/tree"
)

// What is kept on disk is a header, values one after the other, and a CRC-32 of
// all of it (Castagnoli), so that what was cut off or damaged is known for it.

// errDamaged: what was read is not what was written.
var errDamaged = errors.New("it is damaged, or of another version")

type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) entry(t tree.Entry) {
	flags := uint64(t.Kind) << 1
	if t.Exec {
		flags |= 1
	}
	e.uint(flags)
	switch t.Kind {
	case tree.File:
		e.int(t.Size)
		e.b = append(e.b, t.Digest[:]...)
	case tree.Symlink:
		e.string(t.Target)
	default:
	}
}

// sealed is all of it with the checksum.
func (e *encoder) sealed() []byte {
	return binary.LittleEndian.AppendUint32(e.b, crc32.Checksum(e.b, crc32.MakeTable(crc32.Castagnoli)))
}

type decoder struct {
	b   []byte
	bad bool
}

// unseal checks the checksum and the header.
func unseal(b []byte, header string) (*decoder, error) {
	n := len(b) - 4
	if n < len(header) || string(b[:len(header)]) != header ||
		binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, errDamaged
	}
	return &decoder{b: b[len(header):n]}, nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes(d.uint())) }

func (d *decoder) entry() tree.Entry {
	flags := d.uint()
	e := tree.Entry{Kind: tree.Kind(flags >> 1 & 3), Exec: flags&1 != 0}
	switch e.Kind {
	case tree.File:
		e.Size = d.int()
		copy(e.Digest[:], d.bytes(uint64(len(e.Digest))))
		d.bad = d.bad || e.Size < 0
	case tree.Symlink:
		e.Target = d.string()
		d.bad = d.bad || e.Target == ""
	default:
	}
	d.bad = d.bad || flags > 7 || e.Exec && e.Kind != tree.File
	return e
}

// end says whether all was read, and was as it must be.
func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errDamaged
	}
	return nil
}
