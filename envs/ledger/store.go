package ledger

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// Where the ledger and its lease lie.
const (
	namespace = apply.SystemNamespace
	name      = "ledger"
	place     = namespace + "/" + name
	key       = "ledger" // of the ConfigMap's data

	managedByLabel = "app.kubernetes.io/managed-by"
)

// Store is the ledger of one cluster. It is safe for concurrent use.
type Store struct {
	client *kube.Client
	leases leases
	sink   progress.Sink
}

// New returns the ledger of the client's cluster. It sends nothing yet.
func New(client *kube.Client, sink progress.Sink) *Store {
	return &Store{client: client, leases: &served{client}, sink: sink}
}

// Read returns what the environment remembers; found is false where nothing was
// ever promoted there.
func (s *Store) Read(ctx context.Context) (l Ledger, found bool, err error) {
	l, object, err := s.read(ctx)
	return l, object != nil, err
}

// read returns the ledger with the object that holds it, nil where there is
// none.
func (s *Store) read(ctx context.Context) (Ledger, *unstructured.Unstructured, error) {
	object, err := s.configMaps().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Ledger{}, nil, nil
	}
	if err != nil {
		return Ledger{}, nil, &fault.Error{Op: "reading what the environment remembers", Subject: "ConfigMap " + place, Err: err}
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err == nil && (len(data) != 1 || data[key] == "" || object.Object["binaryData"] != nil) {
		err = fmt.Errorf("it is to hold the key %q and nothing else", key)
	}
	var l Ledger
	if err == nil {
		l, err = Decode([]byte(data[key]))
	}
	if err != nil {
		return Ledger{}, nil, unreadable(err)
	}
	uid, err := clusterUID(ctx, s.client)
	if err != nil {
		return Ledger{}, nil, err
	}
	if l.Cluster != uid {
		return Ledger{}, nil, unreadable(fmt.Errorf("it is about the cluster %s, and this is %s: it came here in a copy, or a backup", l.Cluster, uid))
	}
	return l, object, nil
}

// create writes the first ledger of a cluster. Where another was faster, there
// is one now, and that is no error.
func (s *Store) create(ctx context.Context, l Ledger) error {
	data, err := Encode(l)
	if err != nil {
		return err
	}
	_, err = s.configMaps().Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{managedByLabel: apply.Manager}},
		"data":     map[string]any{key: string(data)},
	}}, metav1.CreateOptions{FieldManager: apply.Manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return &fault.Error{Op: "writing what the environment remembers", Subject: "ConfigMap " + place, Err: err}
	}
	return nil
}

// write puts l in the place of what object holds; the server refuses it where
// that is there no more. written is false where it was changed meanwhile.
func (s *Store) write(ctx context.Context, object *unstructured.Unstructured, l Ledger) (written bool, err error) {
	fail := func(err error) (bool, error) {
		return false, &fault.Error{Op: "writing what the environment remembers", Subject: "ConfigMap " + place, Err: err}
	}
	data, err := Encode(l)
	if err != nil {
		return fail(err)
	}
	object.Object["data"] = map[string]any{key: string(data)}
	_, err = s.configMaps().Update(ctx, object, metav1.UpdateOptions{FieldManager: apply.Manager})
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsConflict(err):
		return false, nil
	case apierrors.IsNotFound(err):
		return fail(errGone)
	}
	return fail(err)
}

// errGone is the ledger deleted under a promotion's hands.
var errGone = errors.New("it was deleted while it was in use")

func (s *Store) configMaps() dynamic.ResourceInterface {
	return s.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)
}

// ensureNamespace makes the namespace, where it is not there; what others did
// to it stays.
func (s *Store) ensureNamespace(ctx context.Context) error {
	namespaces := s.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	_, err := namespaces.Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = namespaces.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": namespace, "labels": map[string]any{managedByLabel: apply.Manager}},
		}}, metav1.CreateOptions{FieldManager: apply.Manager})
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err != nil {
		return &fault.Error{Op: "making kfdev's namespace", Subject: namespace, Err: err}
	}
	return nil
}
