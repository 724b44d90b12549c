package fieldpath

import (
	"slices"
	"strconv"
	"strings"
)

// Location is a place in one object that steps lead to.
type Location struct {
	At    []any // keys (string) and indexes (int) that are there
	Rest  []Step
	Value any // at At; where Rest is not empty, what it would be added to
}

// Missing reports whether the place is not there, but could be made.
func (l Location) Missing() bool { return len(l.Rest) > 0 }

// Pointer writes where a place is so that each place has one text, and what is
// below another place begins with its text.
func Pointer(at []any) string {
	var b strings.Builder
	for _, part := range at {
		switch part := part.(type) {
		case int:
			b.WriteByte('/')
			b.WriteString(strconv.Itoa(part))
		case string:
			b.WriteByte('/')
			if strings.ContainsAny(part, "~/") {
				part = strings.ReplaceAll(strings.ReplaceAll(part, "~", "~0"), "/", "~1")
			}
			b.WriteString(part)
		}
	}
	return b.String()
}

// Resolve returns the places in node that steps lead to. With missing, a place
// that is not there counts too where all that has to be made are maps and, at
// the end, a list's element; its Rest says what.
func Resolve(node any, steps []Step, missing bool) []Location {
	return resolve(node, nil, steps, missing)
}

func resolve(node any, at []any, steps []Step, missing bool) []Location {
	if len(steps) == 0 {
		return []Location{{At: at, Value: node}}
	}
	var found []Location
	down := func(part, child any) {
		found = append(found, resolve(child, append(slices.Clip(at), part), steps[1:], missing)...)
	}
	s := steps[0]
	switch s.Kind {
	case Key:
		fields, ok := node.(map[string]any)
		if !ok {
			return absent(node, at, steps, missing && node == nil)
		}
		child, has := fields[s.Key]
		if !has || child == nil && len(steps) > 1 {
			return absent(node, at, steps, missing)
		}
		down(s.Key, child)
	case Match, Value, Index, All:
		list, ok := node.([]any)
		if !ok {
			return absent(node, at, steps, missing && node == nil)
		}
		for i, item := range list {
			if s.selects(i, item) {
				down(i, item)
			}
		}
		if len(found) == 0 && !slices.ContainsFunc(list, func(item any) bool { return s.selects(0, item) }) {
			return absent(node, at, steps, missing)
		}
	}
	return found
}

func absent(node any, at []any, steps []Step, missing bool) []Location {
	if !missing || !Makeable(steps) {
		return nil
	}
	return []Location{{At: at, Rest: steps, Value: node}}
}

// Makeable reports whether all that steps lead through can be made: maps and,
// at the end, one element of a list.
func Makeable(steps []Step) bool {
	for i, s := range steps {
		if s.Kind == Index || s.Kind == All || s.Kind != Key && i < len(steps)-1 {
			return false
		}
	}
	return true
}

// selects reports whether a step is about the list's element at i.
func (s Step) selects(i int, item any) bool {
	switch s.Kind {
	case All:
		return true
	case Index:
		return i == s.Index
	case Value:
		text, ok := Scalar(item)
		return ok && text == s.Key
	case Match:
		return s.Matches(item)
	case Key:
	}
	return false
}

// Matches reports whether a list's element has the scalars that a Match names.
func (s Step) Matches(item any) bool {
	fields, ok := item.(map[string]any)
	if !ok || s.Kind != Match {
		return false
	}
	for _, m := range s.Match {
		if text, ok := Scalar(fields[m.Key]); !ok || text != m.Value {
			return false
		}
	}
	return true
}

// Scalar writes a text, number or truth value as selectors name it.
func Scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}
