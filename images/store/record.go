package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/internal/atomicfile"
)

// recordVersion is the form of record files that this package reads and writes.
const recordVersion = 1

// aliasKind is the kind of the records that lead from a hash of another
// algorithm to the sha256 of the same content.
const aliasKind = "alias"

// record is a note about content, as its file has it.
type record struct {
	Version int             `json:"version"`
	Kind    string          `json:"kind"`
	Key     string          `json:"key"`
	Blobs   []v1.Hash       `json:"blobs"` // what it is about; gone, the record is void
	Value   json.RawMessage `json:"value"`
}

// kindPattern is what a kind, a folder's name, may be.
var kindPattern = regexp.MustCompile(`^[a-z][a-z-]*$`)

// SetRecord notes value under kind and key. It holds as long as all the given
// blobs are in the store.
func (s *Store) SetRecord(kind, key string, value any, blobs ...v1.Hash) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("noting %s %s: %w", kind, key, err)
	}
	text, err := json.MarshalIndent(record{Version: recordVersion, Kind: kind, Key: key, Blobs: blobs, Value: raw}, "", " ")
	if err != nil {
		return fmt.Errorf("noting %s %s: %w", kind, key, err)
	}
	path, err := s.recordPath(kind, key)
	if err != nil {
		return err
	}
	return s.fault("noting what is in the image store", key, atomicfile.Write(path, append(text, '\n'), 0o644))
}

// Record reads what was noted under kind and key into the value that into
// points to, and reports whether there was such a note. A record whose blobs
// are gone, or whose file cannot be read, counts as none: all that is noted can
// be found out again.
func (s *Store) Record(kind, key string, into any) (bool, error) {
	path, err := s.recordPath(kind, key)
	if err != nil {
		return false, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, s.fault("reading what is in the image store", key, err)
	}
	r, err := decodeRecord(raw)
	if err != nil || r.Kind != kind || r.Key != key || !s.hasAll(r.Blobs) {
		return false, nil //nolint:nilerr // void, as the comment says
	}
	return strict(r.Value, into) == nil, nil
}

func (s *Store) hasAll(blobs []v1.Hash) bool {
	for _, b := range blobs {
		if _, err := os.Stat(s.path(b)); err != nil {
			return false
		}
	}
	return true
}

func (s *Store) recordPath(kind, key string) (string, error) {
	if !kindPattern.MatchString(kind) {
		return "", fmt.Errorf("%q is not a kind of record", kind)
	}
	name := sha256.Sum256([]byte(key))
	return filepath.Join(s.records(), kind, hex.EncodeToString(name[:])+".json"), nil
}

// decodeRecord reads a record's file.
func decodeRecord(raw []byte) (record, error) {
	var r record
	if err := strict(raw, &r); err != nil {
		return record{}, err
	}
	if r.Version != recordVersion {
		return record{}, fmt.Errorf("record version %d is not %d", r.Version, recordVersion)
	}
	for _, b := range r.Blobs {
		if b.Algorithm != "sha256" || len(b.Hex) != 2*sha256.Size {
			return record{}, fmt.Errorf("record names %q, which is no sha256", b)
		}
	}
	return r, nil
}

// strict decodes exactly one JSON value without unknown fields.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("text after the value")
	}
	return nil
}
