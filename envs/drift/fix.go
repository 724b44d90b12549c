package drift

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/stack/apply"
)

// Action is what a step of a fix does.
type Action string

// The actions.
const (
	Mend   Action = "mend"   // take foreign fields out, and put the release's back
	Create Action = "create" // make an object that is gone
	Delete Action = "delete" // delete a foreign object that the caller named
)

// Step mends one object.
type Step struct {
	Action Action       `json:"action"`
	Object apply.Object `json:"object"`
	Set    string       `json:"set,omitempty"`
	// UID and ResourceVersion are of the object as it was looked at: another
	// one is not touched, nor one of which more than noise moved since. Empty
	// where there is none.
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	Remove          []string  `json:"remove,omitempty"` // paths that are taken out
	Put             []string  `json:"put,omitempty"`    // paths that get the release's value, taken from whoever holds them

	remove [][]fieldpath.Step
	put    [][]fieldpath.Step
	set    []setting // of an object that another program makes
	seen   seen
}

// String says on one line what the step does.
func (s Step) String() string {
	text := string(s.Action) + " " + s.Object.String()
	if len(s.Remove) > 0 {
		text += ", take out " + strings.Join(s.Remove, ", ")
	}
	if len(s.Put) > 0 {
		text += ", put back " + strings.Join(s.Put, ", ")
	}
	return text
}

// setting is a value that goes to a place.
type setting struct {
	steps []fieldpath.Step
	value any
}

// Plan is how findings are mended, and what is left.
type Plan struct {
	Steps []Step `json:"steps"`
	// Left are the findings that the plan does nothing about: foreign objects
	// that nobody named, running images, what is unknown.
	Left []Finding `json:"left,omitempty"`
}

// PlanFix makes a plan from a report. Foreign objects are deleted only where
// they are named.
func PlanFix(r Report, named ...apply.Object) Plan {
	var p Plan
	index := map[key]int{}
	for _, f := range r.Findings {
		switch f.Class {
		case Unknown, ForeignImage:
			p.Left = append(p.Left, f)
			continue
		case ForeignObject:
			if !slices.ContainsFunc(named, func(o apply.Object) bool { return keyOf(o) == keyOf(f.Object) }) {
				p.Left = append(p.Left, f)
				continue
			}
		default:
		}
		if f.stays {
			p.Left = append(p.Left, f)
			continue
		}
		// What is on its way out cannot be kept, and what another program makes
		// is made by it again.
		if f.Class == Deleted && (f.seen.uid != "" || f.made) {
			p.Left = append(p.Left, f)
			continue
		}
		k := keyOf(f.Object)
		i, ok := index[k]
		if !ok {
			i = len(p.Steps)
			index[k] = i
			p.Steps = append(p.Steps, Step{Action: action(f.Class), Object: f.Object, Set: f.Set, UID: f.seen.uid, ResourceVersion: f.seen.version, seen: f.seen})
		}
		p.Steps[i].take(f)
	}
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return cmp.Compare(rank(a), rank(b)) })
	return p
}

func action(c Class) Action {
	switch c {
	case Deleted:
		return Create
	case ForeignObject:
		return Delete
	default:
		return Mend
	}
}

// rank puts what others need before them (namespaces, kinds, accounts), and
// deletions last.
func rank(s Step) int {
	switch {
	case s.Action == Delete:
		return 4
	case isNamespace(s.Object):
		return 0
	case s.Object.Kind == "CustomResourceDefinition":
		return 1
	case s.Object.Kind == "ServiceAccount" || s.Object.Kind == "ConfigMap" || s.Object.Kind == "Secret":
		return 2
	}
	return 3
}

// take adds a finding to the step of its object.
func (s *Step) take(f Finding) {
	switch f.Class {
	case Changed, Lost, Ownership:
		if f.made {
			s.set = append(s.set, setting{f.steps, f.Wanted})
			s.Put = append(s.Put, f.Path)
			return
		}
		s.put = append(s.put, f.steps)
		s.Put = append(s.Put, f.Path)
	case ForeignField:
		top := f.top
		if top == nil {
			top = f.steps
		}
		text := fieldpath.Render(top)
		if !slices.Contains(s.Remove, text) {
			s.remove = append(s.remove, top)
			s.Remove = append(s.Remove, text)
		}
	default: // the step is about the whole object
	}
}
