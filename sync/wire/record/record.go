// Package record turns a pipe that may be cut, may stall and may have other
// things printed into it into a connection that says what is wrong with it:
// bytes travel in numbered, checksummed and compressed records, beats show that
// the other side is alive, and a magic number marks where it all begins.
package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// MaxPayload is how many bytes a record holds before compression.
const MaxPayload = 64 << 10

// A record is a header and a payload. All numbers are big-endian.
//
//	offset  size  what
//	0       1     flags
//	1       3     length of the payload on the wire
//	4       1     0
//	5       3     length of the payload before compression
//	8       4     CRC-32C of the record's number (8 bytes; the first is 0) and bytes 0 to 7
//	12      4     CRC-32C of the payload on the wire
//
// The header has a checksum of its own, for a wrong length would be waited for.
// The number is not sent: a record that is lost or comes twice fails the check.
const headerSize = 16

const (
	flagCompressed = 1 << 0
	flagEnd        = 1 << 1 // nothing comes after; it has no payload
)

const (
	// maxWire is the longest payload on the wire: zstd stores what it can't make
	// smaller, with a few bytes for each block of it.
	maxWire = MaxPayload + 1<<10
	// worthwhile is the size from which a payload goes through the compressor.
	worthwhile = 128
	// window is how far back zstd may refer, and so what a decoder must keep.
	window = 512 << 10
)

// ErrCorrupt is what arrives being no record of this protocol, or not the one
// that was sent.
var ErrCorrupt = errors.New("what arrived is not what was sent")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// checksums computes CRC-32C (Castagnoli), for which processors have an
// instruction.
type checksums struct{ table *crc32.Table }

func newChecksums() checksums { return checksums{table: crc32.MakeTable(crc32.Castagnoli)} }

func (c checksums) header(number uint64, header []byte) uint32 {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], number)
	return crc32.Update(crc32.Checksum(n[:], c.table), c.table, header)
}

func (c checksums) payload(wire []byte) uint32 { return crc32.Checksum(wire, c.table) }

// encoder writes records. All compressed payloads of a direction are one zstd
// frame, each a flushed part of it: what was sent before makes what comes
// smaller.
type encoder struct {
	sums   checksums
	number uint64
	zstd   *zstd.Encoder
	buf    bytes.Buffer
}

func newEncoder() (*encoder, error) {
	e := &encoder{sums: newChecksums()}
	var err error
	e.zstd, err = zstd.NewWriter(&e.buf, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	return e, err
}

// encode returns a record of at most MaxPayload bytes. It is valid until the
// next call.
func (e *encoder) encode(payload []byte) ([]byte, error) {
	e.buf.Reset()
	e.buf.Write(make([]byte, headerSize))
	flags := byte(0)
	if len(payload) >= worthwhile {
		flags |= flagCompressed
		if _, err := e.zstd.Write(payload); err != nil {
			return nil, err
		}
		if err := e.zstd.Flush(); err != nil {
			return nil, err
		}
	} else {
		e.buf.Write(payload)
	}
	record := e.buf.Bytes()
	e.seal(record, flags, len(payload))
	return record, nil
}

// encodeEnd returns the record after which nothing comes.
func (e *encoder) encodeEnd() []byte {
	record := make([]byte, headerSize)
	e.seal(record, flagEnd, 0)
	return record
}

// seal fills in the header of a record.
func (e *encoder) seal(record []byte, flags byte, raw int) {
	header, wire := record[:headerSize], record[headerSize:]
	header[0] = flags
	putUint24(header[1:], len(wire))
	putUint24(header[5:], raw)
	binary.BigEndian.PutUint32(header[8:], e.sums.header(e.number, header[:8]))
	binary.BigEndian.PutUint32(header[12:], e.sums.payload(wire))
	e.number++
}

func (e *encoder) close() { _ = e.zstd.Close() } // it writes to memory

// decoder reads records.
type decoder struct {
	sums   checksums
	r      io.Reader
	number uint64
	zstd   *zstd.Decoder // nil until the first compressed payload
	part   part
	wire   [maxWire]byte
}

func newDecoder(r io.Reader) *decoder { return &decoder{sums: newChecksums(), r: r} }

// decode reads a record and returns its payload, which lies in buf. The record
// that is the end gives io.EOF, a stream that ends without it
// io.ErrUnexpectedEOF.
func (d *decoder) decode(buf *[MaxPayload]byte) ([]byte, error) {
	h, err := d.header()
	switch {
	case err != nil:
		return nil, err
	case h.flags&flagEnd != 0:
		return nil, io.EOF
	}
	wire := d.wire[:h.wire]
	if err := d.fill(wire); err != nil {
		return nil, err
	}
	if h.sum != d.sums.payload(wire) {
		return nil, corrupt("the payload of record %d", d.number)
	}
	payload := buf[:h.raw]
	if h.flags&flagCompressed == 0 {
		copy(payload, wire)
	} else if err := d.decompress(payload, wire); err != nil {
		return nil, corrupt("record %d can't be decompressed: %v", d.number, err)
	}
	d.number++
	return payload, nil
}

// header is what the header of a record says.
type header struct {
	flags     byte
	wire, raw int    // length of the payload, as it comes and in the end
	sum       uint32 // of the payload, as it comes
}

// header reads and checks a header.
func (d *decoder) header() (header, error) {
	var b [headerSize]byte
	if err := d.fill(b[:]); err != nil {
		return header{}, err
	}
	if binary.BigEndian.Uint32(b[8:]) != d.sums.header(d.number, b[:8]) {
		return header{}, corrupt("the header of record %d", d.number)
	}
	h := header{flags: b[0], wire: uint24(b[1:]), raw: uint24(b[5:]), sum: binary.BigEndian.Uint32(b[12:])}
	wrong := false
	switch h.flags {
	case 0:
		wrong = h.wire != h.raw
	case flagCompressed:
		wrong = h.raw == 0
	case flagEnd:
		wrong = h.wire != 0 || h.raw != 0
	default:
		return header{}, corrupt("record %d has flags that are not known", d.number)
	}
	if wrong || b[4] != 0 || h.wire > maxWire || h.raw > MaxPayload {
		return header{}, corrupt("record %d has %d bytes for %d", d.number, h.wire, h.raw)
	}
	return h, nil
}

// fill reads as much as b holds.
func (d *decoder) fill(b []byte) error {
	_, err := io.ReadFull(d.r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decompress fills payload from a part of the zstd frame.
func (d *decoder) decompress(payload, wire []byte) error {
	d.part = wire
	if d.zstd == nil {
		var err error
		// The limit on the window is the limit on memory: what comes out is no
		// longer than payload.
		d.zstd, err = zstd.NewReader(&d.part, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(window), zstd.IgnoreChecksum(true))
		if err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(d.zstd, payload); err != nil {
		return err
	}
	if len(d.part) > 0 {
		return fmt.Errorf("%d bytes too many", len(d.part))
	}
	return nil
}

func (d *decoder) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// part is what the zstd decoder may read: the payload of one record.
type part []byte

// Read implements io.Reader. The end of a part is not to be reached.
func (p *part) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, *p)
	*p = (*p)[n:]
	return n, nil
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func putUint24(b []byte, n int) { b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n) }
