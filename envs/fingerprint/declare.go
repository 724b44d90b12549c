package fingerprint

import (
	"slices"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// Declare returns the findings with the entries that allow them: those whose
// path is fingerprint/DIMENSION or fingerprint/DIMENSION.ITEM, and whose domain
// has both values; presence allows an item that only one has. What is unknown is
// never allowed. Where an entry says what an environment has, that is what it
// must have. Where several speak of a place, the one of the very item does.
func Declare(a, b string, findings []Finding, entries []difference.Entry) []Finding {
	out := slices.Clone(findings)
	for i, f := range out {
		e := entryOf(f, entries)
		if e == nil {
			continue
		}
		out[i].Entry = e.ID
		out[i].Allowed = !f.Unknown && allows(e.Allow, f) && says(*e, a, f.A) && says(*e, b, f.B)
	}
	return out
}

// entryOf is the entry that speaks of a place; nil where none does.
func entryOf(f Finding, entries []difference.Entry) *difference.Entry {
	for _, path := range []string{f.Path(), f.Dimension} {
		for i, e := range entries {
			if slices.ContainsFunc(e.Paths, func(p fieldpath.Path) bool { return p.Dimension == path }) {
				return &entries[i]
			}
		}
	}
	return nil
}

// says reports whether a side is what an entry says of its environment, where it
// says anything.
func says(e difference.Entry, environment string, s Side) bool {
	value, ok := e.Value(environment)
	if !ok {
		return true
	}
	if e.Allow.Type == difference.Presence {
		return value == s.Present
	}
	if value == nil {
		return !s.Present
	}
	return s.Present && e.Allow.Same(value, s.Is)
}

func allows(d difference.Domain, f Finding) bool {
	if d.Type == difference.Presence {
		return f.A.Present != f.B.Present
	}
	return d.Allows(f.A.Is, f.A.Present) == nil && d.Allows(f.B.Is, f.B.Present) == nil
}

// Suggest returns entries that would allow the findings of two environments that
// no entry speaks of, each with what the two have. What is unknown has none.
// Reason and owner are for people to fill in.
func Suggest(a, b string, findings []Finding) []difference.Entry {
	var out []difference.Entry
	for _, f := range findings {
		if f.Unknown || f.Entry != "" {
			continue
		}
		path, err := fieldpath.Parse("fingerprint/" + f.Path())
		if err != nil {
			continue
		}
		values, presence := map[string]any{a: f.A.Is, b: f.B.Is}, f.A.Present != f.B.Present
		if presence {
			values = map[string]any{a: f.A.Present, b: f.B.Present}
		}
		if e, ok := difference.OfDimension(path, values, presence); ok {
			out = append(out, e)
		}
	}
	return out
}
