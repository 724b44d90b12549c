package drift

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/structure"
	"github.com/kfdev/kfdev/stack/noise"
)

// comparison holds one live object against the release.
type comparison struct {
	want     *want
	content  *unstructured.Unstructured // as it is applied
	live     *unstructured.Unstructured
	seen     seen // live, as it was read
	owners   owners
	mine     map[int]bool // entries of kfdev's own applies
	noise    map[string]bool
	excused  map[string]bool // noise also where the release says something
	secret   bool
	now      time.Time
	findings []Finding
}

func newComparison(w *want, content, live *unstructured.Unstructured, found []noise.Noise) *comparison {
	c := &comparison{want: w, content: content, live: live, owners: ownersOf(live.GetManagedFields()),
		mine: map[int]bool{}, noise: map[string]bool{}, excused: map[string]bool{}, now: time.Now()}
	for i, e := range c.owners.entries {
		c.mine[i] = e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" && slices.ContainsFunc(w.shares, func(s share) bool { return s.manager == e.Manager })
	}
	for _, n := range found {
		p := fieldpath.Pointer(n.At)
		c.noise[p] = true
		c.excused[p] = c.excused[p] || n.Applied
	}
	for _, o := range []*unstructured.Unstructured{c.content, c.live} {
		// Names are who it is, and nobody's field.
		unstructured.RemoveNestedField(o.Object, "metadata", "name")
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
	}
	c.secret = w.object.Kind == "Secret" && w.object.APIVersion == "v1"
	return c
}

func (c *comparison) run() {
	for _, key := range unionOf(c.content.Object, c.live.Object) {
		if key == "apiVersion" || key == "kind" {
			continue
		}
		at := spot{steps: []fieldpath.Step{{Kind: fieldpath.Key, Key: key}}, at: []any{key}}
		c.walk(at, side(c.content.Object, key), side(c.live.Object, key), c.owners.root.field(key))
	}
}

// spot is a place of the object.
type spot struct {
	steps []fieldpath.Step
	at    []any            // in the live object; nil where that has nothing there
	top   []fieldpath.Step // the highest place above that is foreign as a whole
}

func (s spot) down(step fieldpath.Step, part any) spot {
	out := spot{steps: append(slices.Clip(s.steps), step), top: s.top}
	if part != nil {
		out.at = append(slices.Clip(s.at), part)
	}
	return out
}

// value is one side of a comparison.
type value struct {
	has bool
	v   any
}

func side(m map[string]any, key string) value {
	v, ok := m[key]
	return value{ok && v != nil, v} // null says nothing
}

// walk compares one place.
func (c *comparison) walk(at spot, want, live value, n *node) {
	if pointer := fieldpath.Pointer(at.at); live.has && (c.noise[pointer] && !want.has || c.excused[pointer]) {
		return
	}
	switch {
	case !live.has && !want.has:
		return
	case !live.has:
		c.report(Lost, at, want, live, n)
		return
	case !want.has:
		c.foreign(at, live, n)
		return
	}
	switch w := want.v.(type) {
	case map[string]any:
		if l, ok := live.v.(map[string]any); ok && n.whole() {
			before := len(c.findings)
			c.atomic(at, w, l, n)
			if len(c.findings) == before {
				c.owned(at, want, live, n)
			}
			return
		} else if ok {
			for _, key := range unionOf(w, l) {
				c.walk(at.down(fieldpath.Step{Kind: fieldpath.Key, Key: key}, key), side(w, key), side(l, key), n.field(key))
			}
			return
		}
	case []any:
		if l, ok := live.v.([]any); ok {
			c.lists(at, w, l, n)
			return
		}
	}
	c.scalars(at, want, live, n)
}

func (c *comparison) scalars(at spot, want, live value, n *node) {
	if !structure.Equal(want.v, live.v) {
		c.report(Changed, at, want, live, n)
		return
	}
	c.owned(at, want, live, n)
}

// owned reports a value that is right and not kfdev's any more.
func (c *comparison) owned(at spot, want, live value, n *node) {
	if n != nil && slices.ContainsFunc(n.holders, func(e int) bool { return c.mine[e] }) {
		return
	}
	c.report(Ownership, at, want, live, n)
}

// foreign reports what the release has nothing of: each field by itself, so
// that the path is exact, but an element of a list as one.
func (c *comparison) foreign(at spot, live value, n *node) {
	if !live.has {
		return
	}
	if at.top == nil {
		at.top = at.steps
	}
	if c.emergency(at) {
		c.letIn(at, live, n)
		return
	}
	fields, isMap := live.v.(map[string]any)
	if isMap && (len(fields) > 0 || n == nil) {
		for _, key := range unionOf(fields, nil) {
			next := at.down(fieldpath.Step{Kind: fieldpath.Key, Key: key}, key)
			if c.noise[fieldpath.Pointer(next.at)] {
				next.top = nil
				continue
			}
			c.foreign(next, side(fields, key), n.field(key))
		}
		return
	}
	if list, isList := live.v.([]any); isList && c.elements(at, list, n) {
		return
	}
	c.report(ForeignField, at, value{}, live, n)
}

