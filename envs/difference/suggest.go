package difference

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// suggest returns an entry that would allow a finding, with the values of all
// environments; nil where none can: the object's identity, and what is secret.
// Where the very place cannot be an entry's, an element of a list without a
// key, the nearest place above it is.
func (c *comparison) suggest(f Finding) *Entry {
	e := &Entry{Paths: []fieldpath.Path{f.Path}, Values: map[string]any{}}
	if len(f.Path.Fields) == 0 {
		for _, each := range c.all {
			e.Values[each.name] = each.objects[refOf(f.Path)] != nil
		}
		e.Allow, e.ID = Domain{Type: Presence}, slug(f.Path)
		return e
	}
	for path := f.Path; len(path.Fields) > 0; {
		if values, ok := c.valuesAt(path); ok {
			e.Paths[0], e.Values, e.ID = path, values, slug(path)
			if e.Allow, ok = domainOf(path, values); ok && len((&checker{entry: *e}).paths()) == 0 {
				return e
			}
		}
		if path.Text != nil {
			path.Text = nil
		} else {
			path.Fields = path.Fields[:len(path.Fields)-1]
		}
	}
	return nil
}

// valuesAt returns what all environments have at a place, and whether an entry
// could put each of them into the others.
func (c *comparison) valuesAt(path fieldpath.Path) (map[string]any, bool) {
	if _, err := fieldpath.Parse(path.String()); err != nil {
		return nil, false
	}
	out := map[string]any{}
	var without []string
	var some any
	for _, each := range c.all {
		of := each.objects[refOf(path)]
		if of == nil {
			without = append(without, each.name)
			continue
		}
		v, ok := valueAt(of.object.Object, path)
		if !ok {
			return nil, false
		}
		if out[each.name] = v; v != nil {
			some = v
		}
	}
	for _, name := range without { // there is no object to put it into; the entry asks for a value
		out[name] = some
	}
	return out, true
}

func valueAt(object map[string]any, path fieldpath.Path) (any, bool) {
	last := path.Fields[len(path.Fields)-1]
	found := fieldpath.Resolve(object, path.Fields, true)
	if len(found) != 1 {
		return nil, false
	}
	missing := found[0].Missing()
	switch {
	case last.Kind == fieldpath.Value:
		return !missing, true
	case path.Text != nil:
		s, err := spanIn(found[0].Value, *path.Text)
		return s.Value, err == nil && s.Value != nil && !missing
	case missing:
		return nil, true
	}
	// Null is how an entry says that nothing is there.
	return found[0].Value, found[0].Value != nil
}

// domainOf returns the smallest domain that has all the values; false where
// none has: a mapping here and a list there.
func domainOf(path fieldpath.Path, values map[string]any) (d Domain, ok bool) {
	var all []any
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] == nil {
			d.Optional = true
		} else {
			all = append(all, values[name])
		}
	}
	is := func(t Type) bool {
		return !slices.ContainsFunc(all, func(v any) bool { return Domain{Type: t}.ofType(v) != nil })
	}
	switch {
	case path.Dimension == "" && (len(path.Fields) == 0 || path.Fields[len(path.Fields)-1].Kind == fieldpath.Value):
		return Domain{Type: Presence}, true
	case is(Boolean):
		d.Type = Boolean
	case is(Integer):
		d.Type = Integer
		d.Min, d.Max = ends(all, func(v any) string { return show(v) }, Integer)
	case ofResources(path) && is(Quantity):
		d.Type = Quantity
		d.Min, d.Max = ends(all, func(v any) string { text, _ := fieldpath.Scalar(v); return text }, Quantity)
	case is(Object):
		d.Type = Object
	case is(List):
		d.Type = List
	default:
		if is(String) {
			d.Type = String
		}
		for _, v := range all {
			if !slices.ContainsFunc(d.Enum, func(o any) bool { return Domain{}.Same(o, v) }) {
				d.Enum = append(d.Enum, v)
			}
		}
		slices.SortFunc(d.Enum, func(a, b any) int { return cmp.Compare(show(a), show(b)) })
		return d, !slices.ContainsFunc(d.Enum, composite)
	}
	return d, len(all) > 0
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// ofResources reports whether a field is one that has quantities.
func ofResources(path fieldpath.Path) bool {
	return slices.ContainsFunc(path.Fields, func(s fieldpath.Step) bool {
		switch s.Key {
		case "resources", "limits", "requests", "hard", "capacity", "sizeLimit", "storage", "default", "defaultRequest", "max", "min":
			return s.Kind == fieldpath.Key
		}
		return false
	})
}

func ends(all []any, write func(any) string, t Type) (low, high Bound) {
	d := Domain{Type: t}
	var least, most resource.Quantity
	for i, v := range all {
		n, err := d.number(v)
		if err != nil {
			continue
		}
		if i == 0 || n.Cmp(least) < 0 {
			least, low = n, Bound(write(v))
		}
		if i == 0 || n.Cmp(most) > 0 {
			most, high = n, Bound(write(v))
		}
	}
	return low, high
}

