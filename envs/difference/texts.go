package difference

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/intext"
	"github.com/kfdev/kfdev/envs/difference/structure"
)

// inText looks into two texts that differ: at the places that entries are
// about, and for all else at what the texts say. It reports false where they
// are to be taken as a whole.
func (c *comparison) inText(f Finding, change structure.Change, a, b *subject) bool {
	left, okA := change.A.Value.(string)
	right, okB := change.B.Value.(string)
	if !okA || !okB || hidden(f.Path.Group, f.Path.Kind, f.Path.Fields) {
		return false
	}
	marks := slices.Concat(a.texts[fieldpath.Pointer(change.A.At)], b.texts[fieldpath.Pointer(change.B.At)])
	marks = slices.CompactFunc(slices.SortedStableFunc(slices.Values(marks), func(x, y textMark) int {
		return cmp.Or(cmp.Compare(x.entry, y.entry), cmp.Compare(x.path.String(), y.path.String()))
	}), func(x, y textMark) bool { return x.entry == y.entry && x.path.String() == y.path.String() })
	maskedA, spansA := mask(left, marks)
	maskedB, spansB := mask(right, marks)
	for i, m := range marks {
		x, y := spansA[i], spansB[i]
		if x == nil || y == nil {
			continue
		}
		each := f
		each.Path.Text = m.path.Text
		each.A.Value, each.B.Value = x.Value, y.Value
		c.judge(each, c.Entries[m.entry])
	}
	if slices.Equal(maskedA, maskedB) {
		return true
	}
	said := structured(left, right, marks)
	for _, change := range said {
		each := f
		each.Path.Text = &fieldpath.Text{Fields: change.Path}
		each.A.Present, each.B.Present = change.A.Present, change.B.Present
		each.A.Value, each.B.Value = change.A.Value, change.B.Value
		each.Why = undeclared
		c.add(each)
	}
	if len(said) > 0 {
		return true
	}
	f.Why = undeclared
	if len(marks) > 0 {
		f.Why = "the texts differ in more than entries declare"
	}
	c.add(f)
	return true
}

// mask returns what is around the values that were found, each of which leaves
// its mark's number there, and where each was.
func mask(text string, marks []textMark) (rest []string, spans []*intext.Span) {
	spans = make([]*intext.Span, len(marks))
	var found []int
	for i, m := range marks {
		if s, err := intext.Find(text, *m.path.Text); err == nil {
			spans[i] = &s
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(x, y int) int { return spans[x].Start - spans[y].Start })
	last := 0
	for _, i := range found {
		if spans[i].Start < last {
			continue // two entries for one place: Render refuses it
		}
		rest = append(rest, text[last:spans[i].Start], strconv.Itoa(i))
		last = spans[i].End
	}
	return append(rest, text[last:]), spans
}

// structured compares what two texts say as YAML or JSON, but for the values
// that are marked; nothing where they are neither.
func structured(left, right string, marks []textMark) []structure.Change {
	a, okA := document(left)
	b, okB := document(right)
	if !okA || !okB {
		return nil
	}
	of := func(doc any) structure.Marks {
		out := structure.Marks{}
		for i, m := range marks {
			for _, l := range fieldpath.Resolve(doc, m.path.Text.Fields, false) {
				if m.path.Text.Pattern == nil {
					out[fieldpath.Pointer(l.At)] = structure.Mark{ID: i, Name: m.path.String()}
				}
			}
		}
		return out
	}
	changes := structure.Compare(a, b, structure.Options{A: of(a), B: of(b)}).Changes
	return slices.DeleteFunc(changes, func(c structure.Change) bool {
		return c.Mark >= 0 || len(c.Path) == 0
	})
}

// document reads a text that is one YAML or JSON document with more than a
// single value.
func document(text string) (any, bool) {
	if len(text) > maxDocument || !strings.ContainsAny(text, ":[{-") {
		return nil, false
	}
	var v any
	decoder := yaml.NewDecoder(strings.NewReader(text))
	if decoder.Decode(&v) != nil {
		return nil, false
	}
	if decoder.Decode(new(any)) == nil {
		return nil, false // several documents
	}
	switch v.(type) {
	case map[string]any, []any:
		v, err := normal(v)
		return v, err == nil
	}
	return nil, false
}

// maxDocument bounds what is read as YAML, in bytes.
const maxDocument = 1 << 20
