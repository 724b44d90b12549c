package fingerprint

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Finding is one place where two environments are not the same, or not known
// to be.
type Finding struct {
	Dimension string     `json:"dimension"`
	Item      string     `json:"item,omitempty"`
	A         Side       `json:"a"`
	B         Side       `json:"b"`
	Compare   Comparator `json:"compare"`
	Why       string     `json:"why"`             // it is a finding
	Matters   string     `json:"matters"`         // why it matters
	Unknown   bool       `json:"unknown"`         // at least one side could not be read
	Entry     string     `json:"entry,omitempty"` // the difference that speaks of it
	Allowed   bool       `json:"allowed"`
}

// Side is what one environment has; an item may be absent.
type Side struct {
	Present bool `json:"present"`
	Value
}

// String writes a side for people.
func (s Side) String() string {
	if !s.Present {
		return "nothing"
	}
	return s.Value.String()
}

// Path is how an entry names the place.
func (f Finding) Path() string {
	if f.Item == "" {
		return f.Dimension
	}
	return f.Dimension + "." + f.Item
}

// Swapped is the finding with its sides in the other order.
func (f Finding) Swapped() Finding {
	f.A, f.B = f.B, f.A
	return f
}

// String writes the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("fingerprint/%s: %s, %s: %s", f.Path(), f.A, f.B, f.Why)
}

// Compare returns where b is not what a is, by the rules, in the order of the
// dimensions' names. a is the environment that comes first: floor and subset ask
// that b has no less. A dimension that only rules or only one side name was not
// collected, and so is unknown.
func Compare(a, b Fingerprint, rules Rules) []Finding {
	names := map[string]bool{}
	for name := range rules {
		names[name] = true
	}
	for _, f := range []Fingerprint{a, b} {
		for name := range f.Dimensions {
			names[name] = true
		}
	}
	var out []Finding
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rule, ok := rules[name]
		if !ok {
			rule = Rule{Compare: Exact, Why: "no rule says that it does not matter"}
		}
		if rule.Compare == Ignore {
			continue
		}
		out = append(out, dimension(name, rule, a.Dimensions[name], b.Dimensions[name])...)
	}
	return out
}

func dimension(name string, rule Rule, a, b Dimension) []Finding {
	one := func(item string, x, y Side) []Finding {
		why, unknown := differ(rule, x, y)
		if why == "" {
			return nil
		}
		return []Finding{{Dimension: name, Item: item, A: x, B: y, Compare: rule.Compare, Why: why, Matters: rule.Why, Unknown: unknown}}
	}
	whole := func(d Dimension) Side {
		if d.Items != nil && d.Unknown == "" {
			return Side{Present: true, Value: Value{Is: fmt.Sprintf("%d items", len(d.Items))}}
		}
		return Side{Present: true, Value: d.Value}
	}
	if !a.known() || !b.known() || (a.Items == nil) != (b.Items == nil) {
		return one("", whole(a), whole(b))
	}
	if a.Items == nil {
		return one("", whole(a), whole(b))
	}
	items := map[string]bool{}
	for _, d := range []Dimension{a, b} {
		for item := range d.Items {
			items[item] = true
		}
	}
	var out []Finding
	for _, item := range slices.Sorted(maps.Keys(items)) {
		x, inA := a.Items[item]
		y, inB := b.Items[item]
		out = append(out, one(item, Side{Present: inA, Value: x}, Side{Present: inB, Value: y})...)
	}
	return out
}

// differ says why two sides are not the same; empty where they are.
func differ(rule Rule, a, b Side) (why string, unknown bool) {
	switch {
	case a.Present && !a.Known() || b.Present && !b.Known():
		return "what is not known equals nothing", true
	case !a.Present && rule.Compare == Subset:
		return "", false // b may have more
	case a.Present != b.Present:
		return "only one has it", false
	}
	switch rule.Compare {
	case SemverMinor:
		return minors(a.Is, b.Is), false
	case Floor:
		return floors(rule.Floor, a.Is, b.Is), false
	case Subset:
		return subset(a.Is, b.Is), false
	case Exact, Ignore:
	}
	if !reflect.DeepEqual(a.Is, b.Is) {
		return "they are not equal", false
	}
	return "", false
}

// subset says what of a is not in b: of lists their elements, of mappings
// their keys with equal values.
func subset(a, b any) string {
	var lacking []string
	switch a := a.(type) {
	case []any:
		list, ok := b.([]any)
		if !ok {
			return "one is a list, the other is not"
		}
		for _, each := range a {
			if !slices.ContainsFunc(list, func(o any) bool { return reflect.DeepEqual(o, each) }) {
				lacking = append(lacking, fmt.Sprint(each))
			}
		}
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok {
			return "one is a mapping, the other is not"
		}
		for _, k := range slices.Sorted(maps.Keys(a)) {
			if v, ok := other[k]; !ok || !reflect.DeepEqual(v, a[k]) {
				lacking = append(lacking, k)
			}
		}
	default:
		if !reflect.DeepEqual(a, b) {
			return "they are not equal"
		}
	}
	if len(lacking) == 0 {
		return ""
	}
	return "the later lacks " + strings.Join(lacking, ", ")
}
