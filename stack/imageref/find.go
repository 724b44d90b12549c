package imageref

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
)

// Find returns every place that names an image, in the order of the objects
// and of their fields. A rule that is wrong, or that leads nowhere (an object
// that was renamed, a flag that is gone), is an error: what it was written for
// is then pinned by nothing.
func Find(objects []*unstructured.Unstructured, rules []Rule) ([]Reference, error) {
	places, err := find(objects, rules)
	if err != nil {
		return nil, err
	}
	references := make([]Reference, len(places))
	for i, p := range places {
		references[i] = p.reference(objects)
	}
	return references, nil
}

// Unpinned returns the places that name an image in any way but by repository
// and digest alone. Where Pin has been, there is none.
func Unpinned(objects []*unstructured.Unstructured, rules []Rule) ([]Reference, error) {
	references, err := Find(objects, rules)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(references, func(r Reference) bool { return pinned(r.Image) }), nil
}

type finder struct {
	objects []*unstructured.Unstructured
	byLeaf  map[string][]place // by leaf
	places  []place
}

func find(objects []*unstructured.Unstructured, rules []Rule) ([]place, error) {
	f := &finder{objects: objects, byLeaf: map[string][]place{}}
	for i, o := range objects {
		f.findContainers(i, o)
	}
	var errs []error
	for _, r := range rules {
		if err := f.apply(r); err != nil {
			errs = append(errs, fmt.Errorf("rule %s: %w", r, err))
		}
	}
	if len(errs) > 0 {
		return nil, &fault.Error{Op: "finding images", Kind: fault.Usage, Err: errors.Join(errs...)}
	}
	for i, o := range objects {
		ignored := ignoredIn(o, rules)
		errs = append(errs, f.findParts(i, o, ignored)...)
		f.findGeneric(i, o, ignored)
	}
	if len(errs) > 0 {
		return nil, &fault.Error{Op: "finding images", Kind: fault.Usage, Err: errors.Join(errs...)}
	}
	slices.SortStableFunc(f.places, func(a, b place) int {
		if a.object != b.object {
			return a.object - b.object
		}
		if c := strings.Compare(render(a.path), render(b.path)); c != 0 {
			return c
		}
		return a.start - b.start
	})
	return f.places, nil
}

// add keeps a place unless an earlier finder has it. It reports whether the
// place is there now.
func (f *finder) add(p place) bool {
	leaf := p.leaf()
	for _, old := range f.byLeaf[leaf] {
		if p.overlaps(old) {
			return p.start == old.start && p.end == old.end
		}
	}
	f.byLeaf[leaf] = append(f.byLeaf[leaf], p)
	f.places = append(f.places, p)
	return true
}
