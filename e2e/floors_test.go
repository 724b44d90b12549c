package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// floor is a figure that kfdev sync is held to.
type floor struct {
	what  string
	limit float64
	unit  string
	// over is what a ratio is to: kfdev's figure is that many times the smaller
	// one. Empty: the figure itself is to be at most the limit.
	over string
	// known is why a floor that is missed is not mended.
	known string
}

// Measures of floors that several figures are kept under.
const (
	firstSync  = "first sync of 5,000 files, 20 MB"
	oneByte    = "one byte in 256 MB"
	onWire     = "one byte in 256 MB, on the wire"
	branchTime = "a branch switch of 2,000 files"
	warmStart  = "start on 100,000 files"
	idleHere   = "100,000 files idle for a minute, here"
	idleThere  = "100,000 files idle for a minute, in the pod"
)

// floors are all of them.
func floors() []floor {
	all := []floor{
		{what: firstSync, limit: 1.5, unit: "s"},
		{what: firstSync, limit: 3, over: "kubectl cp", known: "what goes through the API server takes half of that time without a file being made; docs/benchmarks.md has the parts"},
		{what: firstSync, limit: 2, over: "mutagen"},
		{what: oneByte, limit: 2, unit: "s"},
		{what: onWire, limit: 1, unit: "MB"},
		{what: branchTime, limit: 2, unit: "s"},
		{what: warmStart, limit: 5, unit: "s"},
	}
	for _, way := range []string{"to the pod", "from the pod"} {
		for _, files := range []string{"a hot file", "cold files"} {
			measure := "save to readable, " + way + ", " + files
			all = append(all, floor{what: measure + ", p50", limit: 15, unit: "ms"}, floor{what: measure + ", p95", limit: 50, unit: "ms"})
		}
	}
	for _, side := range []string{idleHere, idleThere} {
		all = append(all, floor{what: side + ", core", limit: 1, unit: "%"}, floor{what: side + ", memory", limit: 200, unit: "MB"})
	}
	return all
}

// measured are the figures of floors: by what they are of, and the tool.
type measured map[string]map[string][]float64

func (m measured) add(what, tool string, value float64) {
	tool, _, _ = strings.Cut(tool, " v") // without its version
	if m[what] == nil {
		m[what] = map[string][]float64{}
	}
	m[what][tool] = append(m[what][tool], value)
}

// Words that a verdict begins with. What begins with missed fails make bench.
const (
	held      = "held"
	missed    = "missed"
	excepted  = "known"
	unmeasure = "left out"
)

// verdict says of one floor whether it is held, with both figures. Every run
// counts; of ratios, the middle ones do.
func (f floor) verdict(m measured, peers []string) string {
	line := func(word, text string) string { return fmt.Sprintf("%-8s %s: %s", word, f.what, text) }
	mine, theirs := m[f.what]["kfdev"], m[f.what][f.over]
	if f.over != "" && len(theirs) == 0 && !slices.Contains(peers, f.over) {
		return line(unmeasure, f.over+" was not asked for")
	}
	if len(mine) == 0 || f.over != "" && len(theirs) == 0 {
		return line(missed, "it was not measured")
	}
	number := func(n float64) string { return strconv.FormatFloat(n, 'g', 3, 64) }
	value, is := slices.Max(mine), false
	text := fmt.Sprintf("%s %s, at most %s %s", number(value), f.unit, number(f.limit), f.unit)
	if is = value <= f.limit; f.over != "" {
		value = middle(theirs) / middle(mine)
		is = value >= f.limit
		text = fmt.Sprintf("%s times faster than %s, at least %s times", number(value), f.over, number(f.limit))
	}
	switch {
	case is:
		return line(held, text)
	case f.known != "":
		return line(excepted, text+": "+f.known)
	}
	return line(missed, text)
}

func middle(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }

// verdicts are a line for each floor.
func verdicts(m measured, peers []string) string {
	var b strings.Builder
	for _, f := range floors() {
		b.WriteString(f.verdict(m, peers) + "\n")
	}
	return b.String()
}

func TestEachFloorHasItsVerdict(t *testing.T) {
	t.Parallel()
	plain := floor{what: "x", limit: 2, unit: "s"}
	ratio := floor{what: "x", limit: 3, over: "kubectl cp"}
	known := floor{what: "x", limit: 3, over: "kubectl cp", known: "why"}
	for name, tc := range map[string]struct {
		floor        floor
		mine, theirs []float64
		peers        []string
		want         string
	}{
		"held":                      {plain, []float64{1, 2}, nil, nil, "held     x: 2 s, at most 2 s"},
		"every run counts":          {plain, []float64{1, 2.5, 1}, nil, nil, "missed   x: 2.5 s, at most 2 s"},
		"not measured":              {plain, nil, nil, nil, "missed   x: it was not measured"},
		"faster":                    {ratio, []float64{1, 1, 9}, []float64{3, 3, 1}, nil, "held     x: 3 times faster than kubectl cp, at least 3 times"},
		"not so much":               {ratio, []float64{1}, []float64{2}, nil, "missed   x: 2 times faster than kubectl cp, at least 3 times"},
		"a known exception":         {known, []float64{2}, []float64{1}, nil, "known    x: 0.5 times faster than kubectl cp, at least 3 times: why"},
		"one that is none any more": {known, []float64{1}, []float64{4}, nil, "held     x: 4 times faster than kubectl cp, at least 3 times"},
		"a peer that is left out":   {ratio, []float64{1}, nil, []string{"mutagen"}, "left out x: kubectl cp was not asked for"},
		"one that did not run":      {ratio, []float64{1}, nil, []string{"kubectl cp"}, "missed   x: it was not measured"},
	} {
		m := measured{}
		for _, v := range tc.mine {
			m.add("x", "kfdev", v)
		}
		for _, v := range tc.theirs {
			m.add("x", "kubectl cp", v)
		}
		require.Equal(t, tc.want, tc.floor.verdict(m, tc.peers), name)
	}
	m := measured{}
	m.add("x", "mutagen v0.18.1", 1)
	require.Equal(t, []float64{1}, m["x"]["mutagen"])
	require.Equal(t, len(floors()), strings.Count(verdicts(m, nil), "\n"))
}
