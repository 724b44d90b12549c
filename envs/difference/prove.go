package difference

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/difference/structure"
	"github.com/kfdev/kfdev/internal/fault"
)

// Prover shows that nothing differs between environments but what entries
// declare.
type Prover struct {
	Entries []Entry
	// Images are, by environment, the images that are pulled from a registry of
	// its own. An environment without uses the names that the lock has.
	Images map[string]Relocated
	// Key keys the hashes that stand for secret values; without one there are none.
	Key []byte
	// Source returns the object that another was made from, as ByOwner does.
	Source func(*unstructured.Unstructured) (ObjectRef, bool)
}

// Proof is what a comparison of environments found.
type Proof struct {
	Findings []Finding // by pair of environments, object and field
	Equal    int       // fields that were the same, over all pairs
	BuiltIn  int       // places of images that differ in nothing but their registry
}

// Prove compares the renders of every pair of environments and returns every
// difference, those that entries allow too; Err makes an error of the others.
func Prove(renders map[string][]*unstructured.Unstructured, entries []Entry) ([]Finding, error) {
	proof, err := Prover{Entries: entries}.Prove(renders)
	return proof.Findings, err
}

// environment is a render, ready to be compared.
type environment struct {
	name    string
	objects map[ObjectRef]*subject
}

// subject is an object with the places that entries are about.
type subject struct {
	object *unstructured.Unstructured
	marks  structure.Marks
	texts  map[string][]textMark // by the pointer of the text
}

// textMark is a place inside a text that an entry is about.
type textMark struct {
	entry int
	path  fieldpath.Path
}

// Prove compares every pair of environments.
func (p Prover) Prove(renders map[string][]*unstructured.Unstructured) (Proof, error) {
	var all []environment
	for _, name := range slices.Sorted(maps.Keys(renders)) {
		e, err := p.environment(name, renders[name])
		if err != nil {
			return Proof{}, &fault.Error{Op: "comparing environments", Subject: name, Kind: fault.Drift, Err: err}
		}
		all = append(all, e)
	}
	var proof Proof
	for i, a := range all {
		for _, b := range all[i+1:] {
			c := &comparison{Prover: p, all: all, a: a, b: b}
			c.run()
			proof.Findings = append(proof.Findings, c.findings...)
			proof.Equal += c.equal
			proof.BuiltIn += p.builtIn(a.name, b.name)
		}
	}
	return proof, nil
}

func (p Prover) environment(name string, objects []*unstructured.Unstructured) (environment, error) {
	e := environment{name: name, objects: make(map[ObjectRef]*subject, len(objects))}
	if images, ok := p.Images[name]; ok {
		var err error
		if objects, err = images.undo(objects); err != nil {
			return e, err
		}
	}
	if err := eachOnce(objects); err != nil {
		return e, err
	}
	for _, o := range objects {
		e.objects[RefOf(o)] = p.subject(o)
	}
	return e, nil
}

func (p Prover) subject(o *unstructured.Unstructured) *subject {
	s := &subject{object: o, marks: structure.Marks{}, texts: map[string][]textMark{}}
	ref := RefOf(o)
	for i, e := range p.Entries {
		for _, path := range e.Paths {
			if path.Whole() || !path.Selects(ref.Group, ref.Kind, ref.Namespace, ref.Name) {
				continue
			}
			for _, l := range fieldpath.Resolve(o.Object, path.Fields, false) {
				pointer := fieldpath.Pointer(l.At)
				if path.Text != nil {
					s.texts[pointer] = append(s.texts[pointer], textMark{entry: i, path: path})
				} else if _, ok := s.marks[pointer]; !ok {
					s.marks[pointer] = structure.Mark{ID: i, Name: path.String(), Presence: e.Allow.Type == Presence}
				}
			}
		}
	}
	return s
}

// comparison is of one pair of environments.
type comparison struct {
	Prover
	all      []environment // for what is suggested
	a, b     environment
	findings []Finding
	equal    int
}