// slug makes an id of a path: the object's name and the last field.
func slug(path fieldpath.Path) string {
	parts := []string{path.Name}
	if len(path.Fields) == 0 {
		parts = append(parts, path.Kind)
	}
	fields := path.Fields
	if path.Text != nil && path.Text.Pattern == nil {
		fields = path.Text.Fields
	}
	for i := len(fields) - 1; i >= 0; i-- {
		s := fields[i]
		if s.Kind == fieldpath.Key || s.Kind == fieldpath.Value {
			parts = append(parts, s.Key)
			break
		}
		if s.Kind == fieldpath.Match {
			parts = append(parts, s.Match[0].Value)
			break
		}
	}
	return slugOf(strings.Join(parts, "-"))
}

func slugOf(text string) string {
	var b strings.Builder
	for i, c := range text {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case c >= 'A' && c <= 'Z':
			if i > 0 && !strings.HasSuffix(b.String(), "-") {
				b.WriteByte('-')
			}
			b.WriteRune(c + 'a' - 'A')
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	id := b.String()
	if len(id) > maxID-6 { // room for a number
		id = id[:maxID-6]
	}
	if id = strings.Trim(id, "-"); id == "" {
		return "difference"
	}
	return id
}

// OfDimension returns an entry that would allow what environments have of a
// dimension of the fingerprint; with presence, whether they have it at all. It
// reports false where none can.
func OfDimension(path fieldpath.Path, values map[string]any, presence bool) (e Entry, ok bool) {
	e = Entry{ID: slugOf(path.Dimension), Paths: []fieldpath.Path{path}, Allow: Domain{Type: Presence}, Values: values}
	if presence {
		return e, true
	}
	e.Allow, ok = domainOf(path, values)
	return e, ok
}

// Suggest returns entries that would allow every finding that nothing allows
// and that an entry can: those of one field as one, and fields that have the
// same values everywhere together. Reason and owner are for people to fill in,
// and Unique sees to their ids.
func Suggest(findings []Finding) []Entry {
	var merged []Entry
	at := map[string]int{}
	for _, f := range findings {
		if f.Allowed || f.Suggestion == nil {
			continue
		}
		key := f.Suggestion.Paths[0].String()
		i, ok := at[key]
		if !ok {
			i = len(merged)
			at[key] = i
			merged = append(merged, *f.Suggestion)
			merged[i].Paths, merged[i].Values = slices.Clone(merged[i].Paths), maps.Clone(merged[i].Values)
			continue
		}
		// The same place found in another comparison: all that was seen there.
		maps.Copy(merged[i].Values, f.Suggestion.Values)
		merged[i].Allow, _ = domainOf(merged[i].Paths[0], merged[i].Values)
	}
	return together(outermost(merged))
}

// outermost drops entries for what is below another's field.
func outermost(entries []Entry) []Entry {
	below := func(e, o Entry) bool {
		inner, outer := e.Paths[0], o.Paths[0]
		if inner.Object() != outer.Object() || len(outer.Fields) == 0 || o.Allow.Type == Presence {
			return false
		}
		return len(inner.Fields) > len(outer.Fields) && fieldpath.Render(inner.Fields[:len(outer.Fields)]) == fieldpath.Render(outer.Fields) ||
			inner.Text != nil && outer.Text == nil && fieldpath.Render(inner.Fields) == fieldpath.Render(outer.Fields)
	}
	var out []Entry
	for _, e := range entries {
		if !slices.ContainsFunc(entries, func(o Entry) bool { return below(e, o) }) {
			out = append(out, e)
		}
	}
	return out
}

// together joins entries of one field of several objects that have the same
// values.
func together(entries []Entry) []Entry {
	var out []Entry
	at := map[string]int{}
	for _, e := range entries {
		p := e.Paths[0]
		key := fmt.Sprint(p.Group, "\x00", p.Kind, "\x00", p.Field(), "\x00", e.Allow, "\x00", show(e.Values))
		if i, ok := at[key]; ok {
			out[i].Paths = append(out[i].Paths, p)
			out[i].ID = slug(fieldpath.Path{Name: p.Kind, Kind: p.Kind, Fields: p.Fields, Text: p.Text})
			continue
		}
		at[key] = len(out)
		out = append(out, e)
	}
	return out
}

// Unique returns the entries with ids that are the only ones of their kind, also
// among those that are there.
func Unique(entries, there []Entry) []Entry {
	seen := map[string]bool{Registry: true}
	for _, e := range there {
		seen[e.ID] = true
	}
	out := slices.Clone(entries)
	for i := range out {
		id := out[i].ID
		for n := 2; seen[out[i].ID] && n < math.MaxInt; n++ {
			out[i].ID = id + "-" + strconv.Itoa(n)
		}
		seen[out[i].ID] = true
	}
	return out
}
