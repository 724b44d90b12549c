package noise

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ours is what the names of kfdev's own field managers begin with. (The package
// that applies builds on this one, and so cannot give the name.)
const ours = "kfdev"

// entry is what one manager owns.
type entry struct {
	manager string
	applied bool
	fields  map[string]any
}

// entries reads managedFields. What cannot be read owns nothing: a field is
// then taken for unowned, which is no excuse in any rule that asks for an owner.
func entries(managed []metav1.ManagedFieldsEntry) []entry {
	var out []entry
	for _, m := range managed {
		if m.FieldsV1 == nil {
			continue
		}
		e := entry{manager: m.Manager, applied: m.Operation == metav1.ManagedFieldsOperationApply}
		if json.Unmarshal(m.FieldsV1.GetRawBytes(), &e.fields) == nil {
			out = append(out, e)
		}
	}
	return out
}

// mine reports whether the entry is of what kfdev applied.
func (e entry) mine() bool {
	return e.applied && (e.manager == ours || strings.HasPrefix(e.manager, ours+"-"))
}

// place is a step of the way to a value: a key of a map, or an element of a list.
type place struct {
	key  string
	item any
	n    int
	list bool
}

// owns reports whether the entry's manager owns what is at the place, or holds
// a field of it.
func (e entry) owns(at []place) bool {
	node := e.fields
	for _, p := range at {
		if len(node) == 0 {
			return true // the whole of what is above is one value to the server
		}
		next, ok := down(node, p)
		if !ok {
			return false
		}
		node = next
	}
	return true
}

// says reports whether the entry's manager owns what is at the place by name,
// and not only as a part of what the server reads as one value: of such a value
// nobody can tell which parts were sent and which were filled in.
func (e entry) says(at []place) bool {
	node := e.fields
	for _, p := range at {
		next, ok := down(node, p)
		if !ok {
			return false
		}
		node = next
	}
	return true
}

// down follows one step in a tree of fieldsV1.
// Source: k8s.io/apimachinery/pkg/apis/meta/v1 FieldsV1, and
// sigs.k8s.io/structured-merge-diff/fieldpath/serialize-pe.go.
func down(node map[string]any, p place) (map[string]any, bool) {
	if !p.list {
		child, ok := node["f:"+p.key].(map[string]any)
		return child, ok
	}
	if child, ok := node[fmt.Sprintf("i:%d", p.n)].(map[string]any); ok {
		return child, true
	}
	if text, err := json.Marshal(p.item); err == nil {
		if child, ok := node["v:"+string(text)].(map[string]any); ok {
			return child, true
		}
	}
	fields, ok := p.item.(map[string]any)
	if !ok {
		return nil, false
	}
	for name, child := range node {
		keys, isKey := strings.CutPrefix(name, "k:")
		if isKey && matches(keys, fields) {
			child, ok := child.(map[string]any)
			return child, ok
		}
	}
	return nil, false
}

// matches reports whether an element has the keys of a "k:" path element.
func matches(keys string, fields map[string]any) bool {
	var want map[string]any
	if json.Unmarshal([]byte(keys), &want) != nil {
		return false
	}
	for k, v := range want {
		a, _ := scalar(v)
		b, ok := scalar(fields[k])
		if !ok || a != b {
			return false
		}
	}
	return true
}
