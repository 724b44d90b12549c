// Package strictyaml decodes YAML that people write: an unknown key, a key
// twice, a value of another type are problems, all of them are reported at
// once, and each says where it is and what would be right.
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Problem is one thing wrong in a file.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1; 0 where the file as a whole is meant
	Column int    `json:"column"` // from 1
	Text   string `json:"text"`
}

// String returns file:line:column: text.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is everything wrong in a file, in the order of the file. It is an
// error when it is not empty; use Err.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, each := range p {
		lines[i] = each.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns p in the order of the file, or nil where there is none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}

// Document is a decoded file that still knows where everything stood, for the
// checks that come after decoding.
type Document struct {
	file string
	root *yaml.Node
}

// Formed is a type that may be written in several forms: as a text or as a
// list, say. Its UnmarshalYAML decodes the nodes of those kinds.
type Formed interface {
	yaml.Unmarshaler
	// Forms says for each kind of node what it is held against; none of the
	// types may be Formed by the same kind again.
	Forms() map[yaml.Kind]reflect.Type
}

// maxNodes bounds what aliases may blow a small file up to.
const maxNodes = 200_000

// Decode reads the one YAML document in data into the struct that into points
// to, by the yaml tags of its fields. The document is returned also where there
// are problems, with what could be read, and is nil only where the text is not
// YAML.
func Decode(file string, data []byte, into any) (*Document, Problems) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Problems{{File: file, Text: "is empty"}}
		}
		return nil, Problems{syntax(file, err)}
	}
	doc := &Document{file: file, root: root.Content[0]}
	var extra yaml.Node
	if err := decoder.Decode(&extra); err == nil {
		return doc, Problems{doc.problem(&extra, "a second document; only one is taken")}
	} else if !errors.Is(err, io.EOF) {
		return doc, Problems{syntax(file, err)}
	}
	w := walker{doc: doc}
	w.walk(doc.root, reflect.TypeOf(into).Elem(), "")
	if len(w.problems) > 0 {
		// What is right is read all the same, so that the caller's own checks
		// find the rest of what is wrong; this one's error says nothing new.
		_ = doc.root.Decode(into)
		return doc, w.problems
	}
	if err := doc.root.Decode(into); err != nil {
		return doc, Problems{{File: file, Text: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	return doc, nil
}

// syntax turns yaml's own error, which names only a line, into a problem.
func syntax(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: file, Text: text}
	if n, _ := fmt.Sscanf(text, "line %d:", &p.Line); n == 1 {
		p.Column = 1
		_, p.Text, _ = strings.Cut(text, ": ")
	}
	return p
}

// At returns a problem at the value that path leads to, or at the nearest
// part of it that is in the file. A path's parts are keys (string) and indexes
// (int).
func (d *Document) At(text string, path ...any) Problem {
	node := d.root
	for _, part := range path {
		next := child(node, part)
		if next == nil {
			break
		}
		node = next
	}
	return d.problem(node, text)
}

// Key is At for the key itself, not its value: a name that a person chose.
func (d *Document) Key(text string, path ...any) Problem {
	node := d.root
	for i, part := range path {
		next := child(node, part)
		if next == nil {
			break
		}
		if i == len(path)-1 {
			for j := 0; j+1 < len(node.Content); j += 2 {
				if node.Content[j+1] == next {
					next = node.Content[j]
				}
			}
		}
		node = next
	}
	return d.problem(node, text)
}

// Has reports whether path leads to a value; null is none.
func (d *Document) Has(path ...any) bool {
	node := d.root
	for _, part := range path {
		if node = child(node, part); node == nil {
			return false
		}
	}
	return node.Kind != yaml.ScalarNode || node.Tag != "!!null"
}

func (d *Document) problem(n *yaml.Node, text string) Problem {
	return Problem{File: d.file, Line: n.Line, Column: n.Column, Text: text}
}

func child(node *yaml.Node, part any) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch key := part.(type) {
	case string:
		if node.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i+1]
			}
		}
	case int:
		if node.Kind == yaml.SequenceNode && key < len(node.Content) {
			return node.Content[key]
		}
	}
	return nil
}

// walker holds a document against a Go type.
type walker struct {
	doc      *Document
	problems Problems
	nodes    int
}

func (w *walker) add(n *yaml.Node, format string, args ...any) {
	w.problems = append(w.problems, w.doc.problem(n, fmt.Sprintf(format, args...)))
}

