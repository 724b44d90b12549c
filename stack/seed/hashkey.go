package seed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// HashKeyName is the Secret, in kfdev's own namespace, that holds the HashKey of
// a cluster.
const HashKeyName = "kfdev-hash-key"

const (
	hashKeyField = "key"
	hashKeyBytes = 32
)

// HashKey keys the hashes that stand for what is in the Secrets of one cluster.
// Whoever has it can try values against such a hash until one fits, so it is
// random, and lies nowhere but in a Secret.
type HashKey struct {
	// Name tells the key from another, and nothing of it: the uid of its Secret.
	// Empty where the cluster does not have it.
	Name types.UID
	Key  []byte
}

// NewHashKey makes a key that no cluster has yet.
func NewHashKey() (HashKey, error) {
	k := HashKey{Key: make([]byte, hashKeyBytes)}
	_, err := rand.Read(k.Key)
	return k, err
}

// HashKey returns the cluster's key; the zero HashKey where it has none.
func (s *Seeder) HashKey(ctx context.Context) (HashKey, error) {
	object := secretObject(apply.SystemNamespace, HashKeyName)
	have, err := s.read(ctx, object)
	if err == nil && have.found && len(have.data[hashKeyField]) != hashKeyBytes {
		err = fmt.Errorf("it is to hold %d bytes under %q", hashKeyBytes, hashKeyField)
	}
	if err != nil {
		return HashKey{}, &fault.Error{Op: "reading the key of hashes", Subject: object.String(), Err: err,
			Hint: "where it was damaged, delete it: the next promotion makes another, and plans that were made before do not count any more"}
	}
	return HashKey{Name: have.uid, Key: have.data[hashKeyField]}, nil
}

// KeepHashKey gives a new key to the cluster, and never in place of one.
func (s *Seeder) KeepHashKey(ctx context.Context, k HashKey) (HashKey, error) {
	object := secretObject(apply.SystemNamespace, HashKeyName)
	err := s.permitted(ctx)
	var made *unstructured.Unstructured
	if err == nil {
		made, err = s.secrets(object.Namespace).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": opaque, "immutable": true,
			"metadata": map[string]any{"name": object.Name, "namespace": object.Namespace,
				"labels": map[string]any{"app.kubernetes.io/managed-by": "kfdev", ComponentLabel: "hashes"}},
			"data": map[string]any{hashKeyField: base64.StdEncoding.EncodeToString(k.Key)},
		}}, metav1.CreateOptions{FieldManager: manager})
	}
	if apierrors.IsAlreadyExists(err) {
		err = errors.New("another was made meanwhile")
	}
	if err != nil {
		return k, &fault.Error{Op: "keeping the key of hashes", Subject: object.String(), Err: err}
	}
	k.Name = made.GetUID()
	return k, nil
}
