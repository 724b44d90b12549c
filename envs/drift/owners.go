package drift

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// node is a place of an object with who owns it: all managers' fieldsV1 as one
// tree. Its form tells how the server reads a list: by keys, as a set, or whole.
// Source: sigs.k8s.io/structured-merge-diff/fieldpath/serialize-pe.go.
type node struct {
	holders  []int // entries that own the place or something below it
	leaf     []int // entries that own the place whole
	children map[string]*node
}

// owners is who owns what of one object.
type owners struct {
	entries []metav1.ManagedFieldsEntry
	root    *node
}

func ownersOf(managed []metav1.ManagedFieldsEntry) owners {
	o := owners{root: &node{}}
	for _, e := range managed {
		if e.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		o.entries = append(o.entries, e)
		o.root.take(fields, len(o.entries)-1)
	}
	return o
}

func (n *node) take(fields map[string]any, entry int) {
	n.holders = append(n.holders, entry)
	if len(fields) == 0 {
		n.leaf = append(n.leaf, entry)
	}
	for name, below := range fields {
		if name == "." {
			continue
		}
		if n.children == nil {
			n.children = map[string]*node{}
		}
		if n.children[name] == nil {
			n.children[name] = &node{}
		}
		child, _ := below.(map[string]any)
		n.children[name].take(child, entry)
	}
}

func (n *node) field(name string) *node {
	if n == nil {
		return nil
	}
	return n.children["f:"+name]
}

// whole reports whether the server reads the place as one value.
func (n *node) whole() bool { return n != nil && len(n.children) == 0 && len(n.leaf) > 0 }

// keys returns the names of the keys that the list's elements have; nil where
// the list is not read by keys.
func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	for name := range n.children {
		text, is := strings.CutPrefix(name, "k:")
		var fields map[string]any
		if !is || json.Unmarshal([]byte(text), &fields) != nil {
			continue
		}
		var keys []string
		for k := range fields {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return keys
	}
	return nil
}

// isSet reports whether the list is a set of scalars.
func (n *node) isSet() bool {
	if n == nil {
		return false
	}
	for name := range n.children {
		if strings.HasPrefix(name, "v:") {
			return true
		}
	}
	return false
}

// element returns the node of a list's element.
func (n *node) element(keys []string, item any) *node {
	if n == nil {
		return nil
	}
	fields, isMap := item.(map[string]any)
	if !isMap {
		data, _ := json.Marshal(item) // a scalar
		return n.children["v:"+string(data)]
	}
	want := map[string]any{}
	for _, k := range keys {
		want[k] = keyValue(fields, k)
	}
	data, _ := json.Marshal(want) // scalars, keys in order, as the server writes them
	return n.children["k:"+string(data)]
}

// keyValue is an element's key, or the default that the server takes for it.
func keyValue(fields map[string]any, k string) any {
	if v, ok := fields[k]; ok {
		return v
	}
	if k == "protocol" {
		return "TCP"
	}
	return nil
}

// stepOf is how paths name an element that is told apart by keys.
func stepOf(keys []string, item any) fieldpath.Step {
	fields, _ := item.(map[string]any)
	s := fieldpath.Step{Kind: fieldpath.Match}
	for _, k := range keys {
		text, _ := fieldpath.Scalar(keyValue(fields, k))
		s.Match = append(s.Match, fieldpath.Pair{Key: k, Value: text})
	}
	return s
}

func identity(keys []string, item any) string {
	fields, _ := item.(map[string]any)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(strconv.Quote(fmt.Sprint(keyValue(fields, k))))
	}
	return b.String()
}

// who writes entries for people, newest first.
func (o owners) who(entries []int) []Who {
	var out []Who
	for _, i := range entries {
		e := o.entries[i]
		w := Who{Manager: e.Manager, Operation: string(e.Operation)}
		if e.Time != nil {
			t := e.Time.UTC()
			w.Time = &t
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Who) int { return when(b).Compare(when(a)) })
	return slices.Compact(out)
}

func when(w Who) (t time.Time) {
	if w.Time != nil {
		t = *w.Time
	}
	return t
}
