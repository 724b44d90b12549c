package wire

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// codec writes and reads CBOR (RFC 8949), in the deterministic form with
// integers as keys. What is not in a message's definition is refused, as are
// keys that come twice, tags, and items of no stated length.
type codec struct {
	enc     cbor.UserBufferEncMode
	dec     cbor.DecMode
	lenient cbor.DecMode // takes what it does not know; for the greeting of another version
}

func newCodec() (codec, error) {
	enc, err := cbor.CoreDetEncOptions().UserBufferEncMode()
	if err != nil {
		return codec{}, fmt.Errorf("making the encoder: %w", err)
	}
	options := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  4,
		MaxArrayElements: 4096, // words of a command, notes
		MaxMapPairs:      16,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
	}
	lenient, err := options.DecMode()
	if err != nil {
		return codec{}, fmt.Errorf("making the decoder: %w", err)
	}
	options.ExtraReturnErrors = cbor.ExtraDecErrorUnknownField
	dec, err := options.DecMode()
	if err != nil {
		return codec{}, fmt.Errorf("making the decoder: %w", err)
	}
	return codec{enc: enc, dec: dec, lenient: lenient}, nil
}

// marshal encodes one item.
func (c codec) marshal(v any) ([]byte, error) { return c.enc.Marshal(v) }

// append encodes one item at the end of a buffer.
func (c codec) append(buf *bytes.Buffer, v any) error { return c.enc.MarshalToBuffer(v, buf) }

// unmarshal decodes one item, and nothing after it.
func (c codec) unmarshal(b []byte, v any) error {
	if err := c.dec.Unmarshal(b, v); err != nil {
		return protocol("%s", clean(err.Error(), 256))
	}
	return nil
}

// each decodes items that follow one another. It ends with visit's error.
func each[T any](c codec, b []byte, visit func(*T) error) error {
	for len(b) > 0 {
		var item T
		rest, err := c.dec.UnmarshalFirst(b, &item)
		if err != nil {
			return protocol("%s", clean(err.Error(), 256))
		}
		if err := visit(&item); err != nil {
			return err
		}
		b = rest
	}
	return nil
}
