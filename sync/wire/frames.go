package wire

import "encoding/binary"

// frames follows the boundaries of yamux frames in a stream of bytes, so that a
// record ends where a frame does, and so that frames that this protocol has no
// use for are refused before yamux acts on them: a ping, which would cost a
// goroutine, and a go-away. See the yamux specification for the header: version
// (1 byte), type (1), flags (2), stream (4), length (4).
type frames struct {
	noStreams bool // the sender may not open streams
	header    [frameHeader]byte
	have      int    // bytes of the header so far
	body      uint32 // bytes of the body still to come
}

const (
	frameHeader = 12
	typeData    = 0
	typeWindow  = 1
	flagSYN     = 1
)

// advance takes in the next bytes.
func (f *frames) advance(p []byte) error {
	for len(p) > 0 {
		if f.body > 0 {
			n := min(uint32(len(p)), f.body) //nolint:gosec // a slice of a record or of a message
			f.body -= n
			p = p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < frameHeader {
			return nil
		}
		f.have = 0
		if err := f.check(); err != nil {
			return err
		}
		if f.header[1] == typeData {
			f.body = binary.BigEndian.Uint32(f.header[8:])
		}
	}
	return nil
}

func (f *frames) check() error {
	flags := binary.BigEndian.Uint16(f.header[2:])
	switch {
	case f.header[0] != 0:
		return protocol("a stream frame of version %d", f.header[0])
	case f.header[1] != typeData && f.header[1] != typeWindow:
		return protocol("a stream frame of type %d", f.header[1])
	case f.noStreams && flags&flagSYN != 0:
		return protocol("a call from the side that is only called")
	}
	return nil
}

// whole is true between two frames.
func (f *frames) whole() bool { return f.have == 0 && f.body == 0 }
