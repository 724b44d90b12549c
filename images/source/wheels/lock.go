package wheels

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/images/recipe"
)

// LockVersion is the version of the lock files this package reads and writes.
const LockVersion = "kfdev.dev/v1alpha1"

// Lock is the closure of a recipe's Python requirements for one interpreter:
// exactly one wheel file for each distribution. It names no host. The program
// internal/gen/wheels writes it; people edit the .in file beside it instead.
type Lock struct {
	APIVersion string
	Python     string // exact interpreter version it was resolved for: 3.11.2
	Platform   string // newest wheel platform taken: manylinux_2_36_x86_64
	Wheels     []Wheel
}

// Wheel is one locked wheel.
type Wheel struct {
	Name    string // normalized distribution name (PEP 503)
	Version string // PEP 440
	File    string // wheel file name
	Size    int64  // bytes
	SHA256  string // hex
}

// lockFile and lockWheel are the lock as it is on disk.
type lockFile struct {
	APIVersion string      `yaml:"apiVersion"`
	Kind       string      `yaml:"kind"`
	Python     string      `yaml:"python"`
	Platform   string      `yaml:"platform"`
	Wheels     []lockWheel `yaml:"wheels"`
}

type lockWheel struct {
	File   string `yaml:"file"`
	Size   int64  `yaml:"size"`
	SHA256 string `yaml:"sha256"`
}

var (
	pythonVersion = regexp.MustCompile(`^3\.[0-9]{1,2}\.[0-9]{1,2}$`)
	hexSHA256     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nameRuns      = regexp.MustCompile(`[-_.]+`)
)

// NormalizeName returns the distribution name as PEP 503 compares names.
func NormalizeName(name string) string {
	return strings.ToLower(nameRuns.ReplaceAllString(name, "-"))
}

// ParseLock reads a lock strictly: an unknown key, a file that is not a wheel
// for the lock's interpreter, a bad hash or a distribution named twice is an
// error. All such errors come back at once.
func ParseLock(data []byte) (Lock, error) {
	var file lockFile
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return Lock{}, fmt.Errorf("reading the lock: %w", err)
	}
	var problems []error
	if file.APIVersion != LockVersion || file.Kind != "WheelLock" {
		problems = append(problems, fmt.Errorf("apiVersion %q, kind %q: want %s, WheelLock", file.APIVersion, file.Kind, LockVersion))
	}
	tags, err := newTagSet(file.Python, file.Platform)
	if err != nil {
		return Lock{}, errors.Join(append(problems, err)...)
	}
	lock := Lock{APIVersion: file.APIVersion, Python: file.Python, Platform: file.Platform}
	seen := map[string]bool{}
	for _, w := range file.Wheels {
		wheel, err := checkWheel(w, tags)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if seen[wheel.Name] {
			problems = append(problems, fmt.Errorf("%s: the distribution %s comes twice", w.File, wheel.Name))
		}
		seen[wheel.Name] = true
		lock.Wheels = append(lock.Wheels, wheel)
	}
	if len(file.Wheels) == 0 {
		problems = append(problems, errors.New("the lock holds no wheels"))
	}
	return lock, errors.Join(problems...)
}

func checkWheel(w lockWheel, tags tagSet) (Wheel, error) {
	name, err := ParseFilename(w.File)
	switch {
	case err != nil:
		return Wheel{}, err
	case !hexSHA256.MatchString(w.SHA256):
		return Wheel{}, fmt.Errorf("%s: sha256 %q is not 64 lower-case hexadecimal digits", w.File, w.SHA256)
	case w.Size <= 0:
		return Wheel{}, fmt.Errorf("%s: size %d is not positive", w.File, w.Size)
	case tags.rank(name) < 0:
		return Wheel{}, fmt.Errorf("%s is not for %s", w.File, tags)
	}
	return Wheel{Name: name.Distribution, Version: name.Version, File: w.File, Size: w.Size, SHA256: w.SHA256}, nil
}

// Marshal writes the lock as its file: sorted by name, one wheel a line, the
// same bytes for the same lock. Header lines go in as comments.
func (l Lock) Marshal(header ...string) []byte {
	var b strings.Builder
	for _, line := range header {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	fmt.Fprintf(&b, "apiVersion: %s\nkind: WheelLock\npython: %s\nplatform: %s\nwheels:\n", LockVersion, l.Python, l.Platform)
	sorted := slices.Clone(l.Wheels)
	slices.SortFunc(sorted, func(a, b Wheel) int { return strings.Compare(a.Name, b.Name) })
	for _, w := range sorted {
		fmt.Fprintf(&b, "  - {file: %s, size: %d, sha256: %s}\n", w.File, w.Size, w.SHA256)
	}
	return []byte(b.String())
}

// input is the wheel as the project's lock records it.
func (w Wheel) input() recipe.Input {
	return recipe.Input{Kind: Kind, Name: w.Name, Version: w.Version, File: w.File, Size: w.Size, Hash: "sha256:" + w.SHA256}
}
