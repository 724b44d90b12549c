package strictyaml

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

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
