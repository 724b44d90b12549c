package npm

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Lock is what is used of a package-lock.json (lockfileVersion 3): the packages
// that an installation without development dependencies on linux/amd64 with
// glibc has, in path order.
type Lock struct {
	Packages []Package
}

// Package is one place in node_modules and what lies there.
type Package struct {
	Path      string // below the prefix: node_modules/a/node_modules/b
	Name      string // as the registry has it: @scope/name
	Version   string
	Integrity string            // sha512-<base64>
	Bin       map[string]string // program name: file below Path
}

type lockFile struct {
	LockfileVersion int                  `json:"lockfileVersion"`
	Packages        map[string]lockEntry `json:"packages"`
}

type lockEntry struct {
	Name             string          `json:"name"`
	Version          string          `json:"version"`
	Resolved         string          `json:"resolved"`
	Integrity        string          `json:"integrity"`
	Bin              json.RawMessage `json:"bin"`
	Link             bool            `json:"link"`
	Dev              bool            `json:"dev"`
	Optional         bool            `json:"optional"`
	HasInstallScript bool            `json:"hasInstallScript"`
	InBundle         bool            `json:"inBundle"`
	OS               []string        `json:"os"`
	CPU              []string        `json:"cpu"`
	Libc             []string        `json:"libc"`
}

var (
	packagePath = regexp.MustCompile(`^(?:node_modules/(?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9._~-]+/)*node_modules/((?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9._~-]+)$`)
	packageName = regexp.MustCompile(`^(?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9._~][A-Za-z0-9._~-]*$`) // never an option
	binName     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	version     = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?$`)
)

// ParseLock reads a package-lock.json. A package that does not come from a
// registry by its sha512, that names a host, or that wants to run a script when
// it is installed is refused. All problems come back at once.
func ParseLock(data []byte) (Lock, error) {
	var file lockFile
	if err := json.Unmarshal(data, &file); err != nil {
		return Lock{}, fmt.Errorf("reading the lock: %w", err)
	}
	if file.LockfileVersion != 3 {
		return Lock{}, fmt.Errorf("lockfileVersion %d: only 3 is known", file.LockfileVersion)
	}
	var lock Lock
	var problems []error
	for place, entry := range file.Packages {
		if place == "" || entry.Dev || entry.Optional && !entry.fits() {
			continue
		}
		p, err := entry.check(place)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", place, err))
			continue
		}
		lock.Packages = append(lock.Packages, p)
	}
	if len(file.Packages) == 0 {
		problems = append(problems, errors.New("the lock holds no packages"))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	slices.SortFunc(lock.Packages, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	return lock, errors.Join(problems...)
}

func (e lockEntry) check(place string) (Package, error) {
	found := packagePath.FindStringSubmatch(place)
	if found == nil || path.Clean(place) != place {
		return Package{}, errors.New("is not a place in node_modules")
	}
	p := Package{Path: place, Name: found[1], Version: e.Version}
	if e.Name != "" {
		p.Name = e.Name
	}
	var err error
	switch {
	case e.Link || e.InBundle:
		return Package{}, errors.New("is a link or bundled, not a package of a registry")
	case e.Resolved != "":
		return Package{}, fmt.Errorf("says where it comes from (%q); a lock names no host", e.Resolved)
	case e.HasInstallScript:
		return Package{}, errors.New("wants to run a script when it is installed, and none is ever run")
	case !e.fits():
		return Package{}, errors.New("is not for linux/amd64 with glibc")
	case !packageName.MatchString(p.Name):
		return Package{}, fmt.Errorf("the name %q is not one of a package", p.Name)
	case !version.MatchString(e.Version):
		return Package{}, fmt.Errorf("version %q is not exact", e.Version)
	}
	if p.Integrity, err = sha512Of(e.Integrity); err != nil {
		return Package{}, err
	}
	p.Bin, err = bins(e.Bin, p.Name)
	return p, err
}

// sha512Of takes the sha512 out of a subresource integrity text.
func sha512Of(integrity string) (string, error) {
	for each := range strings.FieldsSeq(integrity) {
		digest, ok := strings.CutPrefix(each, "sha512-")
		if !ok {
			continue
		}
		digest, _, _ = strings.Cut(digest, "?")
		if raw, err := base64.StdEncoding.Strict().DecodeString(digest); err == nil && len(raw) == 64 {
			return "sha512-" + digest, nil
		}
	}
	return "", fmt.Errorf("integrity %q holds no sha512", integrity)
}

// bins reads the programs of a package: one path, or name to path.
func bins(raw json.RawMessage, name string) (map[string]string, error) {
	var many map[string]string
	var one string
	switch {
	case len(raw) == 0:
	case json.Unmarshal(raw, &one) == nil && one != "":
		many = map[string]string{path.Base(name): one}
	default:
		if err := json.Unmarshal(raw, &many); err != nil {
			return nil, fmt.Errorf("bin: %w", err)
		}
	}
	out := make(map[string]string, len(many))
	for program, file := range many {
		file = path.Clean(file)
		if !binName.MatchString(program) || !safeName(file) {
			return nil, fmt.Errorf("bin %q: %q leaves the package, or is no name", program, file)
		}
		out[program] = file
	}
	return out, nil
}

// fits says whether the package is for linux/amd64 with glibc.
func (e lockEntry) fits() bool {
	return allows(e.OS, "linux") && allows(e.CPU, "x64") && allows(e.Libc, "glibc")
}

// allows reads npm's lists: "!x" forbids x; where anything is allowed by name,
// nothing else is.
func allows(list []string, value string) bool {
	named := false
	for _, each := range list {
		if denied, ok := strings.CutPrefix(each, "!"); ok {
			if denied == value {
				return false
			}
			continue
		}
		if each == value || each == "any" {
			return true
		}
		named = true
	}
	return !named
}

// safeName says whether a name is a clean relative path that stays below where
// it is unpacked.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !path.IsAbs(name) && path.Clean(name) == name &&
		!strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\\\x00\n\r")
}
