package deb

import (
	"cmp"
	"fmt"
	"strings"
)

// CompareVersions orders two versions as deb-version(7) says: -1, 0 or 1.
func CompareVersions(a, b string) int {
	epochA, restA := cutEpoch(a)
	epochB, restB := cutEpoch(b)
	if c := compareDigits(epochA, epochB); c != 0 {
		return c
	}
	upstreamA, revisionA := cutRevision(restA)
	upstreamB, revisionB := cutRevision(restB)
	if c := comparePart(upstreamA, upstreamB); c != 0 {
		return c
	}
	return comparePart(revisionA, revisionB)
}

func cutEpoch(v string) (epoch, rest string) {
	if epoch, rest, ok := strings.Cut(v, ":"); ok {
		return epoch, rest
	}
	return "", v
}

func cutRevision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// comparePart compares by turns a run of other characters and a run of digits.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		i, j := 0, 0
		for {
			orderA, orderB := order(a, i), order(b, j)
			if orderA == 0 && orderB == 0 {
				break
			}
			if c := cmp.Compare(orderA, orderB); c != 0 {
				return c
			}
			i, j = i+1, j+1
		}
		a, b = a[i:], b[j:]
		endA, endB := digits(a), digits(b)
		if c := compareDigits(a[:endA], b[:endB]); c != 0 {
			return c
		}
		a, b = a[endA:], b[endB:]
	}
	return 0
}

// order ranks the character at i: ~ before the end, the end (and a digit, which
// ends the run) before letters, letters before all else.
func order(s string, i int) int {
	switch {
	case i >= len(s) || isDigit(s[i]):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// compareDigits compares numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// Relation is one alternative of a dependency: a name and, where Operator is
// not empty, what its version must be.
type Relation struct{ Name, Operator, Version string }

// String writes the relation as a control file has it.
func (r Relation) String() string {
	if r.Operator == "" {
		return r.Name
	}
	return fmt.Sprintf("%s (%s %s)", r.Name, r.Operator, r.Version)
}

// Allows reports whether the version satisfies the relation.
func (r Relation) Allows(version string) bool {
	c := CompareVersions(version, r.Version)
	switch r.Operator {
	case "":
		return true
	case "=":
		return c == 0
	case "<<":
		return c < 0
	case ">>":
		return c > 0
	case "<=", "<": // "<" and ">" are the old names of "<=" and ">=" (Policy 7.1)
		return c <= 0
	case ">=", ">":
		return c >= 0
	}
	return false
}

// ParseRelations reads a Depends, Pre-Depends or Provides field: every group
// must be met, by any of its alternatives. An architecture qualifier is
// dropped, since kfdev takes packages of one architecture only.
func ParseRelations(field string) ([][]Relation, error) {
	var groups [][]Relation
	for group := range strings.SplitSeq(field, ",") {
		group = strings.TrimSpace(group)
		if group == "" {
			continue
		}
		var alternatives []Relation
		for one := range strings.SplitSeq(group, "|") {
			relation, err := parseRelation(strings.TrimSpace(one))
			if err != nil {
				return nil, err
			}
			alternatives = append(alternatives, relation)
		}
		groups = append(groups, alternatives)
	}
	return groups, nil
}

func parseRelation(text string) (Relation, error) {
	name, rest, versioned := strings.Cut(text, "(")
	name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
	if name == "" || strings.ContainsFunc(name, not(nameRune)) {
		return Relation{}, fmt.Errorf("%q is not a relation to a package", text)
	}
	if !versioned {
		return Relation{Name: name}, nil
	}
	inside, after, closed := strings.Cut(rest, ")")
	inside = strings.TrimSpace(inside)
	end := 0
	for end < len(inside) && strings.IndexByte("<>=", inside[end]) >= 0 {
		end++
	}
	relation := Relation{Name: name, Operator: inside[:end], Version: strings.TrimSpace(inside[end:])}
	switch relation.Operator {
	case "=", "<<", ">>", "<=", ">=", "<", ">":
	default:
		closed = false
	}
	if !closed || strings.TrimSpace(after) != "" || relation.Version == "" || strings.ContainsFunc(relation.Version, not(versionRune)) {
		return Relation{}, fmt.Errorf("%q is not a relation to a package", text)
	}
	return relation, nil
}

// nameRune reports whether a package's name may hold r (Policy 5.6.1, upper
// case let through).
func nameRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-.", r)
}

// versionRune reports whether a version may hold r (Policy 5.6.12).
func versionRune(r rune) bool { return nameRune(r) || r == '~' || r == ':' }

func not(f func(rune) bool) func(rune) bool { return func(r rune) bool { return !f(r) } }
