package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
)

// Proposal is what a Carry is to do, object by object, as Propose saw it.
type Proposal struct {
	Set string `json:"set"`
	// Hash names everything that would be sent and what may be deleted.
	Hash    string     `json:"hash"`
	Objects []Proposed `json:"objects"`
}

// Proposed is one object of a Proposal.
type Proposed struct {
	Object Object `json:"object"`
	Change Change `json:"change"`
	Reason string `json:"reason,omitempty"` // why it is skipped, or changed though no field is; from which set it is taken over
	Heir   string `json:"heir,omitempty"`   // the set that has it now, where this one has it no more
	// The live object as it was looked at; empty where there is none.
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	// Hashes of the object without noise, as SHA-256 in hexadecimal: as it is, and
	// as the server said in a dry run that it would be. A Secret's are keyed. Empty
	// where there is none, where there is no key, or where metadata showed that
	// nothing is to be done.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`

	Fields    []FieldChange `json:"fields,omitempty"`
	Conflicts []Conflict    `json:"conflicts,omitempty"`
	// Blocked says why the server would refuse it: a field that cannot be changed,
	// a version of a kind in which objects are stored, a policy.
	Blocked string `json:"blocked,omitempty"`
	// Denied is set where that is a policy, a quota or a webhook: what else is in
	// the cluster decides it.
	Denied bool `json:"denied,omitempty"`
	// Unchecked says what the server could not be asked, and why.
	Unchecked string `json:"unchecked,omitempty"`
}

// Conflict is a field that another manager holds and the set wants otherwise.
type Conflict struct {
	Field   string       `json:"field"` // as the server writes it
	Manager string       `json:"manager"`
	Since   *metav1.Time `json:"since,omitempty"` // of the manager's last change of the object
	Force   bool         `json:"force,omitempty"` // it is to be taken
}

// Changed reports whether there is anything to be done.
func (p Proposal) Changed() bool {
	return slices.ContainsFunc(p.Objects, func(o Proposed) bool { return o.Change != Unchanged && o.Change != Skipped })
}

// Stripper takes from an object what is no difference. It leaves the object alone.
type Stripper interface {
	Strip(o *unstructured.Unstructured) *unstructured.Unstructured
}

// Seeing is how objects are compared, the same for a proposal and its carrying out.
type Seeing struct {
	Noise Stripper // nil: what is known of Kubernetes and the stack (noise.Plans)
	// SecretKey keys the hashes that stand for what is in Secrets. Needed only
	// where a set has some.
	SecretKey []byte
	// Keyless has Propose tell no hash of what is in Secrets, where there is no
	// key. Whoever carries such a proposal out has to put them in.
	Keyless bool
}

// ProposeOptions are the options of Propose.
type ProposeOptions struct {
	Seeing
	// Force says which conflicts are to be decided in the set's favour; nil: none.
	// An object is forced only where it says so of all of its conflicts.
	Force func(Object, Conflict) bool
}

const beingDeleted = "the one that is there is being deleted"

