// Package yamledit changes one value in a YAML text and leaves every other
// byte as it was: comments, order, indentation, quotes, line ends. An edit
// that it cannot make with certainty is refused, never guessed: the result is
// read again and held against what it must say.
package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Set returns data with the value at path, a text, whole number or truth
// value. The path's parts are keys and, in lists, indexes that are there. Keys
// that are missing are added at the end of the mapping they belong to.
func Set(data []byte, value any, path ...string) ([]byte, error) {
	scalar, err := render(value)
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("setting %s: %w", strings.Join(path, "."), err)
	}
	if len(path) == 0 {
		return nil, errors.New("setting a value: no path")
	}
	root, err := parse(data)
	if err != nil {
		return fail(err)
	}
	t := text{data: data}
	out, err := t.set(root, scalar, path)
	if err != nil {
		return fail(err)
	}
	if err := check(data, out, value, path); err != nil {
		return fail(err)
	}
	return out, nil
}

// errShape is why an edit is refused.
var errShape = errors.New("the file is written in a way that cannot be edited here; change it by hand")

func parse(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errShape
	}
	return doc.Content[0], nil
}

// render writes a scalar as it stands in YAML, on one line.
func render(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case string:
		return renderText(v)
	}
	return "", fmt.Errorf("a value of type %T cannot be set", value)
}

// renderText quotes where YAML needs it, also within {} and [].
func renderText(v string) (string, error) {
	var back []any
	if err := yaml.Unmarshal([]byte("["+v+"]"), &back); err == nil && len(back) == 1 && back[0] == any(v) && !strings.ContainsAny(v, "#\n") {
		return v, nil
	}
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Style: yaml.DoubleQuotedStyle})
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// check holds the edited text against the old one with the value set.
func check(before, after []byte, value any, path []string) error {
	var want, got any
	if err := yaml.Unmarshal(before, &want); err != nil {
		return err
	}
	if err := yaml.Unmarshal(after, &got); err != nil {
		return errors.Join(errShape, err)
	}
	want, err := put(want, value, path)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(want, got) {
		return errShape
	}
	return nil
}

// put sets the value in decoded YAML.
func put(in, value any, path []string) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	switch v := in.(type) {
	case nil:
		inner, err := put(nil, value, path[1:])
		return map[string]any{path[0]: inner}, err
	case map[string]any:
		inner, err := put(v[path[0]], value, path[1:])
		v[path[0]] = inner
		return v, err
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(v) {
			return nil, errShape
		}
		v[i], err = put(v[i], value, path[1:])
		return v, err
	}
	return nil, errShape
}

// text is a YAML text with the places that nodes name.
type text struct{ data []byte }

// set puts the scalar at path below n.
func (t text) set(n *yaml.Node, scalar string, path []string) ([]byte, error) {
	for i, part := range path {
		next, keyNode, err := child(n, part)
		switch {
		case err != nil:
			return nil, err
		case next == nil:
			return t.add(n, path[i:], scalar)
		case next.Kind == yaml.ScalarNode && next.Tag == "!!null" && next.Value == "" && keyNode != nil:
			return t.fill(keyNode, nest(path[i+1:], scalar))
		}
		n = next
	}
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return nil, errShape
	}
	from, to, err := t.span(n)
	if err != nil {
		return nil, err
	}
	return t.splice(from, to, scalar), nil
}

// child returns the value at one part of a path and its key; nil where a
// mapping has none.
func child(n *yaml.Node, part string) (value, key *yaml.Node, err error) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				return n.Content[i+1], n.Content[i], nil
			}
		}
		return nil, nil, nil
	case yaml.SequenceNode:
		i, err := strconv.Atoi(part)
		if err != nil || i < 0 || i >= len(n.Content) {
			return nil, nil, fmt.Errorf("the list has no item %s", part)
		}
		return n.Content[i], nil, nil
	default:
		return nil, nil, errShape
	}
}

// nest wraps the scalar in flow mappings, one for each key.
func nest(keys []string, scalar string) string {
	for i := len(keys) - 1; i >= 0; i-- {
		scalar = "{" + keys[i] + ": " + scalar + "}"
	}
	return scalar
}

// fill puts the value behind a key that has none.
func (t text) fill(key *yaml.Node, value string) ([]byte, error) {
	_, to, err := t.span(key)
	if err != nil {
		return nil, err
	}
	if to >= len(t.data) || t.data[to] != ':' {
		return nil, errShape
	}
	return t.splice(to+1, to+1, " "+value), nil
}

// add puts keys that are missing at the end of the mapping n.
func (t text) add(n *yaml.Node, keys []string, scalar string) ([]byte, error) {
	entry := keys[0] + ": " + nest(keys[1:], scalar)
	if n.Style&yaml.FlowStyle != 0 {
		open, err := t.offset(n)
		if err != nil {
			return nil, err
		}
		end := t.closing(open)
		if end < 0 {
			return nil, errShape
		}
		if len(n.Content) > 0 {
			entry = ", " + entry
			end = open + len(bytes.TrimRight(t.data[open:end], " \t\r\n"))
		}
		return t.splice(end, end, entry), nil
	}
	if len(n.Content) < 2 {
		return nil, errShape
	}
	return t.addLine(n.Content[len(n.Content)-2], entry)
}

// addLine puts an entry on a line of its own below the block of the mapping's
// last key.
func (t text) addLine(last *yaml.Node, entry string) ([]byte, error) {
	from, err := t.offset(last)
	if err != nil {
		return nil, err
	}
	start := bytes.LastIndexByte(t.data[:from], '\n') + 1
	indent := strings.Repeat(" ", from-start)
	newline := "\n"
	if i := bytes.IndexByte(t.data, '\n'); i > 0 && t.data[i-1] == '\r' {
		newline = "\r\n"
	}
	end, first := start, true // end of the last line that belongs to the block
	for pos := start; pos < len(t.data); {
		next := len(t.data)
		if i := bytes.IndexByte(t.data[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		line := bytes.TrimRight(t.data[pos:next], " \t\r\n")
		content := bytes.TrimLeft(line, " ")
		depth := len(line) - len(content)
		deeper := depth > len(indent) || depth == len(indent) && bytes.HasPrefix(content, []byte("-"))
		switch blank := len(content) == 0; {
		case first || !blank && deeper && content[0] != '#':
			end, first = next, false
		case !blank && content[0] != '#':
			next = len(t.data) // the block is over
		}
		pos = next
	}
	if end == len(t.data) && !bytes.HasSuffix(t.data, []byte("\n")) {
		return t.splice(end, end, newline+indent+entry), nil
	}
	return t.splice(end, end, indent+entry+newline), nil
}

func (t text) splice(from, to int, with string) []byte {
	out := make([]byte, 0, len(t.data)+len(with))
	out = append(out, t.data[:from]...)
	out = append(out, with...)
	return append(out, t.data[to:]...)
}
