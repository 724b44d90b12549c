package fingerprint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// minors compares two versions, or those of all nodes as sets.
func minors(a, b any) string {
	listA, okA := a.([]any)
	listB, okB := b.([]any)
	if okA && okB {
		x, errX := minorSet(listA)
		y, errY := minorSet(listB)
		if errX != nil || errY != nil {
			return "a version cannot be read"
		}
		if !maps.Equal(x, y) {
			return "the minor versions are not the same"
		}
		return ""
	}
	x, errX := minor(a)
	y, errY := minor(b)
	switch {
	case errX != nil || errY != nil:
		return "a version cannot be read"
	case x != y:
		return "the minor versions are not the same"
	}
	return ""
}

func minorSet(list []any) (map[string]bool, error) {
	out := map[string]bool{}
	for _, each := range list {
		m, err := minor(each)
		if err != nil {
			return nil, err
		}
		out[m] = true
	}
	return out, nil
}

// minor returns what is in front of a version's number, and its first two
// parts: containerd://2.1.
func minor(v any) (string, error) {
	text, _ := v.(string)
	prefix, parts, ok := version(text)
	if !ok || len(parts) < 2 {
		return "", fmt.Errorf("%q is no version", text)
	}
	return fmt.Sprintf("%s%d.%d", prefix, parts[0], parts[1]), nil
}

// version reads v1.36.1, 6.8.0-45-generic, containerd://2.1.4: the prefix
// without a v, and the numbers up to what is none.
func version(text string) (prefix string, parts []int64, ok bool) {
	i := strings.IndexAny(text, "0123456789")
	if i < 0 {
		return "", nil, false
	}
	prefix = strings.TrimSuffix(text[:i], "v")
	for part := range strings.SplitSeq(text[i:], ".") {
		end := 0
		for end < len(part) && part[end] >= '0' && part[end] <= '9' {
			end++
		}
		n, err := strconv.ParseInt(part[:end], 10, 64)
		if err != nil {
			break
		}
		parts = append(parts, n)
		if end < len(part) {
			break
		}
	}
	return prefix, parts, len(parts) > 0
}

// floors says why b is below a, or one of both below a floor; empty where none
// is.
func floors(floor string, a, b any) string {
	if floor != "" {
		for i, v := range []any{a, b} {
			switch c, ok := order(v, floor); {
			case !ok:
				return fmt.Sprintf("it cannot be held against the floor %s", floor)
			case c < 0:
				return fmt.Sprintf("%s is below the floor, %s", []string{"the earlier", "the later"}[i], floor)
			}
		}
	}
	mapA, okA := a.(map[string]any)
	mapB, okB := b.(map[string]any)
	if okA && okB { // resources by name
		for _, name := range slices.Sorted(maps.Keys(mapA)) {
			other, ok := mapB[name]
			if !ok {
				return fmt.Sprintf("the later has no %s", name)
			}
			if why := floors("", mapA[name], other); why != "" {
				return name + ": " + why
			}
		}
		return ""
	}
	switch c, ok := order(b, a); {
	case !ok:
		return "the two cannot be held against each other"
	case c < 0:
		return "the later is below the earlier"
	}
	return ""
}

// order compares numbers and quantities as such, and all else as versions.
func order(a, b any) (int, bool) {
	x, okX := quantity(a)
	y, okY := quantity(b)
	if okX && okY {
		return x.Cmp(y), true
	}
	textA, _ := a.(string)
	textB, _ := b.(string)
	prefixA, partsA, okA := version(textA)
	prefixB, partsB, okB := version(textB)
	if !okA || !okB || prefixA != prefixB {
		return 0, false
	}
	for len(partsA) < len(partsB) {
		partsA = append(partsA, 0)
	}
	for len(partsB) < len(partsA) {
		partsB = append(partsB, 0)
	}
	return slices.Compare(partsA, partsB), true
}

// quantity reads a number or a quantity. One with a dot is a version: 12.10 is
// more than 12.9.
func quantity(v any) (resource.Quantity, bool) {
	switch v := v.(type) {
	case int64:
		return *resource.NewQuantity(v, resource.DecimalSI), true
	case string:
		if strings.Contains(v, ".") {
			return resource.Quantity{}, false
		}
		q, err := resource.ParseQuantity(v)
		return q, err == nil
	}
	return resource.Quantity{}, false
}
