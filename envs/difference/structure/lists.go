package structure

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// keyed says how a list's elements are told apart.
type keyed struct {
	keys    []string
	ordered bool // order has a meaning
	set     bool // of scalars
}

// known returns how the lists of Kubernetes' own types are keyed, by the field
// they are in; the first whose keys all elements have, each once, is taken.
// Source: x-kubernetes-list-map-keys and patch merge keys in Kubernetes'
// OpenAPI. The order of initContainers and of env has a meaning: they run, and
// refer to each other, one after the other.
func known(field string) []keyed {
	by := func(keys ...string) keyed { return keyed{keys: keys} }
	switch field {
	case "initContainers", "env":
		return []keyed{{keys: []string{"name"}, ordered: true}}
	case "containers", "ephemeralContainers", "volumes", "imagePullSecrets", "secrets", "webhooks", "resourceClaims",
		"validations", "matchConditions":
		return []keyed{by("name")}
	case "ports":
		return []keyed{by("containerPort", "protocol"), by("port", "protocol")}
	case "volumeMounts":
		return []keyed{by("mountPath")}
	case "volumeDevices":
		return []keyed{by("devicePath")}
	case "hostAliases":
		return []keyed{by("ip")}
	case "topologySpreadConstraints":
		return []keyed{by("topologyKey", "whenUnsatisfiable")}
	case "conditions":
		return []keyed{by("type")}
	case "ownerReferences":
		return []keyed{by("uid")}
	case "finalizers":
		return []keyed{{set: true}}
	}
	return nil
}

// keyOf returns how two lists in one field are keyed; false for those that are
// compared by place. Lists of a custom resource, and lists that nothing is
// known of, have a key where all elements have a name, and keep their order:
// it may have a meaning.
func (c *comparer) keyOf(field string, a, b []any) (keyed, bool) {
	for _, k := range known(field) {
		if k.names(a) != nil && k.names(b) != nil {
			k.ordered = k.ordered || !c.BuiltIn
			return k, true
		}
	}
	k := keyed{keys: []string{"name"}, ordered: true}
	if len(a)+len(b) > 0 && k.names(a) != nil && k.names(b) != nil {
		return k, true
	}
	return keyed{}, false
}

// names returns the step that leads to each element; nil where two have the
// same, or one has none.
func (k keyed) names(list []any) []fieldpath.Step {
	out := make([]fieldpath.Step, 0, len(list))
	seen := map[string]bool{}
	for _, item := range list {
		s, ok := k.step(item)
		if !ok || seen[s.String()] {
			return nil
		}
		seen[s.String()] = true
		out = append(out, s)
	}
	if !k.unmistakable(out) {
		return nil
	}
	return out
}

// unmistakable reports whether no step leads to two elements: one without a
// protocol would lead to all on its port.
func (k keyed) unmistakable(steps []fieldpath.Step) bool {
	short := func(s fieldpath.Step) bool { return len(s.Match) < len(k.keys) }
	if k.set || !slices.ContainsFunc(steps, short) {
		return true
	}
	seen := map[string]bool{}
	for _, s := range steps {
		if seen[s.Match[0].Value] {
			return false
		}
		seen[s.Match[0].Value] = true
	}
	return true
}

func (k keyed) step(item any) (fieldpath.Step, bool) {
	if k.set {
		text, ok := item.(string)
		return fieldpath.Step{Kind: fieldpath.Value, Key: text}, ok
	}
	fields, ok := item.(map[string]any)
	if !ok {
		return fieldpath.Step{}, false
	}
	s := fieldpath.Step{Kind: fieldpath.Match}
	for _, key := range k.keys {
		text, ok := fieldpath.Scalar(fields[key])
		switch {
		case ok && text != "":
			s.Match = append(s.Match, fieldpath.Pair{Key: key, Value: text})
		case key == "protocol" && fields[key] == nil: // it is TCP then
		default:
			return s, false
		}
	}
	return s, true
}

