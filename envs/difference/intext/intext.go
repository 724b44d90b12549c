// Package intext finds and changes one value inside a text that an object
// carries: a YAML or JSON document in a ConfigMap, or any text with a regular
// expression. Every other byte stays as it was. What cannot be done with
// certainty is refused, never guessed.
package intext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/structure"
)

// Span is a value and the bytes that write it, quotes included.
type Span struct {
	Start, End int
	Value      any // string, int64, float64, bool or nil; of a pattern, always a string
}

// maxText bounds what is read as YAML, in bytes.
const maxText = 1 << 20

// Find returns the one value that where leads to.
func Find(text string, where fieldpath.Text) (Span, error) {
	if where.Pattern != nil {
		return findPattern(text, where.Pattern)
	}
	at, err := locate(text, where.Fields)
	if err != nil {
		return Span{}, err
	}
	return at.span, nil
}

// Set returns text with the value that where leads to replaced.
func Set(text string, where fieldpath.Text, value any) (string, error) {
	if where.Pattern != nil {
		return setPattern(text, where.Pattern, value)
	}
	at, err := locate(text, where.Fields)
	if err != nil {
		return "", err
	}
	if structure.Equal(at.span.Value, value) {
		return text, nil
	}
	for _, written := range spellings(text, at, value) {
		out := text[:at.span.Start] + written + text[at.span.End:]
		if says(text, out, where.Fields, at, value) {
			return out, nil
		}
	}
	return "", fmt.Errorf("%v cannot be written in place of %v without changing more of the text", value, at.span.Value)
}

func findPattern(text string, re *regexp.Regexp) (Span, error) {
	all := re.FindAllStringSubmatchIndex(text, 2)
	switch {
	case len(all) == 0:
		return Span{}, errors.New("the regular expression matches nothing in the text")
	case len(all) > 1:
		return Span{}, errors.New("the regular expression matches more than once in the text: put more of what is around the value into it")
	case all[0][2] < 0:
		return Span{}, errors.New("the regular expression matches without its group")
	}
	start, end := all[0][2], all[0][3]
	return Span{Start: start, End: end, Value: text[start:end]}, nil
}

func setPattern(text string, re *regexp.Regexp, value any) (string, error) {
	s, err := findPattern(text, re)
	if err != nil {
		return "", err
	}
	written, ok := fieldpath.Scalar(value)
	if !ok {
		return "", fmt.Errorf("%v is no text", value)
	}
	out := text[:s.Start] + written + text[s.End:]
	again, err := findPattern(out, re)
	if err != nil || again.Start != s.Start || again.Value != written {
		return "", fmt.Errorf("with %q in its place the regular expression does not match as before", written)
	}
	return out, nil
}

// place is a scalar that was found, with its document.
type place struct {
	span     Span
	document int
	node     *yaml.Node
}

// documents reads all documents of a text.
func documents(text string) ([]*yaml.Node, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the text has %d bytes: at most %d are read", len(text), maxText)
	}
	var out []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("the text is neither YAML nor JSON: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) == 1 {
			out = append(out, doc.Content[0])
		}
	}
}

func locate(text string, steps []fieldpath.Step) (place, error) {
	docs, err := documents(text)
	if err != nil {
		return place{}, err
	}
	var found []place
	for i, doc := range docs {
		for _, n := range follow(doc, steps) {
			found = append(found, place{document: i, node: n})
		}
	}
	switch {
	case len(found) == 0:
		return place{}, fmt.Errorf("the text has no value at %s", fieldpath.Render(steps))
	case len(found) > 1:
		return place{}, fmt.Errorf("the text has %d values at %s", len(found), fieldpath.Render(steps))
	}
	at := found[0]
	at.span, err = spanOf(text, at.node)
	return at, err
}

// follow returns the nodes that steps lead to. Aliases are not followed: a
// value behind one stands elsewhere too.
func follow(node *yaml.Node, steps []fieldpath.Step) []*yaml.Node {
	if len(steps) == 0 {
		return []*yaml.Node{node}
	}
	var found []*yaml.Node
	s := steps[0]
	switch {
	case node.Kind == yaml.MappingNode && s.Kind == fieldpath.Key:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == s.Key {
				found = append(found, follow(node.Content[i+1], steps[1:])...)
			}
		}
	case node.Kind == yaml.SequenceNode && s.Kind != fieldpath.Key:
		for i, item := range node.Content {
			if selects(s, i, item) {
				found = append(found, follow(item, steps[1:])...)
			}
		}
	}
	return found
}

func selects(s fieldpath.Step, i int, item *yaml.Node) bool {
	switch s.Kind {
	case fieldpath.Index:
		return s.Index == i
	case fieldpath.Value:
		return item.Kind == yaml.ScalarNode && item.Value == s.Key
	case fieldpath.Match:
		for _, m := range s.Match {
			if values := follow(item, []fieldpath.Step{{Kind: fieldpath.Key, Key: m.Key}}); len(values) != 1 || values[0].Kind != yaml.ScalarNode || values[0].Value != m.Value {
				return false
			}
		}
		return true
	case fieldpath.Key, fieldpath.All:
	}
	return false
}

// spellings returns how a value may be written in place of another, what looks
// most like it first.
func spellings(text string, at place, value any) []string {
	var plain string
	isText := false
	switch v := value.(type) {
	case nil:
		plain = "null"
	case string:
		plain, isText = v, true
	default:
		var ok bool
		if plain, ok = fieldpath.Scalar(value); !ok {
			return nil
		}
	}
	double := quoteJSON(plain)
	switch style := at.node.Style; {
	case !isText:
		return []string{plain}
	case json.Valid([]byte(text)):
		return []string{double}
	case style&yaml.DoubleQuotedStyle != 0:
		return []string{double}
	case style&yaml.SingleQuotedStyle != 0:
		return []string{"'" + strings.ReplaceAll(plain, "'", "''") + "'", double}
	}
	return []string{plain, double}
}

func quoteJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always written
	return strings.TrimSuffix(b.String(), "\n")
}

// says reports whether after is before with the value put where at is, and
// nothing else: every other scalar is the same, comments too.
func says(before, after string, steps []fieldpath.Step, at place, value any) bool {
	if json.Valid([]byte(before)) && !json.Valid([]byte(after)) {
		return false
	}
	was, err := documents(before)
	if err != nil {
		return false
	}
	is, err := documents(after)
	if err != nil || len(is) != len(was) {
		return false
	}
	again, err := locate(after, steps)
	if err != nil || again.document != at.document || again.span.Start != at.span.Start || !structure.Equal(again.span.Value, value) {
		return false
	}
	for i := range was {
		if !same(was[i], is[i], at.node, again.node) {
			return false
		}
	}
	return true
}

// same holds two documents against each other, but for the one scalar.
func same(a, b, exceptA, exceptB *yaml.Node) bool {
	stands := func(n, m *yaml.Node) bool { return n.Line == m.Line && n.Column == m.Column && n.Kind == m.Kind }
	if a.Kind == yaml.ScalarNode && stands(a, exceptA) && stands(b, exceptB) {
		return a.HeadComment == b.HeadComment && a.LineComment == b.LineComment && a.FootComment == b.FootComment
	}
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) ||
		a.HeadComment != b.HeadComment || a.LineComment != b.LineComment || a.FootComment != b.FootComment {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i], exceptA, exceptB) {
			return false
		}
	}
	return true
}
