package difference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// maxNamed bounds how many names a hint lists.
const maxNamed = 8

// others says which objects a path could have meant.
func (r *renderer) others(p fieldpath.Path) string {
	names, kinds := map[string]bool{}, map[string]bool{}
	for _, o := range r.objects {
		ref := RefOf(o)
		kinds[fieldpath.Path{Group: ref.Group, Kind: ref.Kind, Name: fieldpath.Every}.Object()] = true
		if ref.Group == p.Group && ref.Kind == p.Kind {
			names[ref.String()] = true
		}
	}
	if len(names) == 0 {
		kind := fieldpath.Path{Group: p.Group, Kind: p.Kind, Name: fieldpath.Every}.Object()
		if near := nearest(kind, kinds); near != "" {
			return fmt.Sprintf("no object is of that kind: did you mean %s?", near)
		}
		return "no object is of that kind: there are " + listed(kinds)
	}
	return "there are " + listed(names)
}

func nearest(word string, names map[string]bool) string {
	return strictyaml.Nearest(word, slices.Sorted(maps.Keys(names)))
}

func listed(names map[string]bool) string {
	all := slices.Sorted(maps.Keys(names))
	if len(all) > maxNamed {
		return strings.Join(all[:maxNamed], ", ") + fmt.Sprintf(" and %d more", len(all)-maxNamed)
	}
	return strings.Join(all, ", ")
}

// ends says up to where a path leads in the objects it selects, and what is
// there.
func (r *renderer) ends(p fieldpath.Path, selected []int) string {
	object, depth := selected[0], -1
	for _, i := range selected {
		for n := len(p.Fields) - 1; n > depth; n-- {
			if len(fieldpath.Resolve(r.objects[i].Object, p.Fields[:n], false)) > 0 {
				object, depth = i, n
			}
		}
	}
	if depth < 0 {
		return ""
	}
	at := fieldpath.Resolve(r.objects[object].Object, p.Fields[:depth], false)[0]
	where := fieldpath.Render(p.Fields[:depth])
	if where == "" {
		where = "the object"
	}
	there := map[string]bool{}
	what := "a single value"
	switch v := at.Value.(type) {
	case map[string]any:
		what = "a mapping"
		for k := range v {
			there[fieldpath.Step{Kind: fieldpath.Key, Key: k}.String()] = true
		}
	case []any:
		what = "a list of " + fmt.Sprint(len(v))
		for _, item := range v {
			if fields, ok := item.(map[string]any); ok && fields["name"] != nil {
				there[fmt.Sprintf("[name=%v]", fields["name"])] = true
			}
		}
	}
	hint := fmt.Sprintf("in %s, %s is %s", RefOf(r.objects[object]), where, what)
	if len(there) > 0 {
		hint += ": it has " + listed(there)
	}
	if _, isMap := at.Value.(map[string]any); isMap && fieldpath.Makeable(p.Fields[depth:]) {
		hint += "; a field that the base does not have needs optional: true"
	}
	return hint
}
