package ready

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/stack/apply"
)

func endpointSlices() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
}

// board holds what is known of every object that is waited for. It is safe for
// concurrent use.
type board struct {
	mu      sync.Mutex
	rows    []row
	seen    int    // rows that were Current at the last count
	lastNew string // what was told last
}

// row is one object that is waited for. A Service that webhooks call has two: its
// own, and one for its endpoints.
type row struct {
	object   apply.Object
	service  string // set in a row of endpoints
	reading  Reading
	content  *unstructured.Unstructured
	slices   map[string]bool // of a row of endpoints: by name, whether it has one that is ready
	resource schema.GroupVersionResource
}

func newBoard(groups []group) *board {
	b := &board{}
	for _, g := range groups {
		for _, o := range g.objects {
			r := row{object: o, service: g.service, resource: g.mapping.Resource, reading: Reading{NotFound, "it is not there"}}
			if g.service != "" {
				r.reading, r.slices = noEndpoints(), map[string]bool{}
			}
			b.rows = append(b.rows, r)
		}
	}
	return b
}

func noEndpoints() Reading { return Reading{InProgress, "no pod behind it is ready"} }

// replace takes in a whole list of a group.
func (b *board) replace(g group, items []unstructured.Unstructured) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.rows {
		r := &b.rows[i]
		if !r.of(g) {
			continue
		}
		if r.service != "" {
			r.slices = map[string]bool{}
		} else {
			r.reading, r.content = Reading{NotFound, "it is not there"}, nil
		}
	}
	for i := range items {
		b.take(g, &items[i], false)
	}
	b.settle(g)
}

// change takes in one object of a group that came, changed or went.
func (b *board) change(g group, o *unstructured.Unstructured, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(g, o, gone)
	b.settle(g)
}

func (b *board) take(g group, o *unstructured.Unstructured, gone bool) {
	for i := range b.rows {
		r := &b.rows[i]
		switch {
		case !r.of(g):
		case r.service != "":
			r.slices[o.GetName()] = !gone && serving(o)
		case r.object.Name != o.GetName() || r.object.Namespace != o.GetNamespace():
		case gone:
			r.reading, r.content = Reading{NotFound, "it was deleted"}, nil
		default:
			r.reading, r.content = g.read(o), o
		}
	}
}

// settle reads rows of endpoints anew.
func (b *board) settle(g group) {
	for i := range b.rows {
		r := &b.rows[i]
		if !r.of(g) || r.service == "" {
			continue
		}
		r.reading = noEndpoints()
		for _, ready := range r.slices {
			if ready {
				r.reading = Reading{State: Current}
			}
		}
	}
}

func (r *row) of(g group) bool {
	return r.resource == g.mapping.Resource && r.service == g.service && (g.namespace == "" || r.object.Namespace == g.namespace)
}

func (b *board) total() int { return len(b.rows) }

func (b *board) ready() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count()
}

func (b *board) count() int {
	n := 0
	for _, r := range b.rows {
		if r.reading.State == Current {
			n++
		}
	}
	return n
}

// progress says whether everything is Current, how many more are than at the
// last call, and what failed.
func (b *board) progress() (done bool, newly int, failed *Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.count()
	newly, b.seen = n-b.seen, n
	for _, r := range b.rows {
		if r.reading.State == Failed {
			return false, newly, &Status{r.object, r.reading}
		}
	}
	return n == len(b.rows), newly, nil
}

// news tells what is waited for, where that changed since the last call.
func (b *board) news() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.reading.State == Current {
			continue
		}
		text := "waiting for " + r.object.String() + ": " + join(string(r.reading.State), r.reading.Message)
		if text == b.lastNew {
			return ""
		}
		b.lastNew = text
		return text
	}
	return ""
}

// statuses returns every object with its reading; a Service that is there but
// has no endpoints appears once, as that.
func (b *board) statuses() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	byName := map[apply.Object]Status{}
	for _, r := range b.rows {
		if old, ok := byName[r.object]; ok && old.State != Current {
			continue
		}
		byName[r.object] = Status{r.object, r.reading}
	}
	all := make([]Status, 0, len(byName))
	for _, s := range byName {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Object.String(), b.Object.String()) })
	return all
}

// object returns the object as it was last seen; nil where it was not.
func (b *board) object(o apply.Object) *unstructured.Unstructured {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.object == o && r.content != nil {
			return r.content
		}
	}
	return nil
}
