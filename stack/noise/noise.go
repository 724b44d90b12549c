// Package noise says what is no difference between what was applied and what
// is live: what the server, Kubernetes' controllers and other known programs
// write into objects, and what objects they make. All of it is data (rules.yaml),
// each rule with its reason; a project extends it. A field that kfdev itself
// applied is noise only where a rule says so outright.
package noise

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:embed rules.yaml
var defaults []byte

//go:embed plans.yaml
var plans []byte

// Rules are what is no difference. The zero Rules know of nothing.
type Rules struct {
	fields  []field
	objects []object
	facts   Facts
	applied any
}

// Target names an object that something is known of.
type Target struct{ Group, Kind, Namespace, Name string }

// Facts is what rules need to know of objects beyond the one at hand.
type Facts struct {
	// Autoscaled are the objects that a HorizontalPodAutoscaler scales.
	Autoscaled map[Target]bool
}

// Autoscaled returns the targets of HorizontalPodAutoscalers.
func Autoscaled(autoscalers []*unstructured.Unstructured) map[Target]bool {
	out := map[Target]bool{}
	for _, a := range autoscalers {
		ref, _, _ := unstructured.NestedStringMap(a.Object, "spec", "scaleTargetRef")
		kind := schema.FromAPIVersionAndKind(ref["apiVersion"], ref["kind"])
		out[Target{kind.Group, kind.Kind, a.GetNamespace(), ref["name"]}] = true
	}
	return out
}

// field is one rule about fields.
type field struct {
	name, reason string
	kinds        []string
	wanted       bool
	unowned      bool
	managers     []string
	when         string
	derived      string
	derive       derivation
	places       []pattern
}

// pattern is a path and what the value there must be; nil: anything.
type pattern struct {
	path  Path
	value *regexp.Regexp
}

// object is one rule about whole objects.
type object struct {
	name, reason string
	kinds        []string
	names        []string
	owners       []string
	annotation   string
	label        string
}

// Default returns the rules that come with kfdev. They are parsed anew each
// time; a test sees to it that they can be.
func Default() Rules { return builtIn("rules.yaml", defaults) }

// Plans returns the rules for plans: the default ones, and those for what kfdev
// itself renews while a plan is carried out.
func Plans() Rules { return Default().And(Renewals()) }

// Renewals are what kfdev itself renews while a plan is carried out.
func Renewals() Rules { return builtIn("plans.yaml", plans) }

func builtIn(name string, text []byte) Rules {
	r, err := Parse(name, text)
	if err != nil {
		panic(fmt.Sprintf("the rules that are built in: %v", err)) // unreachable while the tests pass
	}
	return r
}

// And returns the rules of both.
func (r Rules) And(more Rules) Rules {
	r.fields = slices.Concat(r.fields, more.fields)
	r.objects = slices.Concat(r.objects, more.objects)
	return r
}

// With returns the rules with what is known of a cluster.
func (r Rules) With(facts Facts) Rules {
	r.facts = facts
	return r
}

// Against returns the rules for one live object, of which this is what was
// applied: what the API server makes of it is known then, whatever others have
// made of the live one.
func (r Rules) Against(applied *unstructured.Unstructured) Rules {
	r.applied = applied.Object
	return r
}

