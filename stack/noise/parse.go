package noise

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/strictyaml"
)

const (
	core           = "core" // how the API group without a name is written
	whenAutoscaled = "autoscaled"
)

// maxRules bounds how many rules one text may have.
const maxRules = 1000

// The comments of the fields below speak to whoever writes rules.

// file is a list of rules as it is written.
type file struct {
	// What in objects is no difference.
	Fields []fieldRule `yaml:"fields,omitempty"`
	// What objects nobody has to have declared.
	Objects []objectRule `yaml:"objects,omitempty"`
}

type fieldRule struct {
	// What the rule is called: lower-case letters, digits and hyphens.
	Name string `yaml:"name"`
	// Why it is no difference.
	Reason string `yaml:"reason"`
	// Of which kinds: GROUP/Kind (core/Service), GROUP/*, or *.
	Kinds []string `yaml:"kinds"`
	// Where the paths begin; left out: at the object.
	Below []string `yaml:"below,omitempty"`
	// Paths, each with a regular expression that the whole value must match; empty: any value.
	Paths map[string]string `yaml:"paths"`
	// Also where kfdev applied the field itself.
	Applied bool `yaml:"applied,omitempty"`
	// Only where one of these field managers (with * for any part) owns it.
	Managers []string `yaml:"managers,omitempty"`
	// Only where nobody owns it: what the server itself filled in.
	Unowned bool `yaml:"unowned,omitempty"`
	// Only where the object is "autoscaled".
	When string `yaml:"when,omitempty"`
	// Only where the value is what the API server makes of the rest of the object: "directions", "limits", "pull-policy" or "replacement".
	Derived string `yaml:"derived,omitempty"`
}

type objectRule struct {
	Name   string   `yaml:"name"`
	Reason string   `yaml:"reason"`
	Kinds  []string `yaml:"kinds"`
	// Only those of these names (with * for any part).
	Names []string `yaml:"names,omitempty"`
	// Only those that a controller object of these kinds owns.
	Owners []string `yaml:"owners,omitempty"`
	// Only those with this annotation.
	Annotation string `yaml:"annotation,omitempty"`
	// Only those with this label.
	Label string `yaml:"label,omitempty"`
}

// Parse reads rules. The error is every problem with its place.
func Parse(name string, data []byte) (Rules, error) {
	var f file
	doc, problems := strictyaml.Decode(name, data, &f)
	if doc == nil {
		return Rules{}, problems.Err()
	}
	p := parser{doc: doc, names: map[string]bool{}}
	if len(f.Fields)+len(f.Objects) > maxRules {
		p.add(fmt.Sprintf("more than %d rules", maxRules))
		return Rules{}, append(problems, p.problems...).Err()
	}
	var r Rules
	for i, each := range f.Fields {
		r.fields = append(r.fields, p.field(each, "fields", i))
	}
	for i, each := range f.Objects {
		r.objects = append(r.objects, p.object(each, "objects", i))
	}
	if err := append(problems, p.problems...).Err(); err != nil {
		return Rules{}, err
	}
	return r, nil
}

type parser struct {
	doc      *strictyaml.Document
	names    map[string]bool
	problems strictyaml.Problems
}

func (p *parser) add(text string, at ...any) { p.problems = append(p.problems, p.doc.At(text, at...)) }

func (p *parser) head(name, reason string, kinds []string, at ...any) {
	under := func(more ...any) []any { return append(slices.Clip(at), more...) }
	switch {
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		p.add("name: lower-case letters, digits and hyphens are wanted", under("name")...)
	case p.names[name]:
		p.add(fmt.Sprintf("name: %q comes twice", name), under("name")...)
	}
	p.names[name] = true
	if strings.TrimSpace(reason) == "" {
		p.add("reason: say why it is no difference", under("reason")...)
	}
	if len(kinds) == 0 {
		p.add("kinds: name a kind as GROUP/Kind, or *", under("kinds")...)
	}
	p.kinds(kinds, under("kinds")...)
}

