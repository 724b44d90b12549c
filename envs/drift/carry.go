package drift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// Fix carries a plan out. Each object is touched only where it is the one, and
// at the version, that the plan saw; another is left alone, and named in the
// error. The rest of the plan is carried out all the same. The fence is asked
// before each object, and ends all of it where it fails.
func (d *Detector) Fix(ctx context.Context, wanted Wanted, p Plan, fence func(context.Context) error) (done []Step, err error) {
	task := progress.Start(d.sink, "drift/fix", "mending drift", int64(len(p.Steps)), progress.Items)
	defer func() { task.End(err) }()
	wants, err := d.prepare(ctx, wanted)
	if err != nil {
		return nil, &fault.Error{Op: "mending drift", Err: err}
	}
	var problems []error
	for _, step := range p.Steps {
		if err := fence(ctx); err != nil {
			return done, errors.Join(append(problems, err)...)
		}
		if err := d.step(ctx, wants, step); err != nil {
			if ctx.Err() != nil {
				return done, &fault.Error{Op: "mending drift", Err: ctx.Err()}
			}
			problems = append(problems, refused(step, err))
			continue
		}
		done = append(done, step)
		task.Add(1)
	}
	return done, errors.Join(problems...)
}

func refused(s Step, err error) error {
	e := &fault.Error{Op: "mending drift", Subject: s.Object.String(), Err: err}
	if apierrors.IsConflict(err) {
		e.Kind, e.Hint = fault.Drift, "it changed since kfdev looked: run kfdev drift again"
	}
	return e
}

func (d *Detector) step(ctx context.Context, wants map[key]*want, s Step) error {
	mapping, err := d.client.Mapper.Mapping(ctx, s.Object.GroupVersionKind())
	if err != nil {
		return err
	}
	resource := d.client.Dynamic.Resource(mapping.Resource).Namespace(s.Object.Namespace)
	if s.Action == Delete {
		err := resource.Delete(ctx, s.Object.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	w := wants[keyOf(s.Object)]
	if w == nil {
		return errors.New("the release does not have it")
	}
	if s.Action == Create {
		return d.create(ctx, resource, w)
	}
	now, err := d.remove(ctx, resource, s)
	if err != nil || w.derived {
		return err
	}
	for _, each := range w.shares {
		if now, err = d.put(ctx, resource, w.applied(each.source), each.manager, s, now); err != nil {
			return err
		}
	}
	return nil
}

// attempts is how often an object is written to that only noise moves
// meanwhile: a controller reports on a change at once.
const attempts = 5

// remove takes foreign fields out, and tests uid and version in the same
// request. It returns what the object is then.
func (d *Detector) remove(ctx context.Context, resource dynamic.ResourceInterface, s Step) (seen, error) {
	if len(s.remove)+len(s.set) == 0 {
		return s.seen, nil
	}
	was := s.seen
	for range attempts {
		live, err := s.unmoved(ctx, resource, was)
		if err != nil {
			return seen{}, err
		}
		was = s.seen.at(live)
		patch, err := removal(live, s)
		if err != nil {
			return seen{}, err
		}
		after, err := resource.Patch(ctx, s.Object.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: apply.Manager})
		if err == nil {
			return s.seen.at(after), nil
		}
		// A test that fails is an invalid request to the server.
		now, again := s.unmoved(ctx, resource, was)
		switch {
		case again != nil:
			return seen{}, again
		case now.GetResourceVersion() == was.version:
			return seen{}, err
		}
	}
	return seen{}, s.conflict("it changes faster than it can be written")
}

// unmoved reads the object, and returns a conflict where it is another than
// what was seen, or more than noise moved since.
func (s Step) unmoved(ctx context.Context, resource dynamic.ResourceInterface, was seen) (*unstructured.Unstructured, error) {
	live, err := resource.Get(ctx, s.Object.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, err
	case live.GetUID() != was.uid || live.GetResourceVersion() != was.version && !was.like(live):
		return nil, s.conflict("it is not what it was when the plan was made")
	}
	return live, nil
}

func (s Step) conflict(text string) error {
	resource := schema.GroupResource{Group: s.Object.GroupVersionKind().Group, Resource: strings.ToLower(s.Object.Kind)}
	return apierrors.NewConflict(resource, s.Object.Name, errors.New(text))
}

// removal returns the JSON patch that takes exactly the step's paths out of the
// object. Elements of a list go from the last on, so that none moves before its
// turn.
func removal(live *unstructured.Unstructured, s Step) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value,omitempty"`
	}
	operations := []operation{{"test", "/metadata/uid", string(s.UID)}, {"test", "/metadata/resourceVersion", live.GetResourceVersion()}}
	var places [][]any
	for i, steps := range s.remove {
		found := fieldpath.Resolve(live.Object, steps, false)
		if len(found) != 1 {
			return nil, s.conflict(s.Remove[i] + " is not there any more")
		}
		places = append(places, found[0].At)
	}
	slices.SortFunc(places, func(a, b []any) int { return fieldpath.Compare(b, a) })
	for _, v := range s.set {
		at, op := fieldpath.Pointer(keysOf(v.steps)), "add"
		if found := fieldpath.Resolve(live.Object, v.steps, false); len(found) == 1 {
			at, op = fieldpath.Pointer(found[0].At), "replace"
		}
		operations = append(operations, operation{Op: op, Path: at, Value: v.value})
	}
	for i, at := range places {
		if i > 0 && fieldpath.Compare(at, places[i-1]) == 0 {
			continue
		}
		operations = append(operations, operation{Op: "remove", Path: fieldpath.Pointer(at)})
	}
	return json.Marshal(operations)
}

