package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
)

// CarryOptions are the options of Carry. Its functions are called by several
// goroutines at once.
type CarryOptions struct {
	Seeing // as in the proposal
	// Fence is asked before every write, the inventory's too; where it fails,
	// nothing more is written.
	Fence func(ctx context.Context) error
	// Before is called before an object is written, and After when that is done
	// or has failed: a journal's.
	Before func(ctx context.Context, o Object, c Change) error
	After  func(ctx context.Context, o Object, c Change, err error) error
}

// Carry does exactly what the proposal says, in the stages of Apply. Where an
// object is no longer as it was planned, or the set is another, that is an error
// that names it (a fault of kind Gate), and nothing of its stage is written.
// The server holds every write against what was seen: updates and deletes name
// the object's uid and version, creates never change what is there, and the
// inventory is written only over the one that was read. Of what is as planned
// already nothing is written, so a Carry that was cut off is begun again with
// the same proposal.
func (a *Applier) Carry(ctx context.Context, set Set, p Proposal, o CarryOptions) (changes ChangeSet, err error) {
	task := set.task(a.sink)
	defer func() { task.End(err) }()
	if err := p.Problems(); err != nil {
		return nil, err
	}
	o.Seeing = o.ready()
	w, err := a.examine(ctx, set)
	if err != nil {
		return nil, err
	}
	b := &bound{applier: a, work: w, options: o, planned: map[objectKey]*Proposed{}}
	for n := range p.Objects {
		b.planned[p.Objects[n].Object.key()] = &p.Objects[n]
	}
	if p.Set != set.Name || p.Hash != w.hash(set) {
		return nil, &fault.Error{Op: "carrying out the plan", Subject: set.Name, Kind: fault.Gate,
			Err: errors.New("it was made for other objects"), Hint: "plan again"}
	}
	if err := b.admit(set); err != nil {
		return nil, err
	}
	r := &run{applier: a, set: set, work: w, way: b, task: task}
	return r.all(ctx)
}

// bound is the way of Carry.
type bound struct {
	applier *Applier
	work    *work
	options CarryOptions
	planned map[objectKey]*Proposed
	looked  bool // whether anything was reviewed before
}

// notAsPlanned says that an object is not as the plan saw it.
func notAsPlanned(o Object, format string, args ...any) error {
	return &fault.Error{Op: "carrying out the plan", Subject: o.String(), Kind: fault.Gate,
		Err: fmt.Errorf(format, args...), Hint: "the plan no longer holds: plan again"}
}

// admit holds what is to be deleted against the plan, and that there is no
// object without a line in it.
func (b *bound) admit(set Set) error {
	var problems []error
	for _, i := range b.work.items {
		if b.planned[i.object.key()] == nil {
			problems = append(problems, notAsPlanned(i.object, "the plan does not have it"))
		}
	}
	for _, g := range b.work.gone {
		p := b.planned[g.key()]
		change, reason := g.fate(set.Delete)
		switch {
		case change != Deleted && (p == nil || p.Change != Deleted || change == ""):
			// Nothing is done, and nothing was to be, or it is done already.
		case p == nil:
			problems = append(problems, notAsPlanned(g.Object, "it would be deleted, and the plan does not have it: it came with another promotion"))
		case change != p.Change:
			problems = append(problems, notAsPlanned(g.Object, "it was to be %s and would now be %s %s", p.Change, change, reason))
		case g.live.uid != p.UID:
			problems = append(problems, notAsPlanned(g.Object, "it was deleted and made anew"))
		}
	}
	return errors.Join(problems...)
}

// write does one write with what the caller wants around it.
func (b *bound) write(ctx context.Context, o Object, c Change, do func() error) error {
	if b.options.Before != nil {
		if err := b.options.Before(ctx, o, c); err != nil {
			return err
		}
	}
	err := do()
	if b.options.After != nil {
		err = errors.Join(err, b.options.After(ctx, o, c, err))
	}
	return err
}

func (b *bound) fence(ctx context.Context) error {
	if b.options.Fence == nil {
		return nil
	}
	return b.options.Fence(ctx)
}

// put brings an object in as planned. It may have moved since the review: then
// it is looked at again, for most of what moves is noise.
func (b *bound) put(ctx context.Context, i *item) (o *unstructured.Unstructured, created bool, err error) {
	p := b.planned[i.object.key()]
	err = b.write(ctx, i.object, p.Change, func() error {
		for range attempts {
			if err := b.fence(ctx); err != nil {
				return err
			}
			o, created, err = b.applier.send(ctx, i, i.terms)
			if !apierrors.IsConflict(err) {
				return err
			}
			if err := b.again(ctx, i); err != nil {
				return err
			}
			if i.change == Unchanged { // as planned, by somebody else or an earlier run
				o, err = b.applier.read(ctx, i.object)
				return err
			}
		}
		return notAsPlanned(i.object, "it changes faster than it can be written")
	})
	return o, created, err
}

// drop deletes an object as planned.
func (b *bound) drop(ctx context.Context, g gone) error {
	p := b.planned[g.key()]
	return b.write(ctx, g.Object, Deleted, func() error {
		version := p.ResourceVersion
		for range attempts {
			if err := b.fence(ctx); err != nil {
				return err
			}
			err := b.applier.delete(ctx, g, version)
			if !apierrors.IsConflict(err) {
				return err
			}
			now, err := b.applier.read(ctx, g.Object)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return refused(g.Object, err)
			}
			if now.GetDeletionTimestamp() != nil {
				return nil
			}
			hash, err := b.options.hash(now)
			if err != nil {
				return err
			}
			if now.GetUID() != p.UID || hash != p.Before {
				return notAsPlanned(g.Object, "%s has written to it since", lastManager(now))
			}
			version = now.GetResourceVersion()
		}
		return notAsPlanned(g.Object, "it changes faster than it can be deleted")
	})
}

func (b *bound) record(ctx context.Context, i Inventory, version string) (string, error) {
	if err := b.fence(ctx); err != nil {
		return "", err
	}
	return b.applier.record(ctx, i, version)
}

func (b *bound) forget(ctx context.Context, set string, only parent) error {
	if err := b.fence(ctx); err != nil {
		return err
	}
	return b.applier.forget(ctx, set, only)
}
