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
	knownFlags     = flagCompressed
)

const (
	// maxWire is the longest payload on the wire: zstd stores what it can't make
	// smaller, with a few bytes for each block of it.
	maxWire = MaxPayload + 1<<10
	// worthwhile is the size from which a payload goes through the compressor.
	worthwhile = 128
	// window is how far back zstd may refer, and so what a decoder must keep.
	window = 1 << 20
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
	var header [headerSize]byte
	e.buf.Write(header[:])
	if len(payload) >= worthwhile {
		header[0] |= flagCompressed
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
	wire := record[headerSize:]
	putUint24(header[1:], len(wire))
	putUint24(header[5:], len(payload))
	binary.BigEndian.PutUint32(header[8:], e.sums.header(e.number, header[:8]))
	binary.BigEndian.PutUint32(header[12:], e.sums.payload(wire))
	copy(record, header[:])
	e.number++
	return record, nil
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

// decode reads a record and returns its payload, which lies in buf. A stream that ends between two records gives
// io.EOF, within one io.ErrUnexpectedEOF.
func (d *decoder) decode(buf *[MaxPayload]byte) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(d.r, header[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(header[8:]) != d.sums.header(d.number, header[:8]) {
		return nil, corrupt("the header of record %d", d.number)
	}
	length, raw := uint24(header[1:]), uint24(header[5:])
	compressed := header[0]&flagCompressed != 0
	switch {
	case header[0]&^knownFlags != 0 || header[4] != 0:
		return nil, corrupt("record %d has flags that are not known", d.number)
	case length > maxWire || raw > MaxPayload || !compressed && length != raw || compressed && raw == 0:
		return nil, corrupt("record %d has %d bytes for %d", d.number, length, raw)
	}
	wire := d.wire[:length]
	if _, err := io.ReadFull(d.r, wire); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if binary.BigEndian.Uint32(header[12:]) != d.sums.payload(wire) {
		return nil, corrupt("the payload of record %d", d.number)
	}
	payload := buf[:raw]
	if !compressed {
		copy(payload, wire)
	} else if err := d.decompress(payload, wire); err != nil {
		return nil, corrupt("record %d can't be decompressed: %v", d.number, err)
	}
	d.number++
	return payload, nil
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
