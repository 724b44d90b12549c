package ancestor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/kfdev/kfdev/sync/tree"
)

// A file is records: a length and a CRC-32C of four bytes each, little-endian,
// and as many bytes of CBOR items. The first record holds a head, every other
// one entries.
const (
	version    = 1
	maxRecord  = 1 << 20 // bytes; a record ends with the entry that exceeds half of it
	headLength = 8
)

type head struct {
	Version int    `cbor:"1,keyasint"`
	Local   string `cbor:"2,keyasint"`
	Remote  string `cbor:"3,keyasint"`
	Place   string `cbor:"4,keyasint,omitempty"`
	Where   string `cbor:"5,keyasint,omitempty"`
}

// item is what is at a path; of kind Absent: nothing is any more.
type item struct {
	Path   cbor.ByteString `cbor:"1,keyasint"`
	Kind   uint8           `cbor:"2,keyasint"`
	Exec   bool            `cbor:"3,keyasint,omitempty"`
	Size   int64           `cbor:"4,keyasint,omitempty"`
	Digest cbor.ByteString `cbor:"5,keyasint,omitempty"`
	Target cbor.ByteString `cbor:"6,keyasint,omitempty"`
}

func itemOf(path string, e tree.Entry) item {
	i := item{
		Path: cbor.ByteString(path), Kind: uint8(e.Kind), Exec: e.Exec, Size: e.Size, Target: cbor.ByteString(e.Target),
	}
	if e.Kind == tree.File {
		i.Digest = cbor.ByteString(e.Digest[:])
	}
	return i
}

// errCorrupt is a record that is whole and yet not one of these.
var errCorrupt = errors.New("the file is not what was written")

func (i item) entry() (tree.Entry, error) {
	e := tree.Entry{Kind: tree.Kind(i.Kind), Exec: i.Exec, Size: i.Size, Target: string(i.Target)}
	if e.Kind == tree.File {
		if len(i.Digest) != len(e.Digest) || i.Size < 0 {
			return e, errCorrupt
		}
		copy(e.Digest[:], i.Digest)
	} else if i.Digest != "" || i.Size != 0 || i.Exec {
		return e, errCorrupt
	}
	if e.Kind > tree.Symlink || (i.Target != "") != (e.Kind == tree.Symlink) {
		return e, errCorrupt
	}
	return e, nil
}

func writeRecord(w io.Writer, payload []byte) error {
	var h [headLength]byte
	binary.LittleEndian.PutUint32(h[:4], uint32(len(payload))) //nolint:gosec // at most maxRecord
	binary.LittleEndian.PutUint32(h[4:], crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func writeHead(w io.Writer, p Pair) error {
	payload, err := cbor.Marshal(head{Version: version, Local: p.Local, Remote: p.Remote, Place: p.Place, Where: p.Where})
	if err != nil {
		return err
	}
	return writeRecord(w, payload)
}

// writeEntries writes the entries that walk puts, in records.
func writeEntries(w io.Writer, walk func(put func(string, tree.Entry) error) error) error {
	var payload []byte
	err := walk(func(path string, e tree.Entry) error {
		b, err := cbor.Marshal(itemOf(path, e))
		if err != nil {
			return err
		}
		payload = append(payload, b...)
		if len(payload) < maxRecord/2 {
			return nil
		}
		err = writeRecord(w, payload)
		payload = payload[:0]
		return err
	})
	if err != nil || len(payload) == 0 {
		return err
	}
	return writeRecord(w, payload)
}

// walk visits the tree, and what is gone as absent.
func (a *Agreed) walk(visit func(string, tree.Entry) error) error {
	if err := a.Tree.Walk(visit); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(a.Gone)) {
		if err := visit(path, tree.Entry{}); err != nil {
			return err
		}
	}
	return nil
}

// readRecord returns io.EOF at the end, and where the rest is not whole.
func readRecord(r io.Reader) ([]byte, error) {
	var h [headLength]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, io.EOF
	}
	n := binary.LittleEndian.Uint32(h[:4])
	if n > maxRecord {
		return nil, io.EOF
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, io.EOF
	}
	if crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(h[4:]) {
		return nil, io.EOF
	}
	return payload, nil
}

// decode reads a file's records and returns what they come to.
func decode(r io.Reader) (Pair, *Agreed, error) {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 16,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		return Pair{}, nil, err
	}
	payload, err := readRecord(r)
	if err != nil {
		return Pair{}, nil, errCorrupt
	}
	var h head
	if err := mode.Unmarshal(payload, &h); err != nil {
		return Pair{}, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if h.Version != version {
		return Pair{}, nil, fmt.Errorf("the form %d is another version's", h.Version)
	}
	t := Nothing()
	for {
		payload, err := readRecord(r)
		if errors.Is(err, io.EOF) {
			return Pair{Local: h.Local, Remote: h.Remote, Place: h.Place, Where: h.Where}, t, nil
		}
		if err != nil {
			return Pair{}, nil, err
		}
		if err := enter(mode, payload, t); err != nil {
			return Pair{}, nil, err
		}
	}
}

// enter puts a record's entries into a tree.
func enter(mode cbor.DecMode, payload []byte, t *Agreed) error {
	for len(payload) > 0 {
		var i item
		rest, err := mode.UnmarshalFirst(payload, &i)
		if err != nil {
			return fmt.Errorf("%w: %w", errCorrupt, err)
		}
		payload = rest
		e, err := i.entry()
		if err != nil {
			return err
		}
		path := string(i.Path)
		if err := tree.CheckPath(path); err != nil {
			return fmt.Errorf("%w: %w", errCorrupt, err)
		}
		if !t.Put(path, e) {
			return errCorrupt
		}
		if e.Kind == tree.Absent {
			t.gone(path) // of a snapshot, whose tree never had it
		}
	}
	return nil
}
