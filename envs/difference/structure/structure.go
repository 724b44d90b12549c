// Package structure compares two values as Kubernetes reads them: lists whose
// elements have a key are paired by it, with order told apart where it has a
// meaning, other lists by place. Every change has an exact path.
package structure

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// Side is one side of a change.
type Side struct {
	Present bool
	Value   any
	At      []any // keys and indexes in this side's value; nil where it is not present
}

// Change is one place where two values differ.
type Change struct {
	Path []fieldpath.Step
	A, B Side
	// Order says that the elements of a list are the same, and their order not.
	Order bool
	// Mark is the ID of the mark that the place has; -1 where it has none.
	Mark int
}

// Mark is a place that is to be reported as one, whatever is below it.
type Mark struct {
	ID   int
	Name string // pairs elements of lists that have no key
	// Presence says that the mark is about the place being there: where both
	// sides have it, what is below it is looked at.
	Presence bool
}

// Marks are marks by the place's pointer.
type Marks map[string]Mark

// Options say what is compared, and how.
type Options struct {
	// BuiltIn says that the values are of Kubernetes' own types, in which the
	// order of lists with keys means nothing but where it is known to.
	BuiltIn bool
	A, B    Marks
}

// Result is what a comparison found.
type Result struct {
	Changes []Change
	Equal   int // scalars, and empty maps and lists, that are the same on both sides
}

// Compare returns every place where b is not a, in a fixed order.
func Compare(a, b any, options Options) Result {
	c := &comparer{Options: options, above: [2]map[string]bool{above(options.A), above(options.B)}}
	c.plain = len(options.A)+len(options.B) == 0
	c.compare(nil, side{has: true, value: a}, side{has: true, value: b}, "")
	return c.result
}

// above returns the pointers of all places that a mark is below.
func above(marks Marks) map[string]bool {
	out := map[string]bool{}
	for p := range marks {
		for i := strings.LastIndexByte(p, '/'); i >= 0; i = strings.LastIndexByte(p[:i], '/') {
			out[p[:i]] = true
		}
	}
	return out
}

type side struct {
	has   bool
	value any
	at    []any
}

func (s side) pointer() string { return fieldpath.Pointer(s.at) }

func (s side) public() Side {
	if !s.has {
		return Side{}
	}
	return Side{Present: true, Value: s.value, At: s.at}
}

func (s side) child(part, value any) side {
	return side{has: true, value: value, at: append(slices.Clip(s.at), part)}
}

type comparer struct {
	Options
	above  [2]map[string]bool
	plain  bool // no mark is below the place at hand
	result Result
}

func (c *comparer) add(path []fieldpath.Step, a, b side, mark int, order bool) {
	c.result.Changes = append(c.result.Changes, Change{Path: slices.Clip(path), A: a.public(), B: b.public(), Mark: mark, Order: order})
}

// markOf returns the mark of a place, on whichever side it has one.
func (c *comparer) markOf(a, b side) (Mark, bool) {
	if a.has {
		if m, ok := c.A[a.pointer()]; ok {
			return m, true
		}
	}
	if b.has {
		if m, ok := c.B[b.pointer()]; ok {
			return m, true
		}
	}
	return Mark{}, false
}

// holdsMarks reports whether a mark is below the place.
func (c *comparer) holdsMarks(a, b side) bool {
	return a.has && c.above[0][a.pointer()] || b.has && c.above[1][b.pointer()]
}

// compare compares two places; key is the field that they are in.
func (c *comparer) compare(path []fieldpath.Step, a, b side, key string) {
	if !c.plain {
		if m, ok := c.markOf(a, b); ok && (!m.Presence || a.has != b.has) {
			if a.has != b.has || !Equal(a.value, b.value) {
				c.add(path, a, b, m.ID, false)
			} else {
				c.result.Equal += leaves(a.value)
			}
			return
		}
		if !c.holdsMarks(a, b) {
			c.plain = true
			defer func() { c.plain = false }()
		}
	}
	if c.plain && a.has && b.has && Equal(a.value, b.value) {
		c.result.Equal += leaves(a.value)
		return
	}
	if a.has != b.has {
		c.oneSided(path, a, b, key)
		return
	}
	switch left := a.value.(type) {
	case map[string]any:
		if right, ok := b.value.(map[string]any); ok {
			c.maps(path, a, b, left, right)
			return
		}
	case []any:
		if right, ok := b.value.([]any); ok {
			c.lists(path, a, b, left, right, key)
			return
		}
	}
	if Equal(a.value, b.value) {
		c.result.Equal++
		return
	}
	c.add(path, a, b, -1, false)
}

// oneSided looks at a place that only one side has. Where marks are below it,
// all that is not marked is reported by itself.
func (c *comparer) oneSided(path []fieldpath.Step, a, b side, key string) {
	here := a
	if b.has {
		here = b
	}
	if c.plain {
		c.add(path, a, b, -1, false)
		return
	}
	switch value := here.value.(type) {
	case map[string]any:
		if a.has {
			c.maps(path, a, b, value, nil)
		} else {
			c.maps(path, a, b, nil, value)
		}
	case []any:
		if a.has {
			c.lists(path, a, b, value, nil, key)
		} else {
			c.lists(path, a, b, nil, value, key)
		}
	default:
		c.add(path, a, b, -1, false)
	}
}

func (c *comparer) maps(path []fieldpath.Step, a, b side, left, right map[string]any) {
	if a.has && b.has && len(left)+len(right) == 0 {
		c.result.Equal++
	}
	keys := slices.Collect(maps.Keys(left))
	for k := range right {
		if _, ok := left[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		var x, y side
		if v, ok := left[k]; ok {
			x = a.child(k, v)
		}
		if v, ok := right[k]; ok {
			y = b.child(k, v)
		}
		c.compare(append(slices.Clip(path), fieldpath.Step{Kind: fieldpath.Key, Key: k}), x, y, k)
	}
}

// Equal reports whether two values are the same; a number is the same in
// whatever Go type it is.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, Equal)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, Equal)
	case int64:
		if y, ok := b.(float64); ok {
			return float64(x) == y && int64(y) == x
		}
	case float64:
		if y, ok := b.(int64); ok {
			return x == float64(y) && int64(x) == y
		}
	}
	return reflect.DeepEqual(a, b)
}

// leaves counts the scalars, and the empty maps and lists, in a value.
func leaves(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, each := range v {
			n += leaves(each)
		}
	case []any:
		for _, each := range v {
			n += leaves(each)
		}
	}
	return max(n, 1)
}
