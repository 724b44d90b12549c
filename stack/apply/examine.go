package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// item is one object of a set, with what is known of it.
type item struct {
	set     string // its name
	object  Object
	content *unstructured.Unstructured // as it is sent
	manager string
	desired string // hash of content
	stage   stage
	live    live
	member  Member // of the inventory; zero where it is new
	change  Change // Created, Configured (perhaps) or Unchanged
	taken   string // from which other set; empty where it is from none
	terms   terms  // on which a Carry writes it
}

// live is what the cluster says of an object.
type live struct {
	found           bool
	deleting        bool
	uid             types.UID
	resourceVersion string
	partOf          string
	owned           string
	applied         metav1.Time // when kfdev last changed it
	ours            bool        // kfdev has put it into its set
	denied          error       // why it could not be read; nothing else is known then
}

// gone is a member of the inventory that the set holds no more.
type gone struct {
	Member
	set  string
	live live
	heir string // the set beside that has it now; empty where none does
}

// work is what an apply has to do.
type work struct {
	inventory Inventory
	parent    parent
	items     []*item
	gone      []gone
	absent    map[string]bool   // namespaces of new objects that are not there
	names     map[string]string // of the sets in the cluster, by id; nil before they are needed
}

func (w *work) of(s stage) []*item {
	var items []*item
	for _, i := range w.items {
		if i.stage == s {
			items = append(items, i)
		}
	}
	return items
}

// changed reports whether anything is to be sent, or the members differ from
// what is recorded.
func (w *work) changed() bool {
	for _, i := range w.items {
		if i.change != Unchanged {
			return true
		}
	}
	return len(w.gone) > 0
}

// examine compares the set with its inventory and with the cluster. It costs
// one read of the inventory and, for every kind, one list of metadata.
func (a *Applier) examine(ctx context.Context, set Set) (*work, error) {
	recorded, parent, err := a.inventory(ctx, set.Name)
	if err != nil {
		return nil, err
	}
	w := &work{inventory: Inventory{Name: set.Name}, parent: parent}
	if recorded != nil {
		w.inventory = *recorded
	}
	if err := a.prepare(ctx, set, w); err != nil {
		return nil, err
	}
	wanted := map[objectKey]bool{}
	for _, i := range w.items {
		if wanted[i.object.key()] {
			return nil, &fault.Error{Op: "applying the component", Subject: set.Name, Err: fmt.Errorf("%s comes twice", i.object)}
		}
		wanted[i.object.key()] = true
	}
	for _, m := range w.inventory.Members {
		if !wanted[m.key()] {
			w.gone = append(w.gone, gone{Member: m, set: set.Name})
		}
		wanted[m.key()] = true
	}
	for _, o := range set.Delete { // what an earlier release left behind
		if !wanted[o.key()] {
			w.gone = append(w.gone, gone{Member: Member{Object: o}, set: set.Name})
		}
	}
	if err := a.look(ctx, set.Name, w); err != nil {
		return nil, &fault.Error{Op: "looking at the cluster", Subject: set.Name, Err: err}
	}
	if err := a.inherit(ctx, set, w); err != nil {
		return nil, err
	}
	return w, a.decide(ctx, set, w)
}

// prepare makes the items: the objects as they are sent.
func (a *Applier) prepare(ctx context.Context, set Set, w *work) error {
	for _, o := range set.Objects {
		if isCRD(o) {
			if err := a.client.Mapper.Learn(o); err != nil {
				return &fault.Error{Op: "applying the component", Subject: set.Name, Err: err}
			}
		}
	}
	known := w.inventory.members()
	for _, o := range set.Objects {
		content := o.DeepCopy()
		if err := a.scope(ctx, set, content); err != nil {
			return err
		}
		i := &item{manager: Manager, content: content, stage: stageOf(content)}
		labels := content.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		if isNamespace(content.GetKind(), content.GetAPIVersion()) {
			// Components may share a namespace: each owns what it says of it, and
			// none is its owner.
			i.manager = Manager + "-" + set.Name
			labels[managedByLabel] = "kfdev"
		} else {
			labels[partOfLabel] = SetID(set.Name)
		}
		content.SetLabels(labels)
		unstructured.RemoveNestedField(content.Object, "status")
		data, err := json.Marshal(content.Object)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		i.object, i.desired = ObjectOf(content), hex.EncodeToString(sum[:16])
		i.member = known[i.object.key()]
		w.items = append(w.items, i)
	}
	return nil
}