func (w *walker) walk(n *yaml.Node, t reflect.Type, where string) {
	if w.nodes++; w.nodes > maxNodes {
		if w.nodes == maxNodes+1 {
			w.add(n, "the file is too large, or its aliases make it so")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" || t.Kind() == reflect.Interface {
		return
	}
	if formed, ok := reflect.New(t).Interface().(Formed); ok {
		w.form(n, formed.Forms(), where)
		return
	}
	if decodesItself(t) {
		w.own(n, t, where)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		w.mapping(n, where, func(key, value *yaml.Node) { w.field(t, key, value, where) })
	case reflect.Map:
		w.mapping(n, where, func(key, value *yaml.Node) { w.walk(value, t.Elem(), join(where, key.Value)) })
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			w.add(n, "%sa list is wanted, not %s", label(where), kind(n))
			return
		}
		for i, item := range n.Content {
			if item.Kind == yaml.ScalarNode && item.Tag == "!!null" { // yaml drops it, and moves the others up
				w.add(item, "%s[%d]: nothing is there: write an item, or take its place out", where, i)
			}
			w.walk(item, t.Elem(), fmt.Sprintf("%s[%d]", where, i))
		}
	default:
		w.scalar(n, t, where)
	}
}

// form walks n as the form that its kind says.
func (w *walker) form(n *yaml.Node, forms map[yaml.Kind]reflect.Type, where string) {
	if t, ok := forms[n.Kind]; ok {
		w.walk(n, t, where)
		return
	}
	var wanted []string
	for _, k := range []yaml.Kind{yaml.ScalarNode, yaml.SequenceNode, yaml.MappingNode} {
		if t, ok := forms[k]; ok {
			wanted = append(wanted, formName(k, t))
		}
	}
	w.add(n, "%s%s is wanted, not %s", label(where), strings.Join(wanted, " or "), kind(n))
}

func (w *walker) mapping(n *yaml.Node, where string, visit func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		w.add(n, "%sa mapping is wanted, not %s", label(where), kind(n))
		return
	}
	seen := map[string]bool{}
	once := make([]*yaml.Node, 0, len(n.Content))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			w.add(key, "%q comes twice", join(where, key.Value))
			continue
		}
		seen[key.Value] = true
		once = append(once, key, n.Content[i+1])
		visit(key, n.Content[i+1])
	}
	n.Content = once // with a key twice, yaml would read nothing of the file
}

func (w *walker) field(t reflect.Type, key, value *yaml.Node, where string) {
	fields, rest := fieldsOf(t)
	if field, ok := fields[key.Value]; ok {
		w.walk(value, field, join(where, key.Value))
		return
	}
	if rest != nil {
		w.walk(value, rest, join(where, key.Value))
		return
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	text := fmt.Sprintf("unknown key %q", join(where, key.Value))
	if near := Nearest(key.Value, names); near != "" {
		w.add(key, "%s: did you mean %q?", text, near)
		return
	}
	w.add(key, "%s: the keys here are %s", text, strings.Join(names, ", "))
}

func (w *walker) scalar(n *yaml.Node, t reflect.Type, where string) {
	if n.Kind != yaml.ScalarNode {
		w.add(n, "%s%s is wanted, not %s", label(where), typeName(t), kind(n))
		return
	}
	if t.Kind() == reflect.String {
		if n.Tag != "!!str" && n.Tag != "!!timestamp" {
			w.add(n, "%sa string is wanted; write %q", label(where), n.Value)
		}
		return
	}
	if err := n.Decode(reflect.New(t).Interface()); err != nil {
		w.add(n, "%s%s is wanted, not %q", label(where), typeName(t), n.Value)
	}
}

// own asks a type that reads its own form.
func (w *walker) own(n *yaml.Node, t reflect.Type, where string) {
	into := reflect.New(t).Interface()
	var err error
	if text, ok := into.(encoding.TextUnmarshaler); ok {
		if n.Kind != yaml.ScalarNode {
			w.add(n, "%sone value is wanted, not %s", label(where), kind(n))
			return
		}
		err = text.UnmarshalText([]byte(n.Value))
	} else {
		err = n.Decode(into)
	}
	if err != nil {
		w.add(n, "%s%q: %s", label(where), n.Value, strings.TrimPrefix(err.Error(), "yaml: "))
	}
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[yaml.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fieldsOf returns the fields that a struct takes, by their yaml names, and of
// what type all others are: those of an inlined map; nil where there is none.
func fieldsOf(t reflect.Type) (fields map[string]reflect.Type, rest reflect.Type) {
	fields = map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if strings.Contains(options, "inline") {
			if f.Type.Kind() == reflect.Map {
				rest = f.Type.Elem()
				continue
			}
			inner, _ := fieldsOf(f.Type)
			maps.Copy(fields, inner)
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		fields[name] = f.Type
	}
	return fields, rest
}

func label(where string) string {
	if where == "" {
		return ""
	}
	return where + ": "
}

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

func formName(k yaml.Kind, t reflect.Type) string {
	switch k {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return typeName(t)
	}
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	default:
		return "a whole number"
	}
}
