package notebook

import (
	"slices"
	"strings"
)

// similar is how much of two sources must be equal lines for them to be one
// cell without an id.
const similar = 0.5

// match finds for each cell of b the one of a that it came from; -1 where it is
// new. First by id; then by equal type and source, in order; then, where ids
// can't tell, by similar source between cells that were found.
func (w *budget) match(a, b []*cell) []int {
	from := slices.Repeat([]int{-1}, len(b))
	taken := make([]bool, len(a))
	ids := map[string]int{}
	for i, c := range a {
		if c.id != "" {
			ids[c.id] = i
		}
	}
	for j, c := range b {
		if i, ok := ids[c.id]; ok && c.id != "" {
			from[j], taken[i] = i, true
		}
	}
	var restA, restB []int
	var textA, textB []string
	for i, c := range a {
		if !taken[i] && c.telling() {
			restA, textA = append(restA, i), append(textA, c.kind+"\n"+c.source)
		}
	}
	for j, c := range b {
		if from[j] < 0 && c.telling() {
			restB, textB = append(restB, j), append(textB, c.kind+"\n"+c.source)
		}
	}
	for x, y := range w.common(textA, textB) {
		if y >= 0 {
			from[restB[y]], taken[restA[x]] = restA[x], true
		}
	}
	w.matchSimilar(a, b, from, taken)
	return from
}

// telling is false for an empty cell that has an id: two of these are not one
// cell because both are empty.
func (c *cell) telling() bool { return c.id == "" || strings.TrimSpace(c.source) != "" }

// matchSimilar matches what is left, run by run: cells that follow the same
// matched cell on both sides.
func (w *budget) matchSimilar(a, b []*cell, from []int, taken []bool) {
	lines := map[*cell]map[string]int{}
	for j := 0; j < len(b); {
		if from[j] >= 0 {
			j++
			continue
		}
		start := j
		for j < len(b) && from[j] < 0 {
			j++
		}
		first := 0
		if start > 0 {
			first = from[start-1] + 1
		}
		last := first
		for last < len(a) && !taken[last] {
			last++
		}
		w.align(a[first:last], b[start:j], lines, func(x, y int) {
			from[start+y], taken[first+x] = first+x, true
		})
	}
}

// align pairs similar cells of two runs in order, so that the sum of their
// likeness is greatest.
func (w *budget) align(a, b []*cell, lines map[*cell]map[string]int, pair func(x, y int)) {
	if len(a) == 0 || len(b) == 0 || !w.take(len(a)*8, len(b)*8) {
		return
	}
	width := len(b) + 1
	best := make([]float64, (len(a)+1)*width)
	like := make([]float64, len(a)*len(b))
	for x := len(a) - 1; x >= 0; x-- {
		for y := len(b) - 1; y >= 0; y-- {
			l := w.likeness(a[x], b[y], lines)
			like[x*len(b)+y] = l
			best[x*width+y] = max(best[(x+1)*width+y], best[x*width+y+1])
			if l >= similar {
				best[x*width+y] = max(best[x*width+y], best[(x+1)*width+y+1]+l)
			}
		}
	}
	for x, y := 0, 0; x < len(a) && y < len(b); {
		l := like[x*len(b)+y]
		switch here := best[x*width+y]; {
		case l >= similar && here == best[(x+1)*width+y+1]+l:
			pair(x, y)
			x, y = x+1, y+1
		case here == best[(x+1)*width+y]:
			x++
		default:
			y++
		}
	}
}

// likeness is the part of two cells' lines that are equal, from 0 to 1; a single
// line that was edited counts by its words. Where both have ids, other ids mean
// other cells.
func (w *budget) likeness(a, b *cell, lines map[*cell]map[string]int) float64 {
	if a.kind != b.kind || a.id != "" && b.id != "" {
		return 0
	}
	x, y := w.parts(a, lines), w.parts(b, lines)
	if len(x) > len(y) {
		x, y = y, x
	}
	if !w.take(1, len(x)+1) {
		return 0
	}
	both, all := 0, 0
	for part, n := range x {
		both += min(n, y[part])
		all += n
	}
	for _, n := range y {
		all += n
	}
	if all == 0 {
		return 1
	}
	return 2 * float64(both) / float64(all)
}

// parts are a cell's lines and words, counted.
func (w *budget) parts(c *cell, lines map[*cell]map[string]int) map[string]int {
	counted := lines[c]
	if counted == nil {
		counted = map[string]int{}
		for line := range strings.SplitSeq(c.source, "\n") {
			counted[line]++
			for _, word := range strings.Fields(line) {
				counted["\n"+word]++
			}
		}
		lines[c] = counted
	}
	return counted
}
