package imageref

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var (
	errNoObject = errors.New("there is no such object")
	errNowhere  = errors.New("it leads to no image")
)

// apply finds what a rule leads to, in every object that it is about.
func (f *finder) apply(r Rule) error {
	if err := r.Validate(); err != nil {
		return err
	}
	objects, found := 0, 0
	for i, o := range f.objects {
		if !r.matches(o.GetKind(), o.GetName()) {
			continue
		}
		objects++
		n, err := f.applyTo(i, r)
		if err != nil {
			return fmt.Errorf("%s: %w", nameOf(o), err)
		}
		found += n
	}
	switch {
	case objects == 0:
		return errNoObject
	case found == 0:
		return errNowhere
	}
	return nil
}

// applyTo returns how many places the rule led to in one object.
func (f *finder) applyTo(object int, r Rule) (int, error) {
	switch {
	case r.Ignore != "":
		return f.countText(object, r.Ignore), nil
	case r.Arg != "":
		return f.applyArg(object, r), nil
	case r.Env != "":
		return f.applyEnv(object, r), nil
	case r.Field != "":
		n := 0
		for _, path := range expand(f.objects[object].Object, nil, split(r.Field)) {
			if f.addWhole(object, path, "field "+r.Field) {
				n++
			}
		}
		return n, nil
	}
	return f.applyConfigMapKey(object, r)
}

func (f *finder) applyConfigMapKey(object int, r Rule) (int, error) {
	path := []any{"data", r.ConfigMapKey}
	text, ok := get(f.objects[object].Object, path)
	if !ok {
		return 0, nil
	}
	if r.Path == "" {
		if f.addWhole(object, path, "configMapKey "+r.ConfigMapKey) {
			return 1, nil
		}
		return 0, nil
	}
	spans, err := findInText(text, split(r.Path))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range spans {
		if s.value == "" || strings.Contains(s.value, "{{") {
			continue
		}
		p := place{
			object: object, path: path, sub: s.at, start: s.start, end: s.end, image: s.value, inText: &r,
			how: "configMapKey " + r.ConfigMapKey + " path " + r.Path,
		}
		if f.add(p) {
			n++
		}
	}
	return n, nil
}

func (f *finder) applyEnv(object int, r Rule) int {
	n := 0
	for _, c := range containersOf(f.objects[object]) {
		if r.Container != "" && r.Container != c.name {
			continue
		}
		list, _ := c.fields["env"].([]any)
		for i, e := range list {
			fields, _ := e.(map[string]any)
			if fields["name"] == r.Env && f.addWhole(object, join(c.path, "env", i, "value"), "env "+r.Env) {
				n++
			}
		}
	}
	return n
}

func (f *finder) applyArg(object int, r Rule) int {
	n := 0
	for _, c := range containersOf(f.objects[object]) {
		if r.Container != "" && r.Container != c.name {
			continue
		}
		for _, key := range []string{"command", "args"} {
			list, _ := c.fields[key].([]any)
			for i, e := range list {
				text, _ := e.(string)
				path := join(c.path, key, i)
				if text == r.Arg {
					if i+1 < len(list) && f.addWhole(object, join(c.path, key, i+1), "arg "+r.Arg) {
						n++
					}
					continue
				}
				n += f.applyArgIn(object, path, text, r.Arg)
			}
		}
	}
	return n
}

// applyArgIn finds --flag=value, and --flag value inside a line for a shell.
func (f *finder) applyArgIn(object int, path []any, text, flag string) int {
	n := 0
	for from := 0; ; {
		i := strings.Index(text[from:], flag)
		if i < 0 {
			return n
		}
		start := from + i
		from = start + len(flag)
		if start > 0 && !strings.ContainsRune(" \t\n'\"", rune(text[start-1])) {
			continue
		}
		if from >= len(text) || !strings.ContainsRune("= \t\n\\", rune(text[from])) {
			continue // another flag that starts the same
		}
		value := from + len(text[from:]) - len(strings.TrimLeft(text[from:], "= \t\n\\'\""))
		end := value
		for end < len(text) && !strings.ContainsRune(" \t\n'\";", rune(text[end])) {
			end++
		}
		if end > value && f.add(place{object: object, path: path, start: value, end: end, image: text[value:end], how: "arg " + flag}) {
			n++
		}
	}
}

// countText returns in how many strings of the object the text is.
func (f *finder) countText(object int, text string) int {
	n := 0
	visit(f.objects[object].Object, nil, func(path []any, node any) bool {
		if _, isText := node.(string); isText {
			if s, ok := textAt(f.objects[object], path); ok && strings.Contains(s, text) {
				n++
			}
		}
		return true
	})
	return n
}

// split cuts a dotted path; \. is a dot inside a key.
func split(path string) []string {
	const mark = "\x00"
	parts := strings.Split(strings.ReplaceAll(path, `\.`, mark), ".")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(p, mark, ".")
	}
	return parts
}

// expand returns the paths that steps lead to below node; * is every item.
func expand(node any, path []any, steps []string) [][]any {
	if len(steps) == 0 {
		return [][]any{path}
	}
	var found [][]any
	switch n := node.(type) {
	case map[string]any:
		for _, k := range sortedKeys(n) {
			if steps[0] == "*" || steps[0] == k {
				found = append(found, expand(n[k], join(path, k), steps[1:])...)
			}
		}
	case []any:
		for i, v := range n {
			if steps[0] == "*" || steps[0] == strconv.Itoa(i) {
				found = append(found, expand(v, join(path, i), steps[1:])...)
			}
		}
	}
	return found
}
