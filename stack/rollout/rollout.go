// Package rollout brings one component up in a cluster, whole: what must be
// there before, its objects, and the wait until they are ready. It can be cut
// off anywhere and called again.
package rollout

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/certs"
	"github.com/kfdev/kfdev/stack/ready"
	"github.com/kfdev/kfdev/stack/seed"
)

// Unit is a component as it is to run.
type Unit struct {
	Component stack.Component
	Objects   []*unstructured.Unstructured // rendered, every image by digest
	Hash      string                       // rendered hash, as the lock has it
}

// Rollout brings components up in one cluster. It is safe for concurrent use by
// different components.
type Rollout struct {
	applier *apply.Applier
	seeder  *seed.Seeder
	waiter  *ready.Waiter
}

// New returns a Rollout that waits for a component at most as long as within.
func New(client *kube.Client, sink progress.Sink, within time.Duration) *Rollout {
	waiter := ready.New(client, sink, within)
	return &Rollout{applier: apply.New(client, waiter, sink), seeder: seed.New(client, time.Now), waiter: waiter}
}

// Observation is what is found of a component.
type Observation struct {
	Changes apply.ChangeSet // what Up would do
	Status  []ready.Status  // of what is there; empty where something would change
}

// Done reports whether Up would do nothing: nothing to change, everything Current.
func (o Observation) Done() bool {
	return !o.Changes.Changed() && !slices.ContainsFunc(o.Status, func(s ready.Status) bool { return s.State != ready.Current })
}

// Observe says what Up would do. It writes nothing.
func (r *Rollout) Observe(ctx context.Context, u Unit) (Observation, error) {
	seeded, err := r.seeder.Plan(ctx, u.Component)
	if err != nil {
		return Observation{}, err
	}
	objects, err := trusted(u, seeded)
	if err != nil {
		return Observation{}, err
	}
	planned, err := r.applier.Plan(ctx, u.set(objects))
	o := Observation{Changes: append(seeded.Changes, planned...)}
	if err != nil || o.Changes.Changed() {
		return o, err
	}
	o.Status, err = r.waiter.Look(ctx, u.Component.Name, u.Objects)
	return o, err
}

// Up brings the component up and returns when it is ready. The changes are
// returned also where it fails.
func (r *Rollout) Up(ctx context.Context, u Unit) (apply.ChangeSet, error) {
	seeded, err := r.seeder.Ensure(ctx, u.Component)
	if err != nil {
		return seeded.Changes, err
	}
	objects, err := trusted(u, seeded)
	if err != nil {
		return seeded.Changes, err
	}
	applied, err := r.applier.Apply(ctx, u.set(objects))
	changes := append(seeded.Changes, applied...)
	if err != nil {
		return changes, err
	}
	return changes, r.waiter.Wait(ctx, u.Component.Name, u.Objects)
}

// Down removes a component's objects, by the inventory that the cluster holds
// of it. Namespaces, volumes and kinds stay unless they are named; so do its
// Secrets of random values, which what the volumes hold may need.
func (r *Rollout) Down(ctx context.Context, name string, named ...apply.Object) (apply.ChangeSet, error) {
	return r.applier.Remove(ctx, name, named...)
}

// PlanDown says what Down would do.
func (r *Rollout) PlanDown(ctx context.Context, name string, named ...apply.Object) (apply.ChangeSet, error) {
	return r.applier.PlanRemove(ctx, name, named...)
}

// Status reads every object of the component that has a status.
func (r *Rollout) Status(ctx context.Context, u Unit) ([]ready.Status, error) {
	return r.waiter.Look(ctx, u.Component.Name, u.Objects)
}

// Installed returns the inventories of every component in the cluster.
func (r *Rollout) Installed(ctx context.Context) ([]apply.Inventory, error) {
	return r.applier.Inventories(ctx)
}

// Login returns what a person logs in with at the component's page; empty
// where it needs no login.
func (r *Rollout) Login(ctx context.Context, c stack.Component) (user, password string, err error) {
	if c.Open == nil || c.Open.Secret == "" {
		return "", "", nil
	}
	namespace := c.Open.Namespace
	if namespace == "" {
		namespace = c.Namespace
	}
	if c.Open.UserKey != "" {
		if user, err = r.seeder.Read(ctx, namespace, c.Open.Secret, c.Open.UserKey); err != nil {
			return "", "", err
		}
	}
	if c.Open.PasswordKey != "" {
		password, err = r.seeder.Read(ctx, namespace, c.Open.Secret, c.Open.PasswordKey)
	}
	return user, password, err
}

func (u Unit) set(objects []*unstructured.Unstructured) apply.Set {
	return apply.Set{Name: u.Component.Name, Namespace: u.Component.Namespace, Hash: u.Hash, Objects: objects}
}

// trusted returns the unit's objects with the authorities of its certificates
// in. One that a plan would make is not known yet and left out.
func trusted(u Unit, seeded seed.Result) ([]*unstructured.Unstructured, error) {
	objects := u.Objects
	for i, c := range u.Component.Certificates {
		if seeded.Authorities[i] == nil {
			continue
		}
		var err error
		if objects, err = certs.Inject(objects, c.Inject, seeded.Authorities[i]); err != nil {
			return nil, &fault.Error{Op: "trusting the certificate", Subject: u.Component.Name, Err: err}
		}
	}
	return objects, nil
}
