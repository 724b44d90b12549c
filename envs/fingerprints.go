package envs

import (
	"cmp"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/fingerprint"
)

// fingerprints are the dimensions in which two environments are not the same.
// The one that releases come to first is what the other is held against, however
// they were named; of two that do not come after each other none is, and what
// either has less of counts.
func (e *Engine) fingerprints(a, b paritySide, rules fingerprint.Rules) []fingerprint.Finding {
	order := e.file.Environments
	forth := func() []fingerprint.Finding { return fingerprint.Compare(a.finger, b.finger, rules) }
	back := func() (out []fingerprint.Finding) {
		for _, f := range fingerprint.Compare(b.finger, a.finger, rules) {
			out = append(out, f.Swapped())
		}
		return out
	}
	switch {
	case order.Precedes(a.Environment, b.Environment):
		return forth()
	case order.Precedes(b.Environment, a.Environment):
		return back()
	}
	found, seen := forth(), map[string]bool{}
	for _, f := range found {
		seen[f.Path()] = true
	}
	for _, f := range back() {
		if !seen[f.Path()] {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(x, y fingerprint.Finding) int { return cmp.Compare(x.Path(), y.Path()) })
	return found
}

// budgeted counts what differs in the environments themselves, worst first.
func (e *Engine) budgeted(a, b string, found []fingerprint.Finding, budget *difference.Budget, now time.Time) []fingerprint.Finding {
	expired := map[string]bool{}
	for _, entry := range difference.Expired(e.file.Differences, now) {
		expired[entry.ID] = true
	}
	findings := append([]fingerprint.Finding{}, fingerprint.Declare(a, b, found, e.file.Differences)...)
	for _, f := range findings {
		switch {
		case f.Unknown:
			budget.Unknown++
		case !f.Allowed:
			budget.Undeclared++
		case expired[f.Entry]:
			budget.Expired++
		default:
			budget.Declared++
		}
	}
	order := func(f fingerprint.Finding) int {
		switch {
		case f.Allowed:
			return 2
		case f.Unknown:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(findings, func(x, y fingerprint.Finding) int { return cmp.Compare(order(x), order(y)) })
	return findings
}
