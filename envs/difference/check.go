package difference

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Registry is the ID of the difference that is built in: the registry that an
// image is pulled from.
const Registry = "registry"

const maxID = 63

// Check returns what is wrong with a project's entries, as far as that can be
// told without the objects; environments are all that the project has. At leads
// from the list of entries on.
func Check(entries []Entry, environments []string) []Problem {
	var out []Problem
	seen := map[string]bool{}
	for i, e := range entries {
		for _, p := range e.Check(environments) {
			out = append(out, Problem{At: append([]any{i}, p.At...), Key: p.Key, Text: p.Text})
		}
		if seen[e.ID] && e.ID != "" {
			out = append(out, Problem{At: []any{i, "id"}, Text: fmt.Sprintf("the id %q comes twice", e.ID)})
		}
		seen[e.ID] = true
	}
	return out
}

// Check returns what is wrong with one entry.
func (e Entry) Check(environments []string) []Problem {
	c := &checker{entry: e}
	c.head()
	c.problems = append(c.problems, e.Allow.check()...)
	broken := len(c.problems) > 0 && slices.ContainsFunc(c.problems, func(p Problem) bool { return p.At[0] == "allow" })
	for i, p := range e.Paths {
		c.path(i, p)
	}
	c.values(environments, broken)
	return c.problems
}

type checker struct {
	entry    Entry
	problems []Problem
}

func (c *checker) add(at []any, format string, args ...any) {
	c.problems = append(c.problems, Problem{At: at, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) head() {
	e := c.entry
	switch ok, err := regexp.MatchString(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, e.ID); {
	case e.ID == "":
		c.add([]any{"id"}, "an id is missing: say in a word or two what differs")
	case err != nil || !ok || len(e.ID) > maxID:
		c.add([]any{"id"}, "%q cannot be an id: lower-case letters, digits and hyphens, at most %d", e.ID, maxID)
	case e.ID == Registry:
		c.add([]any{"id"}, "the id %q is built in: images may come from another registry without an entry", e.ID)
	}
	if len(e.Paths) == 0 {
		c.add([]any{"paths"}, "paths are missing: name the fields that differ, as apps/Deployment/NAME/spec/replicas")
	}
	if strings.TrimSpace(e.Reason) == "" {
		c.add([]any{"reason"}, "a reason is missing: say why it has to differ")
	}
	if strings.TrimSpace(e.Owner) == "" {
		c.add([]any{"owner"}, "an owner is missing: say who answers for it")
	}
}

func (c *checker) path(i int, p fieldpath.Path) {
	at := []any{"paths", i}
	text := p.String()
	domain := c.entry.Allow
	switch {
	case p.IsZero():
		c.add(at, "a path is missing")
		return
	case slices.ContainsFunc(c.entry.Paths[:i], func(o fieldpath.Path) bool { return o.String() == text }):
		c.add(at, "the path comes twice: %s", text)
	case (p.Dimension == "") != (c.entry.Paths[0].Dimension == ""):
		c.add(at, "dimensions of the fingerprint and fields of objects do not go together in one entry")
		return
	case p.Dimension != "":
		return
	case p.Whole():
		if domain.Type != Presence {
			c.add(at, "the path leads to a whole object: write allow: {type: presence}, or name a field of it")
		}
		return
	}
	c.identity(at, p)
	c.place(at, p)
}

// place holds the last step of a path against the domain.
func (c *checker) place(at []any, p fieldpath.Path) {
	domain := c.entry.Allow
	last := p.Fields[len(p.Fields)-1]
	switch placed := last.Kind == fieldpath.Index || last.Kind == fieldpath.All; {
	case p.Text != nil && (domain.Type == Presence || domain.Optional || domain.Type == Object || domain.Type == List):
		c.add(at, "a place inside a text has one value and is always there: write a type for one value")
	case last.Kind == fieldpath.Value && domain.Type != Presence:
		c.add(at, "%s is there or is not: write allow: {type: presence}", last)
	case placed && (domain.Type == Presence || domain.Optional):
		c.add(at, "%s would be another element without this one: lead there with [key=value] or [=value], or name the whole list", last)
	case domain.Optional && !fieldpath.Makeable(p.Fields[len(p.Fields)-1:]):
		c.add(at, "%s cannot be left out", last)
	}
}

// identity refuses what makes an object another one, what only the server
// writes, and the values of Secrets.
func (c *checker) identity(at []any, p fieldpath.Path) {
	field := fieldpath.Render(p.Fields)
	switch first := p.Fields[0].Key; {
	case first == "apiVersion", first == "kind", first == "status", field == "metadata",
		field == "metadata/name", field == "metadata/namespace", field == "metadata/uid":
		c.add(at, "%s cannot differ: it is the object's identity, or the server's", field)
	case hidden(p.Group, p.Kind, p.Fields):
		c.add(at, "a Secret's content is no value of an entry: it is given by reference, for each environment")
	}
}

func (c *checker) values(environments []string, broken bool) {
	e := c.entry
	dimension := len(e.Paths) > 0 && e.Paths[0].Dimension != ""
	for _, name := range slices.Sorted(maps.Keys(e.Values)) {
		at := []any{"values", name}
		if !slices.Contains(environments, name) {
			fix := "the project has " + strings.Join(environments, ", ")
			if near := strictyaml.Nearest(name, environments); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			c.add(at, "there is no environment %q: %s", name, fix)
			c.problems[len(c.problems)-1].Key = true
		}
		c.value(at, e.Values[name], broken)
	}
	if e.Default != nil {
		c.value([]any{"default"}, e.Default, broken)
	}
	if dimension {
		return // what a cluster is, is found and not set
	}
	for _, name := range environments {
		if _, ok := e.Values[name]; !ok && e.Default == nil {
			c.add([]any{"values"}, "%s has no value, and there is no default: write %s: VALUE%s", name, name, c.orNull())
		}
	}
}

func (c *checker) orNull() string {
	switch {
	case c.entry.Allow.Optional:
		return ", or null where the field is left out"
	case c.entry.Allow.Type == Presence:
		return ", true or false"
	}
	return ""
}

func (c *checker) value(at []any, v any, broken bool) {
	v, err := normal(v)
	if err == nil && !broken {
		err = c.entry.allowsValue(v)
	}
	if err != nil {
		c.add(at, "%v", err)
	}
}

// allowsValue holds what an entry says for an environment against its domain.
func (e Entry) allowsValue(v any) error {
	if e.Allow.Type == Presence {
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s is not allowed: presence is true or false", show(v))
		}
		return nil
	}
	return e.Allow.Allows(v, v != nil)
}
