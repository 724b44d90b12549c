package deb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Closure follows Depends and Pre-Depends from the asked packages through the
// given stanzas. It returns the names that were reached, sorted, and what is
// not met, in words: an asked package that is not there, a dependency that no
// reached or reachable package of the set provides. A stanza that cannot be
// read is an error.
func Closure(stanzas []Stanza, asked []string) (reached, unmet []string, err error) {
	set, err := index(stanzas)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	var queue []string
	visit := func(name string) {
		if !seen[name] {
			seen[name] = true
			queue = append(queue, name)
		}
	}
	for _, name := range asked {
		if provider := set.provider(Relation{Name: name}); provider != "" {
			visit(provider)
		} else {
			unmet = append(unmet, name+" is asked for")
		}
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, group := range set.needs[name] {
			provider := ""
			for _, relation := range group {
				if provider = set.provider(relation); provider != "" {
					break
				}
			}
			if provider == "" {
				unmet = append(unmet, fmt.Sprintf("%s needs %v", name, group))
				continue
			}
			visit(provider)
		}
	}
	for name := range seen {
		reached = append(reached, name)
	}
	slices.Sort(reached)
	slices.Sort(unmet)
	return reached, unmet, nil
}

// packageSet answers who provides what within a set of packages.
type packageSet struct {
	versions map[string]string
	provides map[string][]provision // by the provided name, providers sorted
	needs    map[string][][]Relation
}

type provision struct{ by, version string }

func index(stanzas []Stanza) (packageSet, error) {
	set := packageSet{map[string]string{}, map[string][]provision{}, map[string][][]Relation{}}
	for _, s := range stanzas {
		name := s.Get("Package")
		set.versions[name] = s.Get("Version")
		for _, field := range []string{"Pre-Depends", "Depends"} {
			groups, err := ParseRelations(s.Get(field))
			if err != nil {
				return packageSet{}, fmt.Errorf("%s of %s: %w", field, name, err)
			}
			set.needs[name] = append(set.needs[name], groups...)
		}
		groups, err := ParseRelations(s.Get("Provides"))
		if err != nil {
			return packageSet{}, fmt.Errorf("%s of %s: %w", "Provides", name, err)
		}
		for _, group := range groups {
			for _, relation := range group {
				set.provides[relation.Name] = append(set.provides[relation.Name], provision{name, relation.Version})
			}
		}
	}
	for _, providers := range set.provides {
		slices.SortFunc(providers, func(a, b provision) int {
			return cmp.Or(strings.Compare(a.by, b.by), strings.Compare(a.version, b.version))
		})
	}
	return set, nil
}

// provider returns the package that meets the relation, a real one before one
// that provides it, or "". An unversioned Provides meets no versioned relation
// (Policy 7.5).
func (p packageSet) provider(r Relation) string {
	if version, ok := p.versions[r.Name]; ok && r.Allows(version) {
		return r.Name
	}
	for _, candidate := range p.provides[r.Name] {
		if r.Operator == "" || candidate.version != "" && r.Allows(candidate.version) {
			return candidate.by
		}
	}
	return ""
}
