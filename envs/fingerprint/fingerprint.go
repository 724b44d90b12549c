// Package fingerprint is what an environment is, as far as a stack can tell:
// server, APIs, policies, classes, nodes, GPUs. A fingerprint is a set of
// dimensions, each known or not; two are compared dimension by dimension, and
// what is not known never equals anything.
package fingerprint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Value is what a dimension, or one item of it, is. The zero Value is unknown.
type Value struct {
	// Is is a text, whole number, truth value, list or mapping; nil where it is
	// not known.
	Is any `json:"is,omitempty"`
	// Unknown says why it is not known: "no rights to list nodes".
	Unknown string `json:"unknown,omitempty"`
}

// Known reports whether the value was read.
func (v Value) Known() bool { return v.Is != nil && v.Unknown == "" }

// String writes the value for people.
func (v Value) String() string {
	switch {
	case v.Known():
		out, err := json.Marshal(v.Is)
		if err != nil {
			return fmt.Sprint(v.Is)
		}
		return string(out)
	case v.Unknown != "":
		return "unknown (" + v.Unknown + ")"
	}
	return "unknown"
}

// Set returns the value of texts whose order and number mean nothing.
func Set(items ...string) Value {
	list := []any{}
	for _, s := range slices.Compact(slices.Sorted(slices.Values(items))) {
		list = append(list, s)
	}
	return Value{Is: list}
}

// Dimension is one value, or items by their names: a StorageClass each.
type Dimension struct {
	Value
	// Items are all there are: one that is not among them does not exist. Nil
	// where the dimension is one value, or unknown as a whole.
	Items map[string]Value `json:"items,omitzero"`
}

// known reports whether the dimension as a whole was read.
func (d Dimension) known() bool { return d.Unknown == "" && (d.Is != nil || d.Items != nil) }

// Fingerprint is what an environment is.
type Fingerprint struct {
	Dimensions map[string]Dimension `json:"dimensions"`
}

// format is the version of the canonical form.
const format = "kfdev.dev/fingerprint/v1alpha1"

type file struct {
	Format string `json:"format"`
	Fingerprint
}

// Marshal returns the fingerprint in its one form: keys sorted, no space, a
// newline at the end.
func (f Fingerprint) Marshal() ([]byte, error) {
	for name, d := range f.Dimensions {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("dimension %q: %w", name, err)
		}
	}
	if f.Dimensions == nil {
		f.Dimensions = map[string]Dimension{}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(file{Format: format, Fingerprint: f})
	return out.Bytes(), err
}

// Digest returns the digest of the canonical form.
func (f Fingerprint) Digest() (string, error) {
	raw, err := f.Marshal()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// maxSize bounds what is read as a fingerprint, in bytes.
const maxSize = 8 << 20

// Unmarshal reads what Marshal writes, and nothing else.
func Unmarshal(data []byte) (Fingerprint, error) {
	fail := func(err error) (Fingerprint, error) {
		return Fingerprint{}, fmt.Errorf("reading a fingerprint: %w", err)
	}
	if len(data) > maxSize {
		return fail(fmt.Errorf("%d bytes: at most %d are read", len(data), maxSize))
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	d.UseNumber()
	var in file
	if err := d.Decode(&in); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(errors.New("more than one value"))
	}
	if in.Format != format {
		return fail(fmt.Errorf("format %q is not known to this kfdev", in.Format))
	}
	for name, each := range in.Dimensions {
		each.Is = whole(each.Is)
		for item, v := range each.Items {
			each.Items[item] = Value{Is: whole(v.Is), Unknown: v.Unknown}
		}
		in.Dimensions[name] = each
	}
	again, err := in.Marshal()
	if err != nil {
		return fail(err)
	}
	if !bytes.Equal(again, data) {
		return fail(errors.New("it is not in its canonical form"))
	}
	return in.Fingerprint, nil
}

// whole turns numbers into int64; any other stays, and check refuses it.
func whole(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return v
}

func (d Dimension) check() error {
	if d.Items != nil && d.Is != nil {
		return errors.New("it has both a value and items")
	}
	if err := d.Value.check(); err != nil {
		return err
	}
	for name, v := range d.Items {
		if err := v.check(); err != nil {
			return fmt.Errorf("item %q: %w", name, err)
		}
	}
	return nil
}

func (v Value) check() error {
	if v.Is != nil && v.Unknown != "" {
		return errors.New("it is both known and unknown")
	}
	return plain(v.Is)
}

// plain refuses what has no one form in JSON: fractions, and texts that are
// not UTF-8.
func plain(v any) error {
	switch v := v.(type) {
	case nil, bool:
		return nil
	case string:
		if strings.ToValidUTF8(v, "") != v {
			return errors.New("a text that is not UTF-8")
		}
		return nil
	case int64:
		return nil
	case []any:
		for _, each := range v {
			if err := plain(each); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		for _, each := range v {
			if err := plain(each); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("a value of type %T (whole numbers up to %d are int64)", v, int64(math.MaxInt64))
}
