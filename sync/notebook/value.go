package notebook

import (
	"maps"
	"slices"
	"strings"
)

// kind is what a JSON value is.
type kind uint8

const (
	literal kind = iota // true, false, null and numbers, as they are written
	text
	list
	object
)

// value is a JSON value that knows the order of its keys and how its numbers
// were written, so that what is not changed is written as it was read.
type value struct {
	kind   kind
	text   string // of a text its characters, of a literal how it is written
	items  []*value
	keys   []string // of an object, in the order of the file
	fields map[string]*value
}

func textOf(s string) *value { return &value{kind: text, text: s} }
func emptyObject() *value    { return &value{kind: object, fields: map[string]*value{}} }

// get returns an object's field, or nil.
func (v *value) get(key string) *value {
	if v == nil || v.kind != object {
		return nil
	}
	return v.fields[key]
}

// with returns an object that has a field set, or taken away where field is nil.
func (v *value) with(key string, field *value) *value {
	return v.edited(map[string]*value{key: field})
}

// edited returns an object with fields set, or taken away where they are nil.
// New keys go to their place where the keys are sorted, as Jupyter writes them,
// and to the end where they are not.
func (v *value) edited(fields map[string]*value) *value {
	differs := func(key string) bool { return v.get(key) != fields[key] }
	if !slices.ContainsFunc(slices.Collect(maps.Keys(fields)), differs) {
		return v
	}
	o := emptyObject()
	for _, key := range v.keys {
		field, edited := fields[key]
		if !edited {
			field = v.fields[key]
		}
		if field != nil {
			o.keys = append(o.keys, key)
			o.fields[key] = field
		}
	}
	sorted := slices.IsSorted(o.keys)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if fields[key] != nil && o.fields[key] == nil {
			o.keys = append(o.keys, key)
			o.fields[key] = fields[key]
		}
	}
	if sorted {
		slices.Sort(o.keys)
	}
	return o
}

// joined is the text of a field that may be written as a text or as a list of
// its lines (nbformat's "multiline string").
func (v *value) joined() (string, bool) {
	switch {
	case v == nil:
		return "", false
	case v.kind == text:
		return v.text, true
	case v.kind != list:
		return "", false
	}
	var s strings.Builder
	for _, item := range v.items {
		if item.kind != text {
			return "", false
		}
		s.WriteString(item.text)
	}
	return s.String(), true
}

// exact is true for values that are written the same, order of keys included.
func exact(a, b *value) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.kind != b.kind || a.text != b.text || !slices.Equal(a.keys, b.keys) {
		return false
	}
	for key, field := range a.fields {
		if !exact(field, b.fields[key]) {
			return false
		}
	}
	return slices.EqualFunc(a.items, b.items, exact)
}

// equal is true for values that mean the same: the order of keys, and whether a
// text is one or a list of its lines, make no difference.
func equal(a, b *value) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	if a.kind != b.kind {
		return sameLines(a, b) || sameLines(b, a)
	}
	if a.text != b.text || len(a.fields) != len(b.fields) {
		return false
	}
	for key, field := range a.fields {
		if !equal(field, b.fields[key]) {
			return false
		}
	}
	return slices.EqualFunc(a.items, b.items, equal)
}

// sameLines is true for a text and the list of its lines.
func sameLines(whole, lines *value) bool {
	if whole.kind != text || lines.kind != list || len(lines.items) == 0 {
		return false
	}
	return slices.EqualFunc(splitLines(whole.text), lines.items, func(line string, item *value) bool {
		return item.kind == text && item.text == line
	})
}