func (p *parser) kinds(kinds []string, at ...any) {
	for i, k := range kinds {
		group, kind, ok := strings.Cut(k, "/")
		if k != "*" && (!ok || group == "" || group == "*" || kind == "" || strings.ContainsAny(kind, "/")) {
			p.add(fmt.Sprintf("%q: a kind is written GROUP/Kind (core is the group of Pods), GROUP/* or *", k), append(slices.Clip(at), i)...)
		}
	}
}

func (p *parser) globs(globs []string, at ...any) {
	for i, g := range globs {
		if _, err := path.Match(g, ""); err != nil || g == "" {
			p.add(fmt.Sprintf("%q is no pattern", g), append(slices.Clip(at), i)...)
		}
	}
}

func (p *parser) field(f fieldRule, at ...any) field {
	under := func(more ...any) []any { return append(slices.Clip(at), more...) }
	p.head(f.Name, f.Reason, f.Kinds, at...)
	p.globs(f.Managers, under("managers")...)
	if f.When != "" && f.When != whenAutoscaled {
		p.add(fmt.Sprintf("when: only %q can be asked", whenAutoscaled), under("when")...)
	}
	if f.Unowned && (f.Applied || len(f.Managers) > 0) {
		p.add("unowned: what nobody owns has no managers", under("unowned")...)
	}
	if len(f.Paths) == 0 {
		p.add("paths: a rule needs a path", under("paths")...)
	}
	out := field{name: f.Name, reason: f.Reason, kinds: f.Kinds, wanted: f.Applied, unowned: f.Unowned, managers: f.Managers, when: f.When, derived: f.Derived, derive: p.derivation(f.Derived, under("derived")...)}
	var below []Path
	for i, b := range f.Below {
		parsed, err := ParsePath(b)
		if err != nil {
			p.add(fmt.Sprintf("below: %q: %s", b, err), under("below", i)...)
		}
		below = append(below, parsed)
	}
	if len(below) == 0 {
		below = []Path{nil}
	}
	for _, text := range sorted(f.Paths) {
		parsed, err := ParsePath(text)
		if err != nil {
			p.add(fmt.Sprintf("paths: %q: %s", text, err), under("paths", text)...)
			continue
		}
		value, err := compile(f.Paths[text])
		if err != nil {
			p.add(fmt.Sprintf("paths: %q: %s", text, err), under("paths", text)...)
			continue
		}
		for _, b := range below {
			out.places = append(out.places, pattern{path: slices.Concat(b, parsed), value: value})
		}
	}
	if len(below) == 1 && below[0] == nil && slices.ContainsFunc(out.places, identity) {
		p.add("paths: an object's kind and name are no noise", under("paths")...)
	}
	return out
}

// derivation returns what a rule asks for by name; nil where it does not.
func (p *parser) derivation(name string, at ...any) derivation {
	d := derivations()[name]
	if name != "" && d == nil {
		p.add("derived: directions, limits, pull-policy or replacement can be asked", at...)
	}
	return d
}

// identity reports whether a path would take away what names an object, or all
// of what it says.
func identity(at pattern) bool {
	first := at.path[0].Key
	switch {
	case first == "apiVersion" || first == "kind":
		return true
	case len(at.path) == 1:
		return first == "metadata" || first == "spec" || first == "data"
	}
	return first == "metadata" && (at.path[1].Key == "name" || at.path[1].Key == "namespace" || at.path[1].All)
}

func (p *parser) object(o objectRule, at ...any) object {
	under := func(more ...any) []any { return append(slices.Clip(at), more...) }
	p.head(o.Name, o.Reason, o.Kinds, at...)
	p.globs(o.Names, under("names")...)
	p.kinds(o.Owners, under("owners")...)
	if slices.Contains(o.Kinds, "*") && len(o.Names)+len(o.Owners) == 0 && o.Annotation == "" && o.Label == "" {
		p.add("a rule for every kind needs names, owners, an annotation or a label: else nothing is foreign", at...)
	}
	return object{name: o.Name, reason: o.Reason, kinds: o.Kinds, names: o.Names, owners: o.Owners, annotation: o.Annotation, label: o.Label}
}

func compile(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // any value will do
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