// keysOf returns where steps lead that are keys alone.
func keysOf(steps []fieldpath.Step) []any {
	out := make([]any, len(steps))
	for i, s := range steps {
		out[i] = s.Key
	}
	return out
}

// put applies the release's object again at the version that was seen, or at one
// that only noise tells from it, and returns what it is then. A field is taken
// from another manager only where it is one of the step's.
func (d *Detector) put(ctx context.Context, resource dynamic.ResourceInterface, content *unstructured.Unstructured, manager string, s Step, was seen) (seen, error) {
	for range attempts {
		after, err := d.putAt(ctx, resource, content, manager, s, was.version)
		if err == nil {
			return s.seen.at(after), nil
		}
		if !apierrors.IsConflict(err) || len(conflicts(err)) > 0 {
			return seen{}, err
		}
		live, err := s.unmoved(ctx, resource, was)
		if err != nil {
			return seen{}, err
		}
		was = s.seen.at(live)
	}
	return seen{}, s.conflict("it changes faster than it can be written")
}

func (d *Detector) putAt(ctx context.Context, resource dynamic.ResourceInterface, content *unstructured.Unstructured, manager string, s Step, version string) (*unstructured.Unstructured, error) {
	content.SetUID(s.UID)
	content.SetResourceVersion(version)
	data, err := json.Marshal(content.Object)
	if err != nil {
		return nil, err
	}
	send := func(force bool) (*unstructured.Unstructured, error) {
		return resource.Patch(ctx, s.Object.Name, types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: manager, Force: &force})
	}
	after, err := send(false)
	held := conflicts(err)
	if len(held) == 0 {
		return after, err
	}
	var beyond []string
	for _, path := range held {
		if !s.covers(path) {
			beyond = append(beyond, path)
		}
	}
	if len(beyond) > 0 {
		return nil, fmt.Errorf("fields that no finding is about are held by others too: %s", strings.Join(beyond, ", "))
	}
	// The version in the request holds these conflicts to be all there are.
	return send(true)
}

// covers reports whether a path of a conflict is, or is within or around, one
// that the step is about. A conflict names what the server reads as one value,
// which may be more than the one field in it that differs.
func (s Step) covers(conflict string) bool {
	at := words(strings.TrimPrefix(conflict, "."))
	for _, each := range slices.Concat(s.Put, s.Remove) {
		mine := words(each)
		n := min(len(at), len(mine))
		if slices.Equal(at[:n], mine[:n]) {
			return true
		}
	}
	return false
}

// create makes an object that is gone, and never changes one that is there: the
// server holds the version in an apply against that of an object, where there
// is one, and none has the version 1 (see unlessThere in stack/apply). What more
// sets say of it then goes to the very object that was made.
func (d *Detector) create(ctx context.Context, resource dynamic.ResourceInterface, w *want) error {
	var made types.UID
	for i, each := range w.shares {
		content := w.applied(each.source)
		if i == 0 {
			content.SetResourceVersion("1")
		} else {
			content.SetUID(made)
		}
		data, err := json.Marshal(content.Object)
		if err != nil {
			return err
		}
		after, err := resource.Patch(ctx, w.object.Name, types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: each.manager, FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			return err
		}
		made = after.GetUID()
	}
	return nil
}

// conflicts returns the paths of fields that others hold.
func conflicts(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var out []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			out = append(out, cause.Field)
		}
	}
	return out
}
