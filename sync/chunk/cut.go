package chunk

import (
	"crypto/sha256"
	"errors"
	"io"
)

// The sizes of chunks in bytes. Two sides only find what they have in common
// where both cut alike, so that these and the table below are part of the sync
// protocol.
const (
	MinSize     = 16 << 10
	AverageSize = 64 << 10
	MaxSize     = 256 << 10 // the last chunk of a file may be smaller than MinSize
)

// The masks of normalized chunking (section 3.3 of the paper, level 2): before
// the average size a cut needs two bits more than log2(AverageSize), and after
// it two fewer, so that sizes gather around the average. The bits are the
// highest, on which most bytes have an influence.
const (
	maskSmall = (1<<18 - 1) << (64 - 18)
	maskLarge = (1<<14 - 1) << (64 - 14)
)

// bufferSize is how much is read at once: several chunks of any size.
const bufferSize = 4 * MaxSize

// Cut reads r to its end and gives every chunk with its bytes to put, in order.
// The bytes are valid until put returns. The same content is cut the same way,
// always and everywhere. Put's error ends it.
func Cut(r io.Reader, put func(c Chunk, data []byte) error) error {
	gear := gearTable()
	buffer := make([]byte, bufferSize)
	start, end, offset := 0, 0, int64(0)
	ended := false
	for {
		if end-start < MaxSize && !ended {
			end = copy(buffer, buffer[start:end])
			start = 0
			n, err := io.ReadFull(r, buffer[end:])
			end += n
			if ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !ended {
				return err
			}
		}
		if start == end {
			return nil
		}
		n := next(&gear, buffer[start:end])
		data := buffer[start : start+n]
		if err := put(Chunk{ID: sha256.Sum256(data), Offset: offset, Size: n}, data); err != nil {
			return err
		}
		start += n
		offset += int64(n)
	}
}

// next is the size of the first chunk of data, which is MaxSize bytes or more,
// or all that there is.
func next(gear *[256]uint64, data []byte) int {
	if len(data) <= MinSize {
		return len(data)
	}
	data = data[:min(len(data), MaxSize)]
	hash, i := uint64(0), MinSize
	for small := data[:min(len(data), AverageSize)]; i < len(small); i++ {
		if hash = hash<<1 + gear[small[i]]; hash&maskSmall == 0 {
			return i + 1
		}
	}
	for ; i < len(data); i++ {
		if hash = hash<<1 + gear[data[i]]; hash&maskLarge == 0 {
			return i + 1
		}
	}
	return len(data)
}

// gearTable is a random number for each byte: SplitMix64 from 0 (Steele et al.,
// OOPSLA 2014).
func gearTable() [256]uint64 {
	var table [256]uint64
	state := uint64(0)
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		table[i] = z ^ z>>31
	}
	return table
}