// scope gives a namespace to an object that needs one, and takes it from one
// that has none.
func (a *Applier) scope(ctx context.Context, set Set, o *unstructured.Unstructured) error {
	mapping, err := a.client.Mapper.Mapping(ctx, o.GroupVersionKind())
	var unknown *kube.UnknownKindError
	if errors.As(err, &unknown) {
		return nil // said when it is applied, for the kind may be there by then
	}
	if err != nil {
		return &fault.Error{Op: "applying the component", Subject: set.Name, Err: err}
	}
	switch {
	case !mapping.Namespaced:
		o.SetNamespace("")
	case o.GetNamespace() == "" && set.Namespace != "":
		o.SetNamespace(set.Namespace)
	case o.GetNamespace() == "":
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return nil
}

// decide says for every item what is to be done.
func (a *Applier) decide(ctx context.Context, set Set, w *work) error {
	var problems []error
	for _, i := range w.items {
		i.set = set.Name
		if err := a.takeOver(ctx, set, w, i); err != nil {
			problems = append(problems, err)
			continue
		}
		i.change = i.wanting()
	}
	return errors.Join(problems...)
}

// others returns an error where another set has the object.
func (i *item) others() error {
	if i.live.partOf == "" || i.live.partOf == SetID(i.set) {
		return nil
	}
	return &fault.Error{Op: "applying the component", Subject: i.set, Hint: "two components may not hold the same object",
		Err: fmt.Errorf("%s belongs to another set (%s)", i.object, i.live.partOf)}
}

// wanting says what is to be done for an item, as far as metadata tells.
func (i *item) wanting() Change {
	switch {
	case i.live.denied != nil:
		return Configured
	case !i.live.found:
		return Created
	case i.taken != "":
		return Configured
	case !i.live.deleting && i.member.UID == i.live.uid && i.member.APIVersion == i.object.APIVersion && i.member.Desired == i.desired && i.member.Owned == i.live.owned:
		return Unchanged
	}
	return Configured
}

// denied returns an error for each object that may not be read.
func (w *work) denied() []error {
	var problems []error
	for _, i := range w.items {
		if i.live.denied != nil {
			problems = append(problems, &fault.Error{Op: "looking at the cluster", Subject: i.object.String(), Kind: fault.Preflight, Err: i.live.denied})
		}
	}
	for _, g := range w.gone {
		if g.live.denied != nil {
			problems = append(problems, &fault.Error{Op: "looking at the cluster", Subject: g.String(), Kind: fault.Preflight, Err: g.live.denied})
		}
	}
	return problems
}

// ownership returns a hash of the fields that the server says are the
// manager's. It changes when anyone changes one of them or takes it over, and
// stays so when the value is changed back. The time is that of the last apply
// that changed something.
func ownership(entries []metav1.ManagedFieldsEntry, manager string) (hash string, applied metav1.Time, err error) {
	for _, e := range entries {
		if e.Manager != manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		// The same fields come in another order from another request.
		var fields any
		if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
			return "", applied, fmt.Errorf("reading who owns its fields: %w", err)
		}
		data, err := json.Marshal(fields)
		if err != nil {
			return "", applied, err
		}
		if e.Time != nil {
			applied = *e.Time
		}
		sum := sha256.Sum256(append([]byte(e.APIVersion+"\n"), data...))
		return hex.EncodeToString(sum[:16]), applied, nil
	}
	return "", applied, nil
}

// hash names what an apply of the set would send, and what it may delete.
func (w *work) hash(set Set) string {
	h := sha256.New()
	var lines []string
	for _, i := range w.items {
		lines = append(lines, fmt.Sprintf("%s %s %s", i.object.APIVersion, i.object, i.desired))
	}
	for _, o := range set.Delete {
		lines = append(lines, "delete "+o.APIVersion+" "+o.String())
	}
	if set.Leaves {
		lines = append(lines, "leaves")
	}
	slices.Sort(lines)
	fmt.Fprintf(h, "%s\n%s\n%s\n", set.Name, set.Hash, strings.Join(lines, "\n"))
	return hex.EncodeToString(h.Sum(nil))
}