// Digest names the rules: two of the same digest find the same.
func (r Rules) Digest() string {
	h := sha256.New()
	for _, f := range r.fields {
		fmt.Fprintf(h, "%q %q %t %t %q %q %q\n", f.name, f.kinds, f.wanted, f.unowned, f.managers, f.when, f.derived)
		for _, p := range f.places {
			value := ""
			if p.value != nil {
				value = p.value.String()
			}
			fmt.Fprintf(h, " %q %q\n", p.path, value)
		}
	}
	for _, o := range r.objects {
		fmt.Fprintf(h, "%q %q %q %q %q %q\n", o.name, o.kinds, o.names, o.owners, o.annotation, o.label)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Rule is a rule's name with its reason, for people.
type Rule struct{ Name, Reason string }

// List returns every rule, in order.
func (r Rules) List() []Rule {
	var out []Rule
	for _, f := range r.fields {
		out = append(out, Rule{f.name, f.reason})
	}
	for _, o := range r.objects {
		out = append(out, Rule{o.name, o.reason})
	}
	return out
}

// Strip returns the object without status, metadata noise and what known
// controllers own; the object itself is not touched. Who owns a field is read
// from the object's managedFields, which go as well. Where there are none, as
// in what was rendered and never sent, nothing is held to be kfdev's.
func (r Rules) Strip(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := o.DeepCopy()
	var root mark
	for _, n := range r.Find(o) {
		root.put(n.At)
	}
	prune(out.Object, &root)
	return out
}

// Noise is one place of an object that is no difference.
type Noise struct {
	At      []any // keys and indexes
	Rule    string
	Applied bool // also where kfdev applied it itself
}

// Find returns what Strip would take out, and touches nothing.
func (r Rules) Find(o *unstructured.Unstructured) []Noise {
	var out []Noise
	f := finder{owners: entries(o.GetManagedFields()), applied: r.applied, live: o.Object}
	f.found = func(at []place) {
		n := Noise{At: make([]any, len(at)), Rule: f.rule.name, Applied: f.rule.wanted}
		for i, p := range at {
			n.At[i] = p.key
			if p.list {
				n.At[i] = p.n
			}
		}
		out = append(out, n)
	}
	group, kind := o.GroupVersionKind().Group, o.GetKind()
	for _, rule := range r.fields {
		if !selects(rule.kinds, group, kind) || !r.holds(rule, o) {
			continue
		}
		f.rule = rule
		for _, p := range rule.places {
			f.pattern = p.value
			f.walk(o.Object, p.path, nil)
		}
	}
	return out
}

// holds reports whether a rule's condition on the object is met.
func (r Rules) holds(f field, o *unstructured.Unstructured) bool {
	if f.when != whenAutoscaled {
		return true
	}
	return r.facts.Autoscaled[Target{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}]
}

// Known returns the rule that says that an object is made by a known program,
// and need not be in a release. Metadata is enough to tell.
func (r Rules) Known(group, kind string, o metav1.Object) (Rule, bool) {
	for _, rule := range r.objects {
		if selects(rule.kinds, group, kind) && rule.knows(o) {
			return Rule{rule.name, rule.reason}, true
		}
	}
	return Rule{}, false
}

// Ignores reports whether every object of a kind is known, so that there is no
// need to list it.
func (r Rules) Ignores(group, kind string) bool {
	return slices.ContainsFunc(r.objects, func(o object) bool {
		return selects(o.kinds, group, kind) && !slices.Contains(o.kinds, "*") &&
			len(o.names) == 0 && len(o.owners) == 0 && o.annotation == "" && o.label == ""
	})
}

func (r object) knows(o metav1.Object) bool {
	if len(r.names) > 0 && !matchAny(r.names, o.GetName()) {
		return false
	}
	if len(r.owners) > 0 {
		owner := metav1.GetControllerOfNoCopy(o)
		if owner == nil || !selects(r.owners, schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).Group, owner.Kind) {
			return false
		}
	}
	if _, ok := o.GetAnnotations()[r.annotation]; r.annotation != "" && !ok {
		return false
	}
	if _, ok := o.GetLabels()[r.label]; r.label != "" && !ok {
		return false
	}
	return true
}

// selects reports whether one of the selectors (GROUP/Kind, GROUP/*, *) names
// the kind.
func selects(kinds []string, group, kind string) bool {
	if group == "" {
		group = core
	}
	for _, k := range kinds {
		if k == "*" || k == group+"/*" || k == group+"/"+kind {
			return true
		}
	}
	return false
}

func matchAny(globs []string, text string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, text)
		return ok && err == nil
	})
}

// Hash returns the SHA-256, in hex, of the object's canonical JSON: keys in
// order, no spaces. Numbers keep their kind, as the server tells 1 from 1.0.
func Hash(o *unstructured.Unstructured) string {
	if o == nil {
		return ""
	}
	data, err := json.Marshal(o.Object)
	if err != nil {
		return "" // what came out of JSON goes back into it
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