// Propose says what is to be done to bring the set in, and writes nothing.
// Objects whose metadata shows that they are as they were applied cost no
// request of their own; the server is asked about every other in a dry run.
func (a *Applier) Propose(ctx context.Context, set Set, o ProposeOptions) (Proposal, error) {
	o.Seeing = o.ready()
	w, err := a.examine(ctx, set)
	if err != nil {
		return Proposal{}, err
	}
	if w.absent, err = a.absent(ctx, w); err != nil {
		return Proposal{}, &fault.Error{Op: "planning the changes", Subject: set.Name, Err: err}
	}
	p := Proposal{Set: set.Name, Hash: w.hash(set), Objects: make([]Proposed, len(w.items), len(w.items)+len(w.gone))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n, i := range w.items {
		p.Objects[n] = Proposed{Object: i.object, Change: i.change, Reason: i.taken, UID: i.live.uid, ResourceVersion: i.live.resourceVersion}
		if i.change == Unchanged {
			continue
		}
		group.Go(func() error { return a.judge(ctx, w, i, o, &p.Objects[n]) })
	}
	former := make([]Proposed, len(w.gone))
	for n, g := range w.gone {
		group.Go(func() error { return a.judgeGone(ctx, g, set.Delete, o, &former[n]) })
	}
	if err := group.Wait(); err != nil {
		return Proposal{}, &fault.Error{Op: "planning the changes", Subject: set.Name, Err: err}
	}
	for _, f := range former {
		if f.Change != "" {
			p.Objects = append(p.Objects, f)
		}
	}
	slices.SortFunc(p.Objects, func(a, b Proposed) int {
		return cmp.Or(strings.Compare(a.Object.Kind, b.Object.Kind), strings.Compare(a.Object.Namespace, b.Object.Namespace),
			strings.Compare(a.Object.Name, b.Object.Name), strings.Compare(a.Object.APIVersion, b.Object.APIVersion))
	})
	return p, nil
}

// absent returns the namespaces of new objects that are not there. The server
// waits a moment before it refuses a single object for that (missingNamespaceWait
// in k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle), so it is not asked.
func (a *Applier) absent(ctx context.Context, w *work) (map[string]bool, error) {
	absent, known := map[string]bool{}, map[string]bool{"": true}
	for _, i := range w.items {
		if isNamespace(i.object.Kind, i.object.APIVersion) && i.live.denied == nil {
			known[i.object.Name] = true
			absent[i.object.Name] = !i.live.found
		}
	}
	for _, i := range w.items {
		if i.change != Created || known[i.object.Namespace] {
			continue
		}
		known[i.object.Namespace] = true
		found, err := a.metadata(ctx, Object{APIVersion: "v1", Kind: "Namespace", Name: i.object.Namespace})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		absent[i.object.Namespace] = found == nil && err == nil
	}
	return absent, nil
}

// judge finds out what would become of one object.
func (a *Applier) judge(ctx context.Context, w *work, i *item, o ProposeOptions, p *Proposed) error {
	switch {
	case i.live.denied != nil:
		p.Unchecked = "it may not be read: " + message(i.live.denied, isSecret(i.object))
		return nil
	case i.live.deleting:
		p.Change, p.Reason, p.UID, p.ResourceVersion = Created, beingDeleted, "", ""
		p.Unchecked = "the server is asked once it is gone"
		return nil
	case i.change == Created && w.absent[i.object.Namespace]:
		p.Unchecked = "the namespace " + i.object.Namespace + " is not there yet"
		return nil
	case i.change == Created:
		after, _, err := a.send(ctx, i, terms{resourceVersion: unlessThere().resourceVersion, dryRun: true})
		if err == nil {
			p.After, err = o.tell(after)
			return err
		}
		if !apierrors.IsConflict(err) {
			return w.verdict(i, err, p)
		}
	}
	// It may change, or even be made, between the look and the question.
	for range attempts {
		before, err := a.read(ctx, i.object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return w.verdict(i, err, p)
		}
		again, err := a.compare(ctx, w, i, before, o, p)
		if !again {
			return err
		}
	}
	return fmt.Errorf("%s changes faster than it can be looked at", i.object)
}

// attempts bounds how often something is begun again because it changed meanwhile.
const attempts = 8

// compare holds an object against what the server says that it would be.
func (a *Applier) compare(ctx context.Context, w *work, i *item, before *unstructured.Unstructured, o ProposeOptions, p *Proposed) (again bool, err error) {
	p.Change, p.UID, p.ResourceVersion = Configured, before.GetUID(), before.GetResourceVersion()
	if p.Before, err = o.tell(before); err != nil {
		return false, err
	}
	if dropped := droppedVersions(before, i.content); dropped != "" {
		p.Blocked = dropped
	}
	only := terms{uid: p.UID, resourceVersion: p.ResourceVersion, dryRun: true}
	after, _, err := a.send(ctx, i, only)
	if p.Conflicts = conflictsOf(err, before); len(p.Conflicts) > 0 {
		o.decide(p)
		only.force = true
		after, _, err = a.send(ctx, i, only)
	}
	if apierrors.IsConflict(err) {
		return true, nil
	}
	if err != nil {
		p.Fields = o.changes(before, i.content, true)
		if err := w.verdict(i, err, p); err != nil {
			return false, err
		}
		if fixed := immutable(i.object, before, p.Fields); p.Blocked == "" && fixed != "" {
			p.Blocked = fixed
		}
		return false, nil
	}
	if p.After, err = o.tell(after); err != nil {
		return false, err
	}
	if done(before, after) {
		p.Change, p.Reason = Unchanged, ""
		return false, nil
	}
	if p.Fields = o.changes(before, after, false); len(p.Fields) == 0 && p.Reason == "" {
		p.Reason = "only who owns its fields"
	}
	return false, nil
}

// decide marks the conflicts that are to be taken: all of an object's, or none.
func (o ProposeOptions) decide(p *Proposed) {
	if o.Force == nil || slices.ContainsFunc(p.Conflicts, func(c Conflict) bool { return !o.Force(p.Object, c) }) {
		return
	}
	for n := range p.Conflicts {
		p.Conflicts[n].Force = true
	}
}

// judgeGone says what would become of a former member.
func (a *Applier) judgeGone(ctx context.Context, g gone, named []Object, o ProposeOptions, p *Proposed) error {
	*p = Proposed{Object: g.Object, Heir: g.heir}
	if g.live.denied != nil {
		p.Change, p.Reason, p.Unchecked = Skipped, "it may not be read", message(g.live.denied, isSecret(g.Object))
		return nil
	}
	if p.Change, p.Reason = g.fate(named); p.Change == "" {
		return nil
	}
	p.UID, p.ResourceVersion = g.live.uid, g.live.resourceVersion
	if p.Change != Deleted {
		return nil
	}
	before, err := a.read(ctx, g.Object)
	switch {
	case apierrors.IsNotFound(err), err == nil && before.GetUID() != g.live.uid:
		p.Change = ""
		return nil
	case apierrors.IsForbidden(err):
		p.Unchecked = "it may not be read: " + message(err, isSecret(g.Object))
		return nil
	case err != nil:
		return err
	}
	p.ResourceVersion = before.GetResourceVersion()
	p.Before, err = o.tell(before)
	return err
}

// Problems returns an error for every object that the server would refuse, and
// for every conflict that the proposal does not force: none of it can be carried.
func (p Proposal) Problems() error {
	var problems []error
	for _, o := range p.Objects {
		if o.Blocked != "" {
			problems = append(problems, &fault.Error{Op: "planning the changes", Subject: o.Object.String(), Kind: fault.Gate, Err: errors.New(o.Blocked),
				Hint: "what cannot be changed in place has to be deleted first"})
		}
		for _, c := range o.Conflicts {
			if !c.Force {
				problems = append(problems, &fault.Error{Op: "planning the changes", Subject: o.Object.String(), Kind: fault.Drift,
					Err:  fmt.Errorf("the field %s is held by %q", c.Field, c.Manager),
					Hint: "undo that change, or plan to take the field"})
			}
		}
	}
	return errors.Join(problems...)
}
