package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// renew keeps the lease until Release. Three renewals fit into a duration; a
// lease that could not be renewed for two of them is given up, before anybody
// may take it over.
func (l *Lease) renew() {
	defer close(l.done)
	tick := time.NewTicker(l.duration / 3)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		err := l.beat()
		if err == nil {
			continue
		}
		if errors.Is(err, ErrFenced) {
			l.lose(err)
			return
		}
		l.mu.Lock()
		silent := !within(l.proven, time.Now(), 2*l.duration/3)
		l.mu.Unlock()
		if silent {
			l.lose(lost(fmt.Errorf("it could not be renewed for %s: %w", 2*l.duration/3, err)))
			return
		}
	}
}

// beat renews the lease once.
func (l *Lease) beat() error {
	ctx, cancel := context.WithTimeout(l.ctx, l.duration/3)
	defer cancel()
	for {
		sent, now := time.Now(), metav1.NowMicro()
		next := l.live.DeepCopy()
		next.Spec.RenewTime = &now
		next, err := l.leases.update(ctx, next)
		if err == nil {
			l.live = next
			l.mu.Lock()
			l.proven = sent
			l.mu.Unlock()
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
		have, err := l.leases.get(ctx)
		if err != nil {
			return err
		}
		if !l.mine(have) {
			return fenced(have)
		}
		l.live = have // somebody put an annotation on it
	}
}

// leases is where the lease lies.
type leases interface {
	get(ctx context.Context) (*coordinationv1.Lease, error) // nil where there is none
	create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
	// update refuses where the lease is not at its resourceVersion any more.
	update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
	// changed returns nil once the lease is not at that resourceVersion.
	changed(ctx context.Context, resourceVersion string) error
}

// served is the lease in a cluster.
type served struct{ client *kube.Client }

func (s *served) resource() dynamic.ResourceInterface {
	return s.client.Dynamic.Resource(schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}).Namespace(namespace)
}

func (s *served) get(ctx context.Context) (*coordinationv1.Lease, error) {
	o, err := s.resource().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return typed(o, err)
}

func (s *served) create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	o, err := untyped(l)
	if err != nil {
		return nil, err
	}
	return typed(s.resource().Create(ctx, o, metav1.CreateOptions{FieldManager: apply.Manager}))
}

func (s *served) update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	o, err := untyped(l)
	if err != nil {
		return nil, err
	}
	return typed(s.resource().Update(ctx, o, metav1.UpdateOptions{FieldManager: apply.Manager}))
}

func (s *served) changed(ctx context.Context, resourceVersion string) error {
	return kube.Until(ctx, s.resource(), name, func(o *unstructured.Unstructured) (bool, error) {
		return o == nil || o.GetResourceVersion() != resourceVersion, nil
	})
}

func typed(o *unstructured.Unstructured, err error) (*coordinationv1.Lease, error) {
	if err != nil {
		return nil, err
	}
	var l coordinationv1.Lease
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &l); err != nil {
		return nil, err
	}
	return &l, nil
}

func untyped(l *coordinationv1.Lease) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(l)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: content}
	o.SetAPIVersion("coordination.k8s.io/v1")
	o.SetKind("Lease")
	return o, nil
}

func held(l *coordinationv1.Lease) bool {
	return l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != ""
}

func holderOf(l *coordinationv1.Lease) string { return person(*l.Spec.HolderIdentity) }

func epochOf(l *coordinationv1.Lease) int64 {
	if l.Spec.LeaseTransitions == nil {
		return 0
	}
	return int64(*l.Spec.LeaseTransitions)
}

// durationOf returns how long a lease is good for without being renewed. One
// that says nothing that a promotion would have said was edited by hand.
func durationOf(l *coordinationv1.Lease) time.Duration {
	d := time.Duration(0)
	if l.Spec.LeaseDurationSeconds != nil {
		d = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	return min(max(d, minDuration), maxDuration)
}

func since(l *coordinationv1.Lease) string {
	if l.Spec.AcquireTime == nil {
		return "a time that it does not say"
	}
	return l.Spec.AcquireTime.UTC().Format(time.RFC3339)
}
