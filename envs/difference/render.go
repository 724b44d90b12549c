package difference

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/intext"
	"github.com/kfdev/kfdev/internal/fault"
)

// Use is one place that an entry was put into.
type Use struct {
	Entry   string
	Path    fieldpath.Path // of the one object
	Present bool           // false where the object, or the field, is left out
	Value   any            // nil for a presence
}

// Used is every place that entries were put into, in the order of the entries.
type Used []Use

// Render returns the base with every entry's value for the environment, in
// memory of its own. An entry that leads nowhere, two that lead to one field,
// a value that is not allowed and one that is missing are errors, all of them
// in one.
func Render(base []*unstructured.Unstructured, entries []Entry, environment string) ([]*unstructured.Unstructured, Used, error) {
	r := &renderer{environment: environment, objects: make([]*unstructured.Unstructured, len(base)), claims: map[int][]claim{}}
	for i, o := range base {
		r.objects[i] = o.DeepCopy()
	}
	if err := eachOnce(r.objects); err != nil {
		return nil, nil, &fault.Error{Op: r.op(), Kind: fault.Usage, Err: err}
	}
	for i := range entries {
		r.entry(&entries[i])
	}
	if len(r.problems) == 0 {
		r.apply()
	}
	if len(r.problems) > 0 {
		return nil, nil, errors.Join(r.problems...)
	}
	return r.result(), r.used, nil
}

type renderer struct {
	environment string
	objects     []*unstructured.Unstructured
	problems    []error
	edits       []edit
	claims      map[int][]claim // by object
	used        Used
}

// edit is what an entry does at one place.
type edit struct {
	entry    *Entry
	path     fieldpath.Path
	object   int
	location fieldpath.Location
	value    any
	remove   bool
}

func (r *renderer) op() string { return "rendering for " + r.environment }

func (r *renderer) problem(e *Entry, p fieldpath.Path, hint string, err error) {
	subject := "difference " + e.ID
	if !p.IsZero() {
		subject += ": " + p.String()
	}
	r.problems = append(r.problems, &fault.Error{Op: r.op(), Subject: subject, Kind: fault.Usage, Err: err, Hint: hint})
}

// entry finds what an entry is to do.
func (r *renderer) entry(e *Entry) {
	value, ok := e.Value(r.environment)
	if len(e.Paths) > 0 && e.Paths[0].Dimension != "" {
		return // of the fingerprint: found, not set
	}
	if !ok {
		r.problem(e, fieldpath.Path{}, fmt.Sprintf("write values: {%s: …} or a default into the entry", r.environment),
			fmt.Errorf("it has no value for %s, and no default", r.environment))
		return
	}
	for _, p := range append(e.Allow.check(), (&checker{entry: *e}).paths()...) {
		r.problem(e, fieldpath.Path{}, "", errors.New(p.Text))
		return
	}
	if err := e.allowsValue(value); err != nil {
		r.problem(e, fieldpath.Path{}, "change the value, or what allow says", fmt.Errorf("the value for %s: %w", r.environment, err))
		return
	}
	for _, p := range e.Paths {
		r.path(e, p, value)
	}
}

// paths returns what is wrong with the entry's paths.
func (c *checker) paths() []Problem {
	for i, p := range c.entry.Paths {
		c.path(i, p)
	}
	return c.problems
}

// path finds the places that one path leads to.
func (r *renderer) path(e *Entry, p fieldpath.Path, value any) {
	var selected []int
	for i, o := range r.objects {
		ref := RefOf(o)
		if p.Selects(ref.Group, ref.Kind, ref.Namespace, ref.Name) {
			selected = append(selected, i)
		}
	}
	switch {
	case len(selected) == 0:
		r.problem(e, p, r.others(p), fmt.Errorf("there is no such object"))
		return
	case len(selected) > 1 && p.Namespace == "":
		r.problem(e, p, fmt.Sprintf("write NAMESPACE:%s, or *:%s for all of them", p.Name, p.Name),
			fmt.Errorf("%d objects have the name, in several namespaces", len(selected)))
		return
	}
	found := 0
	for _, i := range selected {
		found += r.within(e, p, i, value)
	}
	if found == 0 {
		r.problem(e, p, r.ends(p, selected), errors.New("it leads to nothing"))
	}
}

