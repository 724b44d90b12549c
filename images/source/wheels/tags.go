package wheels

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Filename is what a wheel's file name says (binary distribution format of the
// Python packaging specifications).
type Filename struct {
	Distribution string // normalized name
	Version      string // as written
	Build        string // build tag, mostly empty
	Pythons      []string
	ABIs         []string
	Platforms    []string
}

var filenamePart = regexp.MustCompile(`^[A-Za-z0-9_.!+]+$`)

// ParseFilename reads name-version[-build]-python-abi-platform.whl.
func ParseFilename(file string) (Filename, error) {
	parts := strings.Split(strings.TrimSuffix(file, ".whl"), "-")
	if !strings.HasSuffix(file, ".whl") || len(parts) < 5 || len(parts) > 6 {
		return Filename{}, fmt.Errorf("%q is not a wheel's file name", file)
	}
	for _, p := range parts {
		if !filenamePart.MatchString(p) {
			return Filename{}, fmt.Errorf("%q is not a wheel's file name: part %q", file, p)
		}
	}
	n := len(parts)
	name := Filename{
		Distribution: NormalizeName(parts[0]),
		Version:      parts[1],
		Pythons:      strings.Split(parts[n-3], "."),
		ABIs:         strings.Split(parts[n-2], "."),
		Platforms:    strings.Split(parts[n-1], "."),
	}
	if n == 6 {
		name.Build = parts[2]
	}
	return name, nil
}

// tagSet is what one interpreter on one platform takes, best first.
type tagSet struct {
	minor     int      // of Python 3
	platforms []string // without "any"
}

func (t tagSet) String() string { return fmt.Sprintf("CPython 3.%d on %s", t.minor, t.platforms[0]) }

// newTagSet makes the set for an exact Python version and a manylinux platform
// such as manylinux_2_36_x86_64 (glibc 2.36 and anything older).
func newTagSet(python, platform string) (tagSet, error) {
	if !pythonVersion.MatchString(python) {
		return tagSet{}, fmt.Errorf("python %q is not an exact version such as 3.11.2", python)
	}
	minor, err := strconv.Atoi(strings.Split(python, ".")[1])
	if err != nil {
		return tagSet{}, fmt.Errorf("python %q: %w", python, err)
	}
	rest, ok := strings.CutPrefix(platform, "manylinux_2_")
	glibc, arch, _ := strings.Cut(rest, "_")
	newest, err := strconv.Atoi(glibc)
	if !ok || err != nil || newest < 5 || newest > 99 || (arch != "x86_64" && arch != "aarch64") {
		return tagSet{}, fmt.Errorf("platform %q is not one such as manylinux_2_36_x86_64", platform)
	}
	set := tagSet{minor: minor}
	// The names that manylinux had before it counted glibc versions.
	aliases := map[int]string{17: "manylinux2014_", 12: "manylinux2010_", 5: "manylinux1_"}
	oldest := 5
	if arch == "aarch64" {
		oldest = 17
	}
	for v := newest; v >= oldest; v-- {
		set.platforms = append(set.platforms, fmt.Sprintf("manylinux_2_%d_%s", v, arch))
		if alias, ok := aliases[v]; ok {
			set.platforms = append(set.platforms, alias+arch)
		}
	}
	set.platforms = append(set.platforms, "linux_"+arch)
	return set, nil
}

// rank says how well a wheel fits, 0 best; -1 where it does not. The order is
// the one that installers use: the interpreter's own ABI before the stable one
// before none, then the newer Python, then the newer platform.
func (t tagSet) rank(name Filename) int {
	best := -1
	for _, python := range name.Pythons {
		for _, abi := range name.ABIs {
			for _, platform := range name.Platforms {
				if r := t.rankTag(python, abi, platform); r >= 0 && (best < 0 || r < best) {
					best = r
				}
			}
		}
	}
	return best
}

const (
	rankStep  = 10_000 // between groups of tags, more than Pythons times platforms
	pythonGap = 200    // between Pythons of a group, more than platforms
)

func (t tagSet) rankTag(python, abi, platform string) int {
	position := slices.Index(t.platforms, platform)
	if platform == "any" {
		position = len(t.platforms)
	}
	if position < 0 {
		return -1
	}
	own := "cp3" + strconv.Itoa(t.minor)
	age := t.age(python)
	switch {
	case age < 0:
		return -1
	case python == own && abi == own:
		return position
	case abi == "abi3" && strings.HasPrefix(python, "cp"):
		return rankStep + age*pythonGap + position
	case abi == "none" && platform != "any":
		return 2*rankStep + age*pythonGap + position
	case abi == "none":
		return 3*rankStep + age*pythonGap + position
	}
	return -1
}

// age is by how many minor versions a Python tag is older than the
// interpreter; -1 where the interpreter does not take it. The bare py3 is
// counted as the oldest.
func (t tagSet) age(python string) int {
	digits, ok := strings.CutPrefix(python, "cp3")
	if !ok {
		digits, ok = strings.CutPrefix(python, "py3")
	}
	if !ok {
		return -1
	}
	if digits == "" {
		return t.minor + 1
	}
	minor, err := strconv.Atoi(digits)
	if err != nil || minor < 0 || minor > t.minor {
		return -1
	}
	return t.minor - minor
}

// Best returns the index of the file that the interpreter takes first among
// wheels of one version, or -1 where none fits. Where two rank alike the one
// with the greater build tag, then the lesser name, is taken.
func Best(files []string, python, platform string) (int, error) {
	tags, err := newTagSet(python, platform)
	if err != nil {
		return -1, err
	}
	best, bestRank := -1, 0
	var bestName Filename
	for i, file := range files {
		name, err := ParseFilename(file)
		if err != nil {
			return -1, err
		}
		rank := tags.rank(name)
		if rank < 0 {
			continue
		}
		if best < 0 || rank < bestRank || rank == bestRank && better(name, bestName, file, files[best]) {
			best, bestRank, bestName = i, rank, name
		}
	}
	return best, nil
}

func better(a, b Filename, fileA, fileB string) bool {
	if a.Build != b.Build {
		return a.Build > b.Build
	}
	return fileA < fileB
}
