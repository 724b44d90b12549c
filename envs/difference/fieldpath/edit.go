package fieldpath

import (
	"cmp"
	"slices"
)

// Put replaces what is at a place by what f makes of it. The place was found
// in the same node.
func Put(node any, at []any, f func(old any) any) any {
	if len(at) == 0 {
		return f(node)
	}
	switch part := at[0].(type) {
	case string:
		if fields, ok := node.(map[string]any); ok {
			fields[part] = Put(fields[part], at[1:], f)
		}
	case int:
		if list, ok := node.([]any); ok && part < len(list) {
			list[part] = Put(list[part], at[1:], f)
		}
	}
	return node
}

// Remove takes what is at a place out of the node.
func Remove(node any, at []any) any {
	if len(at) == 0 {
		return node
	}
	return Put(node, at[:len(at)-1], func(parent any) any {
		switch part := at[len(at)-1].(type) {
		case string:
			if fields, ok := parent.(map[string]any); ok {
				delete(fields, part)
			}
		case int:
			if list, ok := parent.([]any); ok && part < len(list) {
				return slices.Delete(list, part, part+1)
			}
		}
		return parent
	})
}

// Grow returns node with a value at steps that are Makeable, and all that they
// lead through.
func Grow(node any, steps []Step, value any) any {
	if len(steps) == 0 {
		return value
	}
	if steps[0].Kind != Key {
		list, _ := node.([]any)
		return append(slices.Clip(list), value)
	}
	fields, ok := node.(map[string]any)
	if !ok {
		fields = map[string]any{}
	}
	fields[steps[0].Key] = Grow(fields[steps[0].Key], steps[1:], value)
	return fields
}

// Compare orders places: by keys, and by indexes as numbers.
func Compare(a, b []any) int {
	return slices.CompareFunc(a, b, func(x, y any) int {
		i, isIndex := x.(int)
		j, isToo := y.(int)
		if isIndex && isToo {
			return cmp.Compare(i, j)
		}
		s, _ := x.(string)
		t, _ := y.(string)
		return cmp.Compare(s, t)
	})
}
