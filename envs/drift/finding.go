package drift

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/stack/apply"
)

// Class says what kind of drift a finding is.
type Class string

// The classes.
const (
	Changed       Class = "changed"        // a field has another value
	Lost          Class = "lost"           // a field is gone
	Deleted       Class = "deleted"        // an object is gone
	ForeignField  Class = "foreign-field"  // a field, or an element of a list, that the release does not have
	ForeignObject Class = "foreign-object" // an object that the release does not have
	ForeignImage  Class = "foreign-image"  // a container runs what the lock does not name
	Ownership     Class = "ownership"      // a field's value is right, but it is no longer kfdev's
	Unknown       Class = "unknown"        // what could not be read: it may be anything
)

// Who is a field manager that holds what a finding is about.
type Who struct {
	Manager   string     `json:"manager"`
	Operation string     `json:"operation"`
	Time      *time.Time `json:"time,omitempty"`
}

// String writes a manager for people.
func (w Who) String() string {
	text := fmt.Sprintf("%s (%s", w.Manager, w.Operation)
	if w.Time != nil {
		text += " " + w.Time.UTC().Format(time.RFC3339)
	}
	return text + ")"
}

// Finding is one place where the cluster is not what the release says.
type Finding struct {
	Class  Class        `json:"class"`
	Object apply.Object `json:"object"`
	Set    string       `json:"set,omitempty"`     // the component's, "profiles", "policy"; empty for foreign objects
	Team   bool         `json:"profile,omitempty"` // it is about a profile
	// Path leads to the field; empty where the whole object is meant.
	Path   string `json:"path,omitempty"`
	Wanted any    `json:"wanted,omitempty"` // nil where the release has nothing there
	Live   any    `json:"live,omitempty"`   // nil where the cluster has nothing there
	Secret bool   `json:"secret,omitempty"` // the values are not shown
	Who    []Who  `json:"who,omitempty"`    // nobody holds it, or nothing is there, where there is none
	// Count is how many objects an unknown stands for.
	Count int `json:"count,omitempty"`
	// Settled: the caller has no right to read them, and all of them were what
	// the release says when the environment settled, by the record in the cluster.
	Settled bool   `json:"settled,omitempty"`
	Why     string `json:"why"`

	steps []fieldpath.Step
	top   []fieldpath.Step // the highest place that is foreign as a whole
	stays bool             // mending leaves it
	made  bool             // another program makes the object of one of the release
	seen  seen
}

// seen is an object as it was looked at.
type seen struct {
	uid     types.UID
	version string                                  // resourceVersion
	content string                                  // what hash says of it
	hash    func(*unstructured.Unstructured) string // of what is left without noise; nil: it was not looked at whole
}

// at returns the object as it is now, looked at in the same way.
func (s seen) at(o *unstructured.Unstructured) seen {
	now := seen{uid: o.GetUID(), version: o.GetResourceVersion(), hash: s.hash}
	if s.hash != nil {
		now.content = s.hash(o)
	}
	return now
}

// like reports whether only noise tells an object from what was seen.
func (s seen) like(o *unstructured.Unstructured) bool {
	return s.hash != nil && s.hash(o) == s.content
}

// Kind names the finding's object with its field: Deployment/ns/name spec/replicas.
func (f Finding) place() string {
	if f.Path == "" {
		return f.Object.String()
	}
	return f.Object.String() + " " + f.Path
}

// String writes the finding on one line.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", f.Class, f.place())
	switch {
	case f.Secret:
		b.WriteString(": a value that is not shown")
	case f.Wanted != nil && f.Live != nil:
		fmt.Fprintf(&b, ": wanted %s, live %s", short(f.Wanted), short(f.Live))
	case f.Wanted != nil:
		fmt.Fprintf(&b, ": wanted %s", short(f.Wanted))
	case f.Live != nil:
		fmt.Fprintf(&b, ": live %s", short(f.Live))
	}
	if len(f.Who) > 0 {
		names := make([]string, len(f.Who))
		for i, w := range f.Who {
			names[i] = w.String()
		}
		fmt.Fprintf(&b, ", by %s", strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, ": %s", f.Why)
	return b.String()
}

// maxShown bounds how much of a value is written on a line.
const maxShown = 120

func short(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	text := string(data)
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}

// Report is what a scan found.
type Report struct {
	Release  string    `json:"release"`
	Objects  int       `json:"objects"`  // of the release
	Read     int       `json:"read"`     // of these were read whole
	Baseline string    `json:"baseline"` // how the baseline was used, for people
	Findings []Finding `json:"findings"`
	// Kept are claims of components, or of what components were, that the
	// release has no more: kfdev leaves them where they are, for their data.
	Kept []apply.Object `json:"kept,omitempty"`
}

// Drifted reports whether there is any finding: what is unknown is drift too.
func (r Report) Drifted() bool { return len(r.Findings) > 0 }

// collector gathers findings from several goroutines.
type collector struct {
	mu       sync.Mutex
	findings []Finding
}

func (c *collector) add(f ...Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = append(c.findings, f...)
}

func (c *collector) sorted() []Finding {
	slices.SortFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Object.APIVersion, b.Object.APIVersion),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Why, b.Why))
	})
	return append([]Finding{}, c.findings...) // an empty list in JSON, and no null
}
