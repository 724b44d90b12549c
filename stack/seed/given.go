package seed

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// Given is a Secret whose values somebody gave, or that has to be there.
type Given struct {
	Namespace, Name string
	Type            string // empty: Opaque
	Data            map[string][]byte
	There           bool // it is somebody else's, and has to have the keys of Data, with whatever values
}

// GivenChange is what becomes of a given Secret. It holds no value.
type GivenChange struct {
	apply.Object
	Change apply.Change `json:"change"`
	// Before and After are keyed hashes of the values; empty where there are none,
	// or where they are somebody else's.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Unchecked says why a plan could not tell; Change is Skipped then.
	Unchecked string `json:"unchecked,omitempty"`
}

// givenLabel is the component that given Secrets are for.
const givenLabel = "secrets"

// PlanGiven says what EnsureGiven would do, and writes nothing. Hashes of values
// are keyed with key.
func (s *Seeder) PlanGiven(ctx context.Context, g Given, key []byte) (GivenChange, error) {
	change, _, err := s.lookGiven(ctx, g, key)
	if apierrors.IsForbidden(err) {
		return Untold(g, "it may not be read"), nil
	}
	return change, err
}

// Untold is the change of a Secret of which a plan can't tell what becomes.
func Untold(g Given, why string) GivenChange {
	return GivenChange{Object: secretObject(g.Namespace, g.Name), Change: apply.Skipped, Unchecked: why}
}

// EnsureGiven puts exactly the given values into the Secret. One that is there
// and was not made by kfdev is refused.
func (s *Seeder) EnsureGiven(ctx context.Context, g Given, key []byte) (GivenChange, error) {
	change, have, err := s.lookGiven(ctx, g, key)
	if err != nil || change.Change == apply.Unchanged {
		return change, err
	}
	if err := s.permitted(ctx); err != nil {
		return change, err
	}
	texts := map[string]any{}
	for name := range have.data {
		texts[name] = nil // what is given no more goes
	}
	for name, value := range g.Data {
		texts[name] = base64.StdEncoding.EncodeToString(value)
	}
	secrets := s.secrets(g.Namespace)
	metadata := map[string]any{"labels": map[string]any{"app.kubernetes.io/managed-by": "kfdev", ComponentLabel: givenLabel}}
	content := map[string]any{"metadata": metadata, "data": texts}
	if have.found {
		metadata["resourceVersion"] = have.version
		var patch []byte
		if patch, err = json.Marshal(content); err == nil {
			_, err = secrets.Patch(ctx, g.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
		}
	} else if err = s.ensureNamespace(ctx, g.Namespace); err == nil {
		metadata["name"], metadata["namespace"] = g.Name, g.Namespace
		content["apiVersion"], content["kind"], content["type"] = "v1", "Secret", g.kind()
		_, err = secrets.Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{FieldManager: manager})
	}
	if err != nil {
		return change, &fault.Error{Op: "writing the secret", Subject: change.String(), Err: err}
	}
	return change, nil
}

func (s *Seeder) lookGiven(ctx context.Context, g Given, key []byte) (GivenChange, existing, error) {
	change := GivenChange{Object: secretObject(g.Namespace, g.Name), Change: apply.Unchanged}
	fail := func(kind fault.Kind, hint string, err error) (GivenChange, existing, error) {
		return change, existing{}, &fault.Error{Op: "looking for the secret", Subject: change.String(), Kind: kind, Err: err, Hint: hint}
	}
	have, err := s.read(ctx, change.Object)
	if err != nil {
		return fail(fault.Failure, "", err)
	}
	if g.There {
		if !have.found {
			return fail(fault.Preflight, "make it in the cluster; or say where its values come from, with keys", errors.New("it is not there, and nothing gives its values"))
		}
		for _, name := range slices.Sorted(maps.Keys(g.Data)) {
			if _, ok := have.data[name]; !ok {
				return fail(fault.Preflight, "", fmt.Errorf("it has no key %s", name))
			}
		}
		return change, have, nil
	}
	if have.found && have.component != givenLabel {
		return fail(fault.Preflight, "take it out of the way; or leave its keys out of kfdev.yaml, and it is used as it is", errors.New("it is there, and kfdev did not make it"))
	}
	if have.found && have.kind != g.kind() {
		return fail(fault.Preflight, "a Secret's type never changes: delete it first", fmt.Errorf("it is of type %s, not %s", have.kind, g.kind()))
	}
	change.After = keyed(key, g.Data)
	if have.found {
		change.Before = keyed(key, have.data)
	}
	if !have.found || !maps.EqualFunc(have.data, g.Data, bytes.Equal) {
		change.Change = have.change()
	}
	return change, have, nil
}

func (g Given) kind() string {
	if g.Type == "" {
		return "Opaque"
	}
	return g.Type
}

// keyed is a hash of values that says nothing to whoever has not the key.
func keyed(key []byte, data map[string][]byte) string {
	h := hmac.New(sha256.New, key)
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%d:%s%d:", len(name), name, len(data[name]))
		h.Write(data[name])
	}
	return "hmac-sha256:" + hex.EncodeToString(h.Sum(nil))
}