// elements reports the elements of a list that is foreign as a whole; false
// where it is reported as one.
func (c *comparison) elements(at spot, list []any, n *node) bool {
	switch keys := n.keys(); {
	case keys != nil:
		c.keyed(at, nil, list, n, keys)
	case n.isSet() || n == nil && scalars(list):
		c.sets(at, nil, list, n)
	case n == nil && named(list):
		c.keyed(at, nil, list, n, []string{"name"})
	default:
		return false
	}
	return true
}

// scalars reports whether a list is of texts, as finalizers are.
func scalars(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok })
}

// named reports whether every element of a list has a name of its own.
func named(list []any) bool {
	seen := map[string]bool{}
	for _, item := range list {
		fields, _ := item.(map[string]any)
		name, ok := fields["name"].(string)
		if !ok || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// report adds a finding.
func (c *comparison) report(class Class, at spot, want, live value, n *node) {
	f := c.want.finding(class, "")
	f.Path, f.steps, f.top = fieldpath.Render(at.steps), at.steps, at.top
	f.seen = c.seen
	if n != nil {
		f.Who = c.owners.who(n.holders)
	}
	f.Secret = c.secret && len(at.steps) > 0 && (at.steps[0].Key == "data" || at.steps[0].Key == "stringData")
	if !f.Secret {
		f.Wanted, f.Live = want.v, live.v
	}
	f.Why = c.why(class, n)
	c.findings = append(c.findings, f)
}

// why says why a finding matters.
func (c *comparison) why(class Class, n *node) string {
	byUs := n != nil && slices.ContainsFunc(n.holders, func(e int) bool { return c.mine[e] })
	nobody := n == nil || len(n.holders) == 0
	switch {
	case class == ForeignField && byUs:
		return "it was applied under kfdev's own name, and is not of the release"
	case class == ForeignField && nobody:
		return "nobody owns it: admission put it in, and applying the release leaves it there"
	case class == ForeignField:
		return "another added it, and applying the release leaves it there"
	case class == Changed && byUs:
		return "it was changed under kfdev's own name"
	case class == Changed:
		return "what runs is not what was promoted"
	case class == Lost:
		return "the release has it, and it was taken out"
	}
	return "the value is right, but another holds it now: it was taken by force, and the next apply of the release meets a conflict"
}

// suspicious reports whether there is anything that may be only another way to
// write the same.
func (c *comparison) suspicious() bool { return slices.ContainsFunc(c.findings, rewritten) }

// rewritten reports whether a finding may be only another way to write the
// same: another form of a quantity (1000m is 1), or nothing in place of what
// says nothing (an empty map, an empty text).
func rewritten(f Finding) bool {
	switch f.Class {
	case Changed:
		return sameQuantity(f.Wanted, f.Live)
	case Lost:
		return isZero(f.Wanted)
	default:
		return false
	}
}

func sameQuantity(a, b any) bool {
	x, okX := fieldpath.Scalar(a)
	y, okY := fieldpath.Scalar(b)
	if !okX || !okY {
		return false
	}
	p, err := resource.ParseQuantity(x)
	q, other := resource.ParseQuantity(y)
	return err == nil && other == nil && p.Cmp(q) == 0
}

func isZero(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	}
	return false
}

// confirm drops what is only written in another way, where the server says that
// it would write it just so. Its word alone would not do: admission that
// changes a value changes it in a dry run, too. Where the server does not say,
// all of it stays.
func (c *comparison) confirm(normal *unstructured.Unstructured, err error) {
	var left []Finding
	for _, f := range c.findings {
		switch {
		case !rewritten(f):
		case err != nil:
			f.Why += " (" + err.Error() + ")"
		default:
			a, hasA := only(normal.Object, f.steps)
			b, hasB := only(c.live.Object, f.steps)
			if hasA == hasB && structure.Equal(a, b) {
				continue
			}
		}
		left = append(left, f)
	}
	c.findings = left
}

// only returns the one value that steps lead to.
func only(o any, steps []fieldpath.Step) (any, bool) {
	found := fieldpath.Resolve(o, steps, false)
	if len(found) != 1 {
		return nil, false
	}
	return found[0].Value, true
}

func unionOf(a, b map[string]any) []string {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
