// Package fieldpath is how a project names what may differ between its
// environments: an object, a field of it, an element of a list, one value
// inside a text.
//
//	path    = object [ field … ] [ "#" text ]  |  "fingerprint/" dimension
//	object  = group "/" Kind "/" name            core is the group of Pods and ConfigMaps
//	name    = NAME | namespace ":" NAME | "*"    NAME alone: the one object of that name, in whatever
//	                                             namespace; each side of the colon may be *
//	field   = "/" key | "/" select | select      a select stands right behind what it selects from
//	select  = '["' key '"]'                      a map's key with other characters than letters, digits, _ and -
//	        | "[" key "=" value { "," … } "]"    the list's element with these scalars
//	        | "[=" value "]"                     the list's scalar of this value
//	        | "[" index "]" | "[*]"              the element at an index, from 0; every element
//	text    = field …                            inside YAML or JSON
//	        | "~" regular expression             its one group, in any text; up to the path's end
//
// What is quoted is quoted as Go quotes. There is no * for a kind or for a
// map's key: these are named, so that a path says what it reaches.
package fieldpath

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Every stands for all names, or all namespaces.
const Every = "*"

// Core is how the API group without a name is written.
const Core = "core"

// fingerprint stands where a group does, for what an environment is.
const fingerprint = "fingerprint"

// Path leads to what may differ. The zero Path leads nowhere.
type Path struct {
	// Dimension is a dimension of the fingerprint; all else is empty then.
	Dimension string
	Group     string // without a version; empty is core
	Kind      string
	Namespace string // empty: whatever the one object of that name has
	Name      string
	Fields    []Step // none: the object itself
	Text      *Text  // nil: the field itself
}

// StepKind tells the ways to go down apart.
type StepKind int

// The ways to go down.
const (
	Key   StepKind = iota // a map's value
	Match                 // a list's element with certain scalars
	Value                 // a list's scalar
	Index                 // a list's element by its place
	All                   // each of a list's elements
)

// Step is one step down.
type Step struct {
	Kind  StepKind
	Key   string // of Key; of Value, the value
	Index int
	Match []Pair
}

// Pair is a key of a list's element with its value as text.
type Pair struct{ Key, Value string }

// Text leads to a value inside a text.
type Text struct {
	Fields  []Step
	Pattern *regexp.Regexp // with one group; nil where Fields lead
}

// IsZero reports whether the path leads nowhere.
func (p Path) IsZero() bool { return p.Kind == "" && p.Dimension == "" }

// Whole reports whether the path leads to objects themselves.
func (p Path) Whole() bool { return p.Kind != "" && len(p.Fields) == 0 }

// Exact reports whether the path can lead to at most one place.
func (p Path) Exact() bool {
	every := func(s Step) bool { return s.Kind == All }
	return p.Name != Every && p.Namespace != Every && !slices.ContainsFunc(p.Fields, every)
}

// Selects reports whether an object is one that the path is about.
func (p Path) Selects(group, kind, namespace, name string) bool {
	return p.Kind != "" && p.Group == group && p.Kind == kind && (p.Name == Every || p.Name == name) &&
		(p.Namespace == "" || p.Namespace == Every || p.Namespace == namespace)
}

// String writes the path in its one form; Parse reads it back.
func (p Path) String() string {
	if p.Dimension != "" {
		return fingerprint + "/" + p.Dimension
	}
	if p.IsZero() {
		return ""
	}
	if p.Whole() {
		return p.Object()
	}
	return p.Object() + "/" + p.Field()
}

// Object writes what the path says of the object.
func (p Path) Object() string {
	group := p.Group
	if group == "" {
		group = Core
	}
	return group + "/" + p.Kind + "/" + p.name()
}

func (p Path) name() string {
	part := func(name string) string {
		if name == Every {
			return name
		}
		return word(name, isNameChar)
	}
	if p.Name == Every && p.Namespace == Every || p.Namespace == "" {
		return part(p.Name)
	}
	return part(p.Namespace) + ":" + part(p.Name)
}

// Field writes what the path says within the object.
func (p Path) Field() string {
	out := Render(p.Fields)
	if p.Text != nil {
		out += p.Text.String()
	}
	return out
}

// String writes the text's part of a path, with its #.
func (t Text) String() string {
	if t.Pattern != nil {
		return "#~" + t.Pattern.String()
	}
	return "#/" + Render(t.Fields)
}

// Render writes steps without a slash in front.
func Render(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		text := s.String()
		if b.Len() > 0 && text[0] != '[' {
			b.WriteByte('/')
		}
		b.WriteString(text)
	}
	return b.String()
}

// String writes one step.
func (s Step) String() string {
	switch s.Kind {
	case Key:
		if plain(s.Key, isKeyChar) {
			return s.Key
		}
		return "[" + strconv.Quote(s.Key) + "]"
	case Match:
		parts := make([]string, len(s.Match))
		for i, m := range s.Match {
			parts[i] = word(m.Key, isKeyChar) + "=" + word(m.Value, isValueChar)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case Value:
		return "[=" + word(s.Key, isValueChar) + "]"
	case Index:
		return "[" + strconv.Itoa(s.Index) + "]"
	case All:
	}
	return "[*]"
}

// word quotes where it must.
func word(s string, allowed func(byte) bool) string {
	if plain(s, allowed) {
		return s
	}
	return strconv.Quote(s)
}

func plain(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return s != ""
}

func isKeyChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func isNameChar(c byte) bool { return isKeyChar(c) || c == '.' }

func isValueChar(c byte) bool { return isNameChar(c) || c == '/' || c == ':' }

// MarshalText writes the path, for YAML and JSON.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (p *Path) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}
