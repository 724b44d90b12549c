package wire

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kfdev/kfdev/sync/wire/record"
)

// hello is the first that each side says, in the first record of its
// direction: 2 bytes of length and one CBOR item. The helper speaks first; what
// the laptop sent earlier could have been read by the shell that starts the
// helper.
type hello struct {
	Major    uint   `cbor:"1,keyasint"`
	Features uint64 `cbor:"2,keyasint,omitempty"` // a bit for each addition that both sides must know of
	Version  string `cbor:"3,keyasint,omitempty"` // of the program, for messages
	Nonce    []byte `cbor:"4,keyasint"`           // of the helper's choice; the laptop repeats it
}

// featureMore: an info says of which identity the folder holds a copy, and what
// undo can bring back.
const featureMore = 1 << 0

// features are those of this program.
const features = featureMore

const (
	maxHello  = 1 << 10
	nonceSize = 16
)

// greeting is what the two sides learn of each other.
type greeting struct {
	features uint64 // that both have
	version  string // of the other side's program
}

// greet exchanges hellos within a time. Any failure ends the connection.
func greet(ctx context.Context, conn *record.Conn, c codec, o Options, caller bool) (greeting, error) {
	late := time.AfterFunc(o.greeting(), func() { conn.Fail(fmt.Errorf("%w within %v", ErrNoPeer, o.greeting())) })
	defer late.Stop()
	stop := context.AfterFunc(ctx, func() { conn.Fail(ctx.Err()) })
	defer stop()
	mine := hello{Major: Major, Features: features, Version: clean(o.Version, 128)}
	var theirs hello
	var err error
	if caller {
		if err = theirs.read(conn, c); err == nil {
			mine.Nonce = theirs.Nonce
			err = mine.write(conn, c)
		}
	} else {
		mine.Nonce = make([]byte, nonceSize)
		_, _ = rand.Read(mine.Nonce) // it never fails
		if err = mine.write(conn, c); err == nil {
			err = theirs.read(conn, c)
		}
	}
	if err == nil && subtle.ConstantTimeCompare(mine.Nonce, theirs.Nonce) != 1 {
		err = protocol("an answer to another greeting")
	}
	if err != nil {
		conn.Fail(err)
		if cause := conn.Err(); !errors.Is(cause, io.EOF) {
			err = cause
		}
		return greeting{}, err
	}
	return greeting{features: mine.Features & theirs.Features, version: clean(theirs.Version, 128)}, nil
}

func (h hello) write(w *record.Conn, c codec) error {
	body, err := c.marshal(h)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)); err != nil { //nolint:gosec // its parts are short
		return err
	}
	w.Flush()
	return nil
}

func (h *hello) read(r io.Reader, c codec) error {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return ended(err)
	}
	n := binary.BigEndian.Uint16(length[:])
	if n > maxHello {
		return protocol("a greeting of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return ended(err)
	}
	// The major comes first: of another version no more can be understood.
	var version struct {
		Major uint `cbor:"1,keyasint"`
	}
	if err := c.lenient.Unmarshal(body, &version); err != nil {
		return protocol("a greeting that can't be read")
	}
	if version.Major != Major {
		return fmt.Errorf("%w: %d, and this is %d", ErrVersion, version.Major, Major)
	}
	if err := c.unmarshal(body, h); err != nil {
		return err
	}
	if len(h.Nonce) != nonceSize {
		return protocol("a greeting with a nonce of %d bytes", len(h.Nonce))
	}
	return nil
}

// ended says of a clean end that it came too early.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ended before it had greeted", ErrLost)
	}
	return err
}
