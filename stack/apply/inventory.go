package apply

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Where inventories lie, and the labels and annotations of ApplySets (KEP-3659).
const (
	SystemNamespace = "kfdev-system" // holds the parent ConfigMap of every set

	idLabel             = "applyset.kubernetes.io/id"
	partOfLabel         = "applyset.kubernetes.io/part-of"
	toolingAnnotation   = "applyset.kubernetes.io/tooling"
	kindsAnnotation     = "applyset.kubernetes.io/contains-group-kinds"
	namespaceAnnotation = "applyset.kubernetes.io/additional-namespaces"
	tooling             = "kfdev/v1"

	managedByLabel = "app.kubernetes.io/managed-by"
	inventoryKey   = "inventory"
	parentPrefix   = "kfdev-"
)

// Inventory is what a set holds in a cluster, as its parent records it.
type Inventory struct {
	Version int    `json:"version"` // of this form
	Name    string `json:"name"`    // of the set: the component
	// Hash is the rendered hash that was applied completely; empty while an
	// apply is under way or was cut off.
	Hash    string   `json:"hash,omitempty"`
	Members []Member `json:"members"`
}

// Member is one object of an inventory.
type Member struct {
	Object
	UID types.UID `json:"uid,omitempty"` // empty: not known to be there yet
	// Desired is a hash of what was applied, and Owned of the fields that the
	// server said were kfdev's then: while both hold, nothing is to be done.
	Desired string `json:"desired,omitempty"`
	Owned   string `json:"owned,omitempty"`
}

// inventoryVersion is the version of the form that this kfdev writes.
const inventoryVersion = 1

// SetID returns the ApplySet id of the set of that name; its members carry it
// as the label applyset.kubernetes.io/part-of.
func SetID(name string) string {
	sum := sha256.Sum256([]byte(parentPrefix + name + "." + SystemNamespace + ".ConfigMap."))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// Selector returns the label selector of the set's members.
func Selector(name string) string { return partOfLabel + "=" + SetID(name) }

// InSet reports whether an object is labelled as a member of a set.
func InSet(o metav1.Object) bool { return o.GetLabels()[partOfLabel] != "" }

// members are an inventory's, by what they are.
type members map[objectKey]Member

func (i Inventory) members() members {
	all := make(members, len(i.Members))
	for _, m := range i.Members {
		all[m.key()] = m
	}
	return all
}

// inventory returns the inventory of these members.
func (m members) inventory(set, hash string) Inventory {
	return Inventory{Version: inventoryVersion, Name: set, Hash: hash, Members: slices.Collect(maps.Values(m))}
}

// equal reports whether both say the same, in whatever order.
func (i Inventory) equal(other Inventory) bool {
	if i.Version != other.Version || i.Name != other.Name || i.Hash != other.Hash || len(i.Members) != len(other.Members) {
		return false
	}
	have := make(map[Member]bool, len(i.Members))
	for _, m := range i.Members {
		have[m] = true
	}
	return !slices.ContainsFunc(other.Members, func(m Member) bool { return !have[m] })
}

func parentResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

// Inventory reads the inventory of a set; nil where there is none.
func (a *Applier) Inventory(ctx context.Context, name string) (*Inventory, error) {
	i, _, err := a.inventory(ctx, name)
	return i, err
}

// parent is which ConfigMap an inventory was read from, and in which version;
// zero where there is none.
type parent struct {
	uid     types.UID
	version string
}

// inventory reads the inventory of a set; nil where there is none.
func (a *Applier) inventory(ctx context.Context, name string) (*Inventory, parent, error) {
	found, err := a.client.Dynamic.Resource(parentResource()).Namespace(SystemNamespace).Get(ctx, parentPrefix+name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, parent{}, nil
	}
	if err != nil {
		return nil, parent{}, &fault.Error{Op: "reading the inventory", Subject: name, Err: err}
	}
	i, err := decode(found)
	return i, parent{found.GetUID(), found.GetResourceVersion()}, err
}

// Inventories reads the inventories of every set in the cluster, by name.
func (a *Applier) Inventories(ctx context.Context) ([]Inventory, error) {
	list, err := a.client.Dynamic.Resource(parentResource()).Namespace(SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: idLabel})
	if err != nil {
		return nil, &fault.Error{Op: "reading the inventories", Err: err}
	}
	var all []Inventory
	for i := range list.Items {
		inventory, err := decode(&list.Items[i])
		if err != nil {
			return nil, err
		}
		all = append(all, *inventory)
	}
	slices.SortFunc(all, func(a, b Inventory) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func decode(parent *unstructured.Unstructured) (*Inventory, error) {
	fail := func(err error) (*Inventory, error) {
		return nil, &fault.Error{Op: "reading the inventory", Subject: parent.GetNamespace() + "/" + parent.GetName(), Err: err,
			Hint: "the ConfigMap was changed by hand, or by a later kfdev"}
	}
	if by := parent.GetAnnotations()[toolingAnnotation]; !strings.HasPrefix(by, "kfdev/") {
		return fail(fmt.Errorf("it belongs to the tool %q", by))
	}
	text, _, _ := unstructured.NestedString(parent.Object, "data", inventoryKey)
	var i Inventory
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		return fail(err)
	}
	if i.Version != inventoryVersion {
		return fail(fmt.Errorf("it has the version %d; this kfdev reads %d", i.Version, inventoryVersion))
	}
	if want := strings.TrimPrefix(parent.GetName(), parentPrefix); i.Name != want {
		return fail(fmt.Errorf("it names the set %q", i.Name))
	}
	for _, m := range i.Members {
		if m.Kind == "" || m.Name == "" || m.APIVersion == "" {
			return fail(errors.New("a member lacks its kind or name"))
		}
	}
	return &i, nil
}

// encode returns the parent that records i.
func encode(i Inventory) (*unstructured.Unstructured, error) {
	slices.SortFunc(i.Members, func(a, b Member) int { return strings.Compare(a.String()+a.APIVersion, b.String()+b.APIVersion) })
	text, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	kinds, namespaces := map[string]bool{}, map[string]bool{}
	for _, m := range i.Members {
		kinds[m.GroupVersionKind().GroupKind().String()] = true
		if m.Namespace != "" && m.Namespace != SystemNamespace {
			namespaces[m.Namespace] = true
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": parentPrefix + i.Name, "namespace": SystemNamespace,
			"labels": map[string]any{idLabel: SetID(i.Name), managedByLabel: "kfdev"},
			"annotations": map[string]any{
				toolingAnnotation: tooling, kindsAnnotation: joined(kinds), namespaceAnnotation: joined(namespaces),
			},
		},
		"data": map[string]any{inventoryKey: string(text)},
	}}, nil
}

