package apply

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// FieldChange is a field that would change. A nil side is one where the field is not.
type FieldChange struct {
	// Path is written as in the entries of differences:
	// spec/template/spec/containers[name=app]/image.
	Path string `json:"path"`
	From any    `json:"from,omitempty"`
	To   any    `json:"to,omitempty"`
}

// trail is the way to a value, each part as it is written.
type trail []string

func (t trail) String() string { return strings.Join(t, "") }

func (t trail) to(part string) trail { return append(slices.Clip(t), part) }

func (t trail) key(key string) trail {
	switch {
	case !plainKey(key):
		return t.to("[" + strconv.Quote(key) + "]")
	case len(t) == 0:
		return t.to(key)
	}
	return t.to("/" + key)
}

func plainKey(key string) bool {
	return key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// shape is what the server says of a list: which of its elements' fields tell
// them apart, or that it is a set of scalars.
type shape struct {
	keys []string
	set  bool
}

// listsOf reads the shapes of an object's lists out of who owns what: the server
// writes elements there by their keys. The places are written without keys.
// Source: sigs.k8s.io/structured-merge-diff, fieldpath/serialize-pe.go.
func listsOf(objects ...*unstructured.Unstructured) map[string]shape {
	out := map[string]shape{}
	for _, o := range objects {
		for _, entry := range o.GetManagedFields() {
			if entry.FieldsV1 == nil {
				continue
			}
			var fields map[string]any
			if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) == nil {
				gather(fields, "", out)
			}
		}
	}
	return out
}

func gather(fields map[string]any, at string, into map[string]shape) {
	for name, child := range fields {
		below, _ := child.(map[string]any)
		switch {
		case strings.HasPrefix(name, "f:"):
			gather(below, at+"/"+name[2:], into)
		case strings.HasPrefix(name, "k:"):
			var keys map[string]any
			if json.Unmarshal([]byte(name[2:]), &keys) == nil {
				into[at] = shape{keys: slices.Sorted(maps.Keys(keys))}
			}
			gather(below, at+"[]", into)
		case strings.HasPrefix(name, "v:"):
			into[at] = shape{set: true}
		case strings.HasPrefix(name, "i:"):
			gather(below, at+"[]", into)
		}
	}
}

// differ compares two trees and gathers what differs.
type differ struct {
	lists      map[string]shape
	wantedOnly bool
	show       func(trail, any) any // nil: as it is
	place      string               // of the trail, without keys
	out        []FieldChange
}

func (d *differ) put(at trail, from, to any) {
	if d.show != nil {
		from, to = d.show(at, from), d.show(at, to)
	}
	d.out = append(d.out, FieldChange{Path: at.String(), From: from, To: to})
}

// in calls f with the place of a child.
func (d *differ) in(part string, f func()) {
	place := d.place
	d.place += part
	f()
	d.place = place
}

func (d *differ) walk(at trail, from, to any) {
	switch from := from.(type) {
	case map[string]any:
		if to, ok := to.(map[string]any); ok {
			d.maps(at, from, to)
			return
		}
	case []any:
		if to, ok := to.([]any); ok {
			d.slices(at, from, to)
			return
		}
	}
	if !same(from, to) {
		d.put(at, from, to)
	}
}

// same compares leaves; numbers as numbers, for objects come from YAML and JSON.
func same(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func (d *differ) maps(at trail, from, to map[string]any) {
	all := maps.Clone(to)
	maps.Copy(all, from)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a, had := from[key]
		b, has := to[key]
		if !has && d.wantedOnly {
			continue
		}
		d.in("/"+key, func() {
			switch {
			case had && has:
				d.walk(at.key(key), a, b)
			default:
				d.put(at.key(key), a, b)
			}
		})
	}
}

func (d *differ) slices(at trail, from, to []any) {
	kind := d.lists[d.place]
	a, inA := named(from, kind)
	b, inB := named(to, kind)
	d.in("[]", func() {
		if inA == nil || inB == nil {
			d.byIndex(at, from, to)
			return
		}
		for n, name := range a {
			other, there := inB[name]
			switch {
			case there:
				d.walk(at.to(name), from[n], to[other])
			case !d.wantedOnly:
				d.put(at.to(name), from[n], nil)
			}
		}
		for n, name := range b {
			if _, there := inA[name]; !there {
				d.put(at.to(name), nil, to[n])
			}
		}
		if !kind.set && len(a) == len(b) && len(inA) == len(inB) && !slices.Equal(a, b) && slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))) {
			d.put(at, strings.Join(a, ""), strings.Join(b, "")) // only their order
		}
	})
}

func (d *differ) byIndex(at trail, from, to []any) {
	for n := range max(len(from), len(to)) {
		here := at.to("[" + strconv.Itoa(n) + "]")
		switch {
		case n >= len(from):
			d.put(here, nil, to[n])
		case n >= len(to):
			d.put(here, from[n], nil)
		default:
			d.walk(here, from[n], to[n])
		}
	}
}

// named gives each element the name that its shape gives it, and where it is;
// nil where the shape does not tell all of them apart.
func named(list []any, kind shape) ([]string, map[string]int) {
	if !kind.set && len(kind.keys) == 0 {
		return nil, nil
	}
	names, index := make([]string, len(list)), make(map[string]int, len(list))
	for n, element := range list {
		name, ok := elementName(element, kind)
		if _, twice := index[name]; !ok || twice {
			return nil, nil
		}
		names[n], index[name] = name, n
	}
	return names, index
}

func elementName(element any, kind shape) (string, bool) {
	fields, isMap := element.(map[string]any)
	if kind.set {
		return "[=" + scalar(element) + "]", !isMap
	}
	var parts []string
	for _, key := range kind.keys {
		value, there := fields[key]
		if !there && key == "protocol" {
			value, there = "TCP", true // the one key of Kubernetes with a default, which is not always written
		}
		if !there {
			continue
		}
		parts = append(parts, key+"="+scalar(value))
	}
	return "[" + strings.Join(parts, ",") + "]", isMap && len(parts) > 0
}

func scalar(v any) string {
	text := fmt.Sprint(v)
	if text == "" || strings.ContainsAny(text, "[]=,\"' ") {
		return strconv.Quote(text)
	}
	return text
}
