package notebook

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// budget bounds the work of comparing, which grows with the product of two
// lengths. What is beyond it counts as different.
type budget int

const fullBudget budget = 1 << 26

func (b *budget) take(n, m int) bool {
	if n != 0 && m > int(*b)/n {
		return false
	}
	*b -= budget(n * m)
	return true
}

// common finds a longest common subsequence: for each of a its index in b, or
// -1.
func (b *budget) common(a, z []string) []int {
	match := slices.Repeat([]int{-1}, len(a))
	start := 0
	for start < len(a) && start < len(z) && a[start] == z[start] {
		match[start] = start
		start++
	}
	n, m := len(a), len(z)
	for n > start && m > start && a[n-1] == z[m-1] {
		n, m = n-1, m-1
		match[n] = m
	}
	x, y := a[start:n], z[start:m]
	if len(x) == 0 || len(y) == 0 || len(x)*len(y) > 1<<22 || !b.take(len(x), len(y)) {
		return match
	}
	width := len(y) + 1
	longest := make([]int32, (len(x)+1)*width)
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				longest[i*width+j] = longest[(i+1)*width+j+1] + 1
			} else {
				longest[i*width+j] = max(longest[(i+1)*width+j], longest[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case x[i] == y[j]:
			match[start+i] = start + j
			i, j = i+1, j+1
		case longest[(i+1)*width+j] >= longest[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return match
}

// mergeText merges two versions of a text line by line against their base
// (diff3: Khanna, Kunal and Pierce, "A Formal Investigation of Diff3", 2007).
// It is false where both changed the same lines, or lines next to each other.
func (b *budget) mergeText(base, local, remote string) (string, bool) {
	switch {
	case local == remote, base == remote:
		return local, true
	case base == local:
		return remote, true
	}
	o, l, r := strings.Split(base, "\n"), strings.Split(local, "\n"), strings.Split(remote, "\n")
	toL, toR := b.common(o, l), b.common(o, r)
	var merged []string
	for i, j, k := 0, 0, 0; ; {
		// The next line that all three have ends what is between.
		next := i
		for next < len(o) && (toL[next] < 0 || toR[next] < 0) {
			next++
		}
		endL, endR := len(l), len(r)
		if next < len(o) {
			endL, endR = toL[next], toR[next]
		}
		was, mine, theirs := o[i:next], l[j:endL], r[k:endR]
		switch {
		case slices.Equal(was, mine):
			merged = append(merged, theirs...)
		case slices.Equal(was, theirs), slices.Equal(mine, theirs):
			merged = append(merged, mine...)
		default:
			return "", false
		}
		if next == len(o) {
			return strings.Join(merged, "\n"), true
		}
		merged = append(merged, o[next])
		i, j, k = next+1, endL+1, endR+1
	}
}

// splitLines is Python's str.splitlines(keepends=True), by which nbformat
// divides a source.
func splitLines(s string) []string {
	var lines []string
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch r {
		case '\r':
			if i < len(s) && s[i] == '\n' {
				i++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		lines = append(lines, s[start:i])
		start = i
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}
