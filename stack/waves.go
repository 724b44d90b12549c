package stack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Waves orders components: each wave needs only those before it, and its
// members may start at the same time. Within a wave they are in name order. A
// requirement that is not among the components, and a circle, are faults of
// kind Usage that name it.
func Waves(components []Component) ([][]Component, error) {
	left := map[string]Component{}
	for _, c := range components {
		if _, ok := left[c.Name]; ok {
			return nil, order(fmt.Errorf("the component %s comes twice", c.Name), "")
		}
		left[c.Name] = c
	}
	if err := complete(left); err != nil {
		return nil, err
	}
	var waves [][]Component
	for len(left) > 0 {
		var wave []Component
		for _, c := range left {
			if !slices.ContainsFunc(c.Requires, func(r string) bool { _, waiting := left[r]; return waiting }) {
				wave = append(wave, c)
			}
		}
		if len(wave) == 0 {
			return nil, order(fmt.Errorf("components require each other in a circle: %s", strings.Join(circle(left), " → ")), "")
		}
		slices.SortFunc(wave, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
		for _, c := range wave {
			delete(left, c.Name)
		}
		waves = append(waves, wave)
	}
	return waves, nil
}

// complete reports requirements that nothing meets.
func complete(all map[string]Component) error {
	names := sortedNames(all)
	for _, name := range names {
		for _, required := range all[name].Requires {
			if _, ok := all[required]; ok {
				continue
			}
			hint := fmt.Sprintf("add %s to the stack's components, or take %s out", required, name)
			if near := strictyaml.Nearest(required, names); near != "" {
				hint = fmt.Sprintf("did it mean %s?", near)
			}
			return order(fmt.Errorf("%s requires %s, which is not in the stack", name, required), hint)
		}
	}
	return nil
}

// circle returns one circle among components that all wait for each other, its
// first name again at the end.
func circle(left map[string]Component) []string {
	at := sortedNames(left)[0]
	var path []string
	for {
		if i := slices.Index(path, at); i >= 0 {
			return append(path[i:], at)
		}
		path = append(path, at)
		for _, r := range left[at].Requires {
			if _, waiting := left[r]; waiting {
				at = r
				break
			}
		}
	}
}

func sortedNames(all map[string]Component) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func order(err error, hint string) error {
	return &fault.Error{Op: "ordering the stack", Kind: fault.Usage, Hint: hint, Err: err}
}
