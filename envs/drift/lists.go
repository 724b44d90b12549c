package drift

import (
	"slices"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/structure"
)

// lists compares two lists as the server reads them: by keys, as sets, or whole.
func (c *comparison) lists(at spot, want, live []any, n *node) {
	if keys := n.keys(); keys != nil {
		c.keyed(at, want, live, n, keys)
		return
	}
	if n.isSet() {
		c.sets(at, want, live, n)
		return
	}
	if structure.Equal(want, live) {
		c.owned(at, value{true, want}, value{true, live}, n)
		return
	}
	if len(want) != len(live) {
		c.report(Changed, at, value{true, want}, value{true, live}, n)
		return
	}
	before := len(c.findings)
	c.places(at, want, live, n)
	if len(c.findings) == before { // all that differs is noise: who owns the list still counts
		c.owned(at, value{true, want}, value{true, live}, n)
	}
}

// places compares lists of one length element by element.
func (c *comparison) places(at spot, want, live []any, n *node) {
	for i := range want {
		c.atomic(at.down(fieldpath.Step{Kind: fieldpath.Index, Index: i}, i), want[i], live[i], n)
	}
}

// atomic compares what the server reads as one value, to say where in it the
// difference is. All of it is owned as one.
func (c *comparison) atomic(at spot, want, live any, n *node) {
	if structure.Equal(want, live) || c.excused[fieldpath.Pointer(at.at)] {
		return
	}
	if a, isList := want.([]any); isList {
		if b, both := live.([]any); both && len(a) == len(b) {
			c.places(at, a, b, n)
			return
		}
	}
	w, isMap := want.(map[string]any)
	l, both := live.(map[string]any)
	if !isMap || !both {
		c.report(Changed, at, value{true, want}, value{true, live}, n)
		return
	}
	for _, key := range unionOf(w, l) {
		next := at.down(fieldpath.Step{Kind: fieldpath.Key, Key: key}, key)
		x, y := side(w, key), side(l, key)
		switch pointer := fieldpath.Pointer(next.at); {
		case c.excused[pointer] || c.noise[pointer] && !x.has:
		case x.has && y.has:
			c.atomic(next, x.v, y.v, n)
		case x.has:
			c.report(Lost, next, x, y, n)
		case c.partly(pointer, y.v):
			c.atomic(next, map[string]any{}, y.v, n) // what the server filled in of it stays
		default:
			next.top = next.steps
			c.report(ForeignField, next, x, y, n)
		}
	}
}

// partly reports whether some of a map is noise.
func (c *comparison) partly(pointer string, live any) bool {
	fields, _ := live.(map[string]any)
	for key := range fields {
		if c.noise[pointer+fieldpath.Pointer([]any{key})] {
			return true
		}
	}
	return false
}

func (c *comparison) keyed(at spot, want, live []any, n *node, keys []string) {
	index := map[string]int{}
	for i, item := range live {
		index[identity(keys, item)] = i
	}
	seen := map[int]bool{}
	last, ordered := -1, true
	for _, item := range want {
		i, ok := index[identity(keys, item)]
		if !ok {
			c.report(Lost, at.down(stepOf(keys, item), nil), value{true, item}, value{}, nil)
			continue
		}
		seen[i] = true
		ordered = ordered && i > last
		last = i
		c.walk(at.down(stepOf(keys, item), i), value{true, item}, value{true, live[i]}, n.element(keys, live[i]))
	}
	if field := at.steps[len(at.steps)-1].Key; !ordered && (field == "env" || field == "initContainers") {
		// They run, and refer to each other, one after the other.
		c.report(Changed, at, value{true, names(keys, want)}, value{true, names(keys, live)}, n)
		c.findings[len(c.findings)-1].Why = "the order is another, and it has a meaning here"
	}
	for i, item := range live {
		if seen[i] {
			continue
		}
		next := at.down(stepOf(keys, item), i)
		if c.noise[fieldpath.Pointer(next.at)] {
			continue
		}
		if next.top == nil {
			next.top = next.steps
		}
		c.report(ForeignField, next, value{}, value{true, item}, n.element(keys, item))
	}
}

func names(keys []string, list []any) []any {
	out := make([]any, len(list))
	for i, item := range list {
		if fields, ok := item.(map[string]any); ok && len(keys) > 0 {
			out[i] = fields[keys[0]]
		}
	}
	return out
}

func (c *comparison) sets(at spot, want, live []any, n *node) {
	has := func(list []any, item any) int {
		return slices.IndexFunc(list, func(other any) bool { return structure.Equal(item, other) })
	}
	step := func(item any) fieldpath.Step {
		text, _ := fieldpath.Scalar(item)
		return fieldpath.Step{Kind: fieldpath.Value, Key: text}
	}
	for _, item := range want {
		i := has(live, item)
		if i < 0 {
			c.report(Lost, at.down(step(item), nil), value{true, item}, value{}, nil)
			continue
		}
		c.owned(at.down(step(item), i), value{true, item}, value{true, item}, n.element(nil, item))
	}
	for i, item := range live {
		next := at.down(step(item), i)
		if has(want, item) >= 0 || c.noise[fieldpath.Pointer(next.at)] {
			continue
		}
		if next.top == nil {
			next.top = next.steps
		}
		c.report(ForeignField, next, value{}, value{true, item}, n.element(nil, item))
	}
}
