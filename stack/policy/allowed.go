package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Entry is a digest that a person let in, for a reason and a time. Past that
// time the policy lets it in no more. It shows as drift from the first day on,
// until it is withdrawn.
type Entry struct {
	Digest  string    `json:"digest"` // "sha256:…"
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"` // zero where it can't be read
}

// Expired reports whether the entry lets nothing in any more.
func (e Entry) Expired(now time.Time) bool { return !e.Expires.After(now) }

// Allowed is what the policy of an environment lets in.
type Allowed struct {
	Digests    []string // "sha256:…", sorted
	BreakGlass []Entry  // by digest
}

// Read returns what the live parameter lets in; found is false where there is
// none.
func Read(ctx context.Context, client *kube.Client) (a Allowed, found bool, err error) {
	o, err := client.Dynamic.Resource(Resource()).Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) { // the object, or its kind
		return Allowed{}, false, nil
	}
	if err == nil {
		a, err = Parse(o)
	}
	if err != nil {
		return Allowed{}, false, &fault.Error{Op: "reading which images are allowed", Subject: "AllowedImages " + Name, Err: err}
	}
	return a, true, nil
}

// Parse reads a parameter as it is live. What is in it has passed the schema of
// its kind.
func Parse(o *unstructured.Unstructured) (Allowed, error) {
	digests, _, err := unstructured.NestedMap(o.Object, "spec", "digests")
	if err != nil {
		return Allowed{}, err
	}
	entries, _, err := unstructured.NestedMap(o.Object, "spec", "breakGlass")
	if err != nil {
		return Allowed{}, err
	}
	var a Allowed
	for _, d := range slices.Sorted(maps.Keys(digests)) {
		a.Digests = append(a.Digests, "sha256:"+d)
	}
	for _, d := range slices.Sorted(maps.Keys(entries)) {
		fields, ok := entries[d].(map[string]any)
		if !ok {
			return Allowed{}, fmt.Errorf("breakGlass.%s is no object", d)
		}
		text := func(name string) string { s, _ := fields[name].(string); return s }
		e := Entry{Digest: "sha256:" + d, Reason: text("reason"), By: text("by")}
		if at, err := time.Parse(time.RFC3339, text("expires")); err == nil {
			e.Expires = at.UTC()
		}
		a.BreakGlass = append(a.BreakGlass, e)
	}
	return a, nil
}

// Admit lets a digest in, on the live parameter. It changes nothing else of it.
func Admit(ctx context.Context, client *kube.Client, e Entry) error {
	fail := func(kind fault.Kind, err error) error {
		return &fault.Error{Op: "letting an image in", Subject: e.Digest, Kind: kind, Err: err}
	}
	if _, err := digestSet([]string{e.Digest}); err != nil {
		return fail(fault.Usage, err)
	}
	if e.Reason == "" || e.By == "" || e.Expires.IsZero() {
		return fail(fault.Usage, errors.New("a reason, a name and an expiry are needed"))
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"breakGlass": map[string]any{
		strings.TrimPrefix(e.Digest, "sha256:"): map[string]any{"reason": e.Reason, "by": e.By, "expires": e.Expires.UTC().Format(time.RFC3339)},
	}}}}
	return patch(ctx, client, o, fail)
}

// Withdraw takes an entry of Admit out again.
func Withdraw(ctx context.Context, client *kube.Client, digest string) error {
	fail := func(kind fault.Kind, err error) error {
		return &fault.Error{Op: "letting an image in no more", Subject: digest, Kind: kind, Err: err}
	}
	if _, err := digestSet([]string{digest}); err != nil {
		return fail(fault.Usage, err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"breakGlass": map[string]any{strings.TrimPrefix(digest, "sha256:"): nil}}}}
	return patch(ctx, client, o, fail)
}

// emergencies is the field manager of break-glass entries: they are not what
// kfdev applied.
const emergencies = "kfdev-break-glass"

func patch(ctx context.Context, client *kube.Client, o *unstructured.Unstructured, fail func(fault.Kind, error) error) error {
	data, err := json.Marshal(o.Object)
	if err != nil {
		return fail(fault.Failure, err)
	}
	_, err = client.Dynamic.Resource(Resource()).Patch(ctx, Name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: emergencies})
	switch {
	case apierrors.IsNotFound(err):
		return fail(fault.NotFound, errors.New("this environment has no policy of images"))
	case err != nil:
		return fail(fault.Failure, err)
	}
	return nil
}