func (c *comparison) run() {
	refs := slices.Collect(maps.Keys(c.a.objects))
	for ref := range c.b.objects {
		if _, ok := c.a.objects[ref]; !ok {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, ObjectRef.compare)
	for _, ref := range refs {
		a, b := c.a.objects[ref], c.b.objects[ref]
		if a != nil && b != nil {
			c.fields(ref, a, b)
		} else {
			c.whole(ref, a != nil, b != nil)
		}
	}
	c.derive(refs)
	for i, f := range c.findings {
		c.findings[i].Matters = matters(f.Path)
	}
}

func (c *comparison) sides(a, b bool) (Side, Side) {
	return Side{Environment: c.a.name, Present: a}, Side{Environment: c.b.name, Present: b}
}

// whole judges an object that only one environment has.
func (c *comparison) whole(ref ObjectRef, inA, inB bool) {
	f := Finding{Path: ref.Path()}
	f.A, f.B = c.sides(inA, inB)
	for _, e := range c.Entries {
		if e.Allow.Type == Presence && slices.ContainsFunc(e.Paths, func(p fieldpath.Path) bool {
			return p.Whole() && p.Selects(ref.Group, ref.Kind, ref.Namespace, ref.Name)
		}) {
			f.Entry, f.Allowed = e.ID, true
			break
		}
	}
	if !f.Allowed {
		f.Why = undeclared
		f.Suggestion = c.suggest(f)
	}
	c.findings = append(c.findings, f)
}

const undeclared = "no entry declares it"

// fields compares an object that both environments have.
func (c *comparison) fields(ref ObjectRef, a, b *subject) {
	result := structure.Compare(a.object.Object, b.object.Object, structure.Options{BuiltIn: ref.builtIn(), A: a.marks, B: b.marks})
	c.equal += result.Equal
	for _, change := range result.Changes {
		f := Finding{Path: ref.Path(change.Path...)}
		f.A, f.B = c.sides(change.A.Present, change.B.Present)
		f.A.Value, f.B.Value = change.A.Value, change.B.Value
		switch {
		case change.Mark >= 0:
			c.judge(f, c.Entries[change.Mark])
			continue
		case c.inText(f, change, a, b):
			continue
		case change.Order:
			f.Why = "the elements come in another order, which no entry declares"
		default:
			f.Why = undeclared
		}
		c.add(f)
	}
}

// judge holds two values against the entry that speaks of them.
func (c *comparison) judge(f Finding, e Entry) {
	if f.A.Present && f.B.Present && e.Allow.Same(f.A.Value, f.B.Value) {
		c.equal++
		return
	}
	f.Entry, f.Allowed = e.ID, true
	for _, s := range []Side{f.A, f.B} {
		if err := e.Allow.Allows(s.Value, s.Present); err != nil && f.Allowed {
			f.Allowed = false
			f.Why = fmt.Sprintf("in %s, %v", s.Environment, err)
		}
	}
	c.add(f)
}

// add keeps a finding, and keeps what is secret out of it.
func (c *comparison) add(f Finding) {
	if hidden(f.Path.Group, f.Path.Kind, f.Path.Fields) {
		f.A, f.B = f.A.secret(c.Key, f.Path), f.B.secret(c.Key, f.Path)
		if f.Entry != "" && !f.Allowed {
			f.Why = "the entry does not allow it"
		}
	} else if !f.Allowed && f.Entry == "" {
		f.Suggestion = c.suggest(f)
	}
	c.findings = append(c.findings, f)
}

// derive lets what was made from an object that may differ differ with it, and
// makes one finding of it.
func (c *comparison) derive(refs []ObjectRef) {
	if c.Source == nil {
		return
	}
	allowed := map[ObjectRef]string{}
	for _, f := range c.findings {
		if f.Allowed && f.DerivedFrom == nil {
			allowed[refOf(f.Path)] = f.Entry
		}
	}
	for _, ref := range refs {
		s := c.a.objects[ref]
		if s == nil {
			s = c.b.objects[ref]
		}
		source, ok := c.Source(s.object)
		entry, declared := allowed[source]
		if !ok || !declared || source == ref {
			continue
		}
		mine := func(f Finding) bool { return !f.Allowed && refOf(f.Path) == ref }
		if !slices.ContainsFunc(c.findings, mine) {
			continue
		}
		c.findings = slices.DeleteFunc(c.findings, mine)
		f := Finding{Path: ref.Path(), Entry: entry, Allowed: true, DerivedFrom: &source}
		f.A, f.B = c.sides(c.a.objects[ref] != nil, c.b.objects[ref] != nil)
		c.findings = append(c.findings, f)
	}
}

func refOf(p fieldpath.Path) ObjectRef {
	return ObjectRef{Group: p.Group, Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
}