func (c *comparer) lists(path []fieldpath.Step, a, b side, left, right []any, field string) {
	if a.has && b.has && len(left)+len(right) == 0 {
		c.result.Equal++
		return
	}
	if k, ok := c.keyOf(field, left, right); ok {
		c.byKey(path, a, b, left, right, k)
		return
	}
	c.byPlace(path, a, b, left, right)
}

// pair is an element with the side it is in.
type pair struct {
	step fieldpath.Step
	a, b side
}

func (c *comparer) byKey(path []fieldpath.Step, a, b side, left, right []any, k keyed) {
	var pairs []pair
	index := map[string]int{}
	for i, s := range k.names(left) {
		index[s.String()] = len(pairs)
		pairs = append(pairs, pair{step: s, a: a.child(i, left[i])})
	}
	for i, s := range k.names(right) {
		at, ok := index[s.String()]
		if !ok {
			at = len(pairs)
			pairs = append(pairs, pair{step: s})
		}
		pairs[at].b = b.child(i, right[i])
	}
	if k.ordered && !inOrder(pairs) {
		c.add(path, a, b, -1, true)
	}
	for _, p := range pairs {
		c.compare(append(slices.Clip(path), p.step), p.a, p.b, "")
	}
}

// inOrder reports whether the elements that both lists have come in the same
// order.
func inOrder(pairs []pair) bool {
	last := -1
	for _, p := range pairs {
		if !p.a.has || !p.b.has {
			continue
		}
		at := p.b.index()
		if at < last {
			return false
		}
		last = at
	}
	return true
}

func (s side) index() int {
	i, _ := s.at[len(s.at)-1].(int)
	return i
}

func (p pair) place() pair {
	s := p.a
	if !s.has {
		s = p.b
	}
	p.step = fieldpath.Step{Kind: fieldpath.Index, Index: s.index()}
	return p
}

// byPlace pairs the elements that have no mark one by one, so that an element
// that only one side has, and is marked, moves none of the others. Those that
// are marked are paired by the names of their marks.
func (c *comparer) byPlace(path []fieldpath.Step, a, b side, left, right []any) {
	plainA, markedA := c.split(c.A, a, left)
	plainB, markedB := c.split(c.B, b, right)
	var pairs []pair
	for i := range max(len(plainA), len(plainB)) {
		var p pair
		if i < len(plainA) {
			p.a = plainA[i]
		}
		if i < len(plainB) {
			p.b = plainB[i]
		}
		pairs = append(pairs, p)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(names(markedA), names(markedB))))) {
		for i := range max(len(markedA[name]), len(markedB[name])) {
			var p pair
			if i < len(markedA[name]) {
				p.a = markedA[name][i]
			}
			if i < len(markedB[name]) {
				p.b = markedB[name][i]
			}
			pairs = append(pairs, p)
		}
	}
	byA := slices.Clone(pairs)
	slices.SortStableFunc(byA, func(x, y pair) int { return cmp.Compare(order(x), order(y)) })
	if !inOrder(byA) {
		c.add(path, a, b, -1, true)
	}
	for _, p := range pairs {
		p = p.place()
		c.compare(append(slices.Clip(path), p.step), p.a, p.b, "")
	}
}

// order is where an element is on its left side.
func order(p pair) int {
	if p.a.has {
		return p.a.index()
	}
	return -1
}

func names(m map[string][]side) []string { return slices.Collect(maps.Keys(m)) }

// split returns the elements without a mark, and those with one by its name.
func (c *comparer) split(marks Marks, of side, list []any) (plain []side, marked map[string][]side) {
	marked = map[string][]side{}
	for i, item := range list {
		s := of.child(i, item)
		if !c.plain {
			if m, ok := marks[s.pointer()]; ok {
				marked[m.Name] = append(marked[m.Name], s)
				continue
			}
		}
		plain = append(plain, s)
	}
	return plain, marked
}