// within finds the places that a path leads to in one object, and returns how
// many.
func (r *renderer) within(e *Entry, p fieldpath.Path, object int, value any) int {
	ed := edit{entry: e, path: p, object: object, value: value}
	if p.Whole() {
		ed.remove = value == false
		r.add(ed, nil)
		return 1
	}
	last := p.Fields[len(p.Fields)-1]
	missing := e.Allow.Optional || last.Kind == fieldpath.Value
	locations := fieldpath.Resolve(r.objects[object].Object, p.Fields, missing)
	if len(locations) > 1 && p.Exact() {
		r.problem(e, p, "select by more, as in [name=x,port=80]", fmt.Errorf("it leads to %d places in %s", len(locations), RefOf(r.objects[object])))
		return len(locations)
	}
	for _, l := range locations {
		ed.location = l
		ed.remove = value == nil
		if e.Allow.Type == Presence {
			ed.remove, ed.value = value == false, last.Key
		}
		if last.Kind == fieldpath.Match && e.Allow.Type != Presence && !ed.remove && !last.Matches(value) {
			r.problem(e, p, "give it the keys that the path selects by", fmt.Errorf("the value %s is not the element %s", show(value), last))
			continue
		}
		var text *intext.Span
		if p.Text != nil {
			span, err := spanIn(l.Value, *p.Text)
			if err != nil {
				r.problem(e, p, "", fmt.Errorf("in %s: %w", RefOf(r.objects[object]), err))
				continue
			}
			text = &span
		}
		r.add(ed, text)
	}
	return len(locations)
}

func spanIn(value any, where fieldpath.Text) (intext.Span, error) {
	text, ok := value.(string)
	if !ok {
		return intext.Span{}, errors.New("the field is no text")
	}
	return intext.Find(text, where)
}

// claim is a place that an entry has.
type claim struct {
	pointer  string
	text     *intext.Span
	path     fieldpath.Path
	entry    *Entry
	presence bool
}

// add keeps an edit unless another entry is about the same field. A field of
// an element, or of an object, whose presence another entry decides is not the
// same.
func (r *renderer) add(ed edit, text *intext.Span) {
	c := claim{pointer: pointer(ed.location), text: text, path: ed.path, entry: ed.entry, presence: ed.entry.Allow.Type == Presence}
	for _, o := range r.claims[ed.object] {
		if c.collides(o) || o.collides(c) {
			r.problem(ed.entry, ed.path, "take the field out of one of them",
				fmt.Errorf("in %s this is what difference %s: %s is about, too", RefOf(r.objects[ed.object]), o.entry.ID, o.path))
			return
		}
	}
	r.claims[ed.object] = append(r.claims[ed.object], c)
	r.edits = append(r.edits, ed)
	use := Use{Entry: ed.entry.ID, Path: RefOf(r.objects[ed.object]).Path(ed.path.Fields...), Present: !ed.remove}
	use.Path.Text = ed.path.Text
	if ed.entry.Allow.Type != Presence && !ed.remove {
		use.Value = ed.value
	}
	r.used = append(r.used, use)
}

// pointer writes where a place is, or would be.
func pointer(l fieldpath.Location) string {
	out := fieldpath.Pointer(l.At)
	for _, s := range l.Rest {
		if s.Kind == fieldpath.Key {
			out += fieldpath.Pointer([]any{s.Key})
		} else {
			out += "/" + s.String()
		}
	}
	return out
}

func (c claim) collides(o claim) bool {
	switch {
	case c.pointer == o.pointer && c.text != nil && o.text != nil:
		return c.text.Start < o.text.End && o.text.Start < c.text.End || c.text.Start == o.text.Start
	case c.pointer == o.pointer:
		return true
	}
	return !c.presence && strings.HasPrefix(o.pointer, c.pointer+"/")
}

// apply makes the edits: values first, then what is new, then what is left
// out from behind, so that no place moves before its turn.
func (r *renderer) apply() {
	for _, ed := range r.edits {
		if !ed.remove && !ed.path.Whole() && !ed.location.Missing() && ed.entry.Allow.Type != Presence {
			r.set(ed)
		}
	}
	for _, ed := range r.edits {
		if !ed.remove && ed.location.Missing() {
			fieldpath.Put(r.objects[ed.object].Object, ed.location.At, func(node any) any {
				return fieldpath.Grow(node, ed.location.Rest, plain(ed.value))
			})
		}
	}
	gone := slices.DeleteFunc(slices.Clone(r.edits), func(ed edit) bool {
		return !ed.remove || ed.path.Whole() || ed.location.Missing()
	})
	slices.SortStableFunc(gone, func(a, b edit) int { return fieldpath.Compare(b.location.At, a.location.At) })
	for _, ed := range gone {
		fieldpath.Remove(r.objects[ed.object].Object, ed.location.At)
	}
}

func (r *renderer) set(ed edit) {
	fieldpath.Put(r.objects[ed.object].Object, ed.location.At, func(old any) any {
		if ed.path.Text == nil {
			return plain(ed.value)
		}
		text, _ := old.(string) // it was one when the place was found
		out, err := intext.Set(text, *ed.path.Text, ed.value)
		if err != nil {
			r.problem(ed.entry, ed.path, "", fmt.Errorf("in %s: %w", RefOf(r.objects[ed.object]), err))
			return old
		}
		return out
	})
}

// result returns the objects that are there.
func (r *renderer) result() []*unstructured.Unstructured {
	gone := map[int]bool{}
	for _, ed := range r.edits {
		if ed.remove && ed.path.Whole() {
			gone[ed.object] = true
		}
	}
	out := make([]*unstructured.Unstructured, 0, len(r.objects))
	for i, o := range r.objects {
		if !gone[i] {
			out = append(out, o)
		}
	}
	return out
}