func joined(set map[string]bool) string {
	all := make([]string, 0, len(set))
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// record writes the inventory, so that no object is ever in the cluster
// without being in it, and returns the version of its parent. That must still
// be as it was: another kfdev that has written it since knows more.
func (a *Applier) record(ctx context.Context, i Inventory, version string) (string, error) {
	parent, err := encode(i)
	if err != nil {
		return "", err
	}
	only := terms{resourceVersion: version}
	if version == "" {
		if err := a.ensureSystemNamespace(ctx); err != nil {
			return "", err
		}
		only = unlessThere()
	}
	data, err := only.on(parent)
	if err != nil {
		return "", err
	}
	mapping := kube.Mapping{Resource: parentResource(), Namespaced: true}
	written, _, err := a.client.Apply(ctx, kube.Apply{Mapping: mapping, Namespace: SystemNamespace, Name: parent.GetName(),
		Manager: Manager, Content: data, Force: true}) // the parent is kfdev's alone
	if apierrors.IsConflict(err) {
		return "", writtenMeanwhile("recording the inventory", i.Name)
	}
	if err != nil {
		return "", &fault.Error{Op: "recording the inventory", Subject: i.Name, Err: err}
	}
	return written.GetResourceVersion(), nil
}

func writtenMeanwhile(op, set string) error {
	return &fault.Error{Op: op, Subject: set, Kind: fault.Gate,
		Err: errors.New("another kfdev has written it meanwhile"), Hint: "see what it did, and begin again"}
}

// forget deletes the inventory of a set, while it is the one that was read.
func (a *Applier) forget(ctx context.Context, set string, only parent) error {
	err := a.client.Dynamic.Resource(parentResource()).Namespace(SystemNamespace).Delete(ctx, parentPrefix+set,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &only.uid, ResourceVersion: &only.version}})
	switch {
	case apierrors.IsConflict(err):
		return writtenMeanwhile("removing the inventory", set)
	case err != nil && !apierrors.IsNotFound(err):
		return &fault.Error{Op: "removing the inventory", Subject: set, Err: err}
	}
	return nil
}
