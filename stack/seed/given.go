package seed

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// Given is a Secret whose values somebody gave, or that has to be there.
type Given struct {
	Namespace, Name string
	Type            string // empty: Opaque
	Data            map[string][]byte
	There           bool // it is somebody else's, with whatever values
}

// GivenChange is what becomes of a given Secret. It holds no value.
type GivenChange struct {
	apply.Object
	Change apply.Change `json:"change"`
	// The live Secret as it was looked at; empty where there is none, or where it
	// is somebody else's.
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	// Before and After are keyed hashes of the values; empty where there are none,
	// where they are somebody else's, and where there is no key.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Unchecked says why a plan could not tell; Change is Skipped then.
	Unchecked string `json:"unchecked,omitempty"`
}

// givenLabel is the component that given Secrets are for.
const givenLabel = "secrets"

// PlanGiven says what EnsureGiven would do, and writes nothing. Hashes of values
// are keyed with key; without one it tells none.
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
	data := map[string][]byte{}
	for name := range have.data {
		data[name] = nil // what is given no more goes
	}
	for name, value := range g.Data {
		data[name] = append([]byte{}, value...) // an empty value is one
	}
	err = s.write(ctx, givenLabel, g.kind(), change.Object, have, data)
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
		return change, have, nil
	}
	if have.found && have.component != givenLabel {
		return fail(fault.Preflight, "take it out of the way; or leave its keys out of kfdev.yaml, and it is used as it is", errors.New("it is there, and kfdev did not make it"))
	}
	if have.found && have.kind != g.kind() {
		return fail(fault.Preflight, "a Secret's type never changes: delete it first", fmt.Errorf("it is of type %s, not %s", have.kind, g.kind()))
	}
	change.UID, change.ResourceVersion = have.uid, have.version
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
		return opaque
	}
	return g.Type
}

// Copied is a Secret that is there, to be given elsewhere, too. One that is not
// there is a fault of kind NotFound.
func (s *Seeder) Copied(ctx context.Context, namespace, name string) (Given, error) {
	have, err := s.read(ctx, secretObject(namespace, name))
	if err == nil && !have.found {
		err = &fault.Error{Kind: fault.NotFound, Err: errors.New("it is not there")}
	}
	if err != nil {
		return Given{}, &fault.Error{Op: "reading the secret", Subject: namespace + "/" + name, Err: err}
	}
	return Given{Namespace: namespace, Name: name, Type: have.kind, Data: have.data}, nil
}

// keyed is a hash of values that says nothing to whoever has not the key; empty
// without one.
func keyed(key []byte, data map[string][]byte) string {
	if len(key) == 0 {
		return ""
	}
	h := hmac.New(sha256.New, key)
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%d:%s%d:", len(name), name, len(data[name]))
		h.Write(data[name])
	}
	return "hmac-sha256:" + hex.EncodeToString(h.Sum(nil))
}
