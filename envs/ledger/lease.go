package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// ErrFenced is what every call of a lease returns once it is not held any more.
var ErrFenced = errors.New("this promotion does not hold the environment any more")

// ErrHeld is what Acquire returns while another promotion is at work.
var ErrHeld = errors.New("another promotion is at work")

// The durations that a lease may have.
const (
	minDuration = time.Second
	maxDuration = 10 * time.Minute
)

// Lease is the right to change one environment, until Release or until it is
// lost. It is renewed in the background. It is safe for concurrent use.
type Lease struct {
	store    *Store
	leases   leases
	identity string
	duration time.Duration
	cluster  string
	epoch    int64

	ctx  context.Context // ends when the lease is lost, with why
	lose context.CancelCauseFunc
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	live   *coordinationv1.Lease // as last written
	proven time.Time             // when the request was sent that last proved it held
	freed  bool
}

// Acquire takes the lease of the environment for holder, a name for people. A
// lease that is held is taken over only when its holder has not renewed it for
// as long as it said: by this machine's own watch, since clocks differ between
// machines (as in client-go's leader election). So Acquire returns within that
// time, with ErrHeld (a fault of kind Gate) as soon as it sees that the holder
// is alive. The ledger then carries the new epoch, and no older holder can
// write it. Release must be called.
func (s *Store) Acquire(ctx context.Context, holder string, duration time.Duration) (*Lease, error) {
	fail := func(err error) (*Lease, error) {
		return nil, &fault.Error{Op: "taking hold of the environment", Subject: "Lease " + place, Err: err}
	}
	if duration < minDuration || duration > maxDuration || holder == "" || len(holder) > 256 {
		return fail(fmt.Errorf("a holder with a name, and a duration from %s to %s are needed", minDuration, maxDuration))
	}
	if err := s.ensureNamespace(ctx); err != nil {
		return nil, err
	}
	cluster, err := clusterUID(ctx, s.client)
	if err != nil {
		return nil, err
	}
	known, object, err := s.read(ctx) // one that can't be read is told before anything is taken
	if err != nil {
		return nil, err
	}
	l, err := take(ctx, s.leases, s.sink, holder, duration, known.Epoch)
	if err != nil {
		return fail(err)
	}
	l.store, l.cluster = s, cluster
	if object == nil {
		err = s.create(ctx, Ledger{Cluster: cluster, Epoch: l.epoch, Holder: l.identity})
	}
	if err == nil {
		_, err = l.Update(ctx, func(*Ledger) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, l.Release(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// take takes the lease and begins to renew it. Epochs begin after floor, so
// that they grow even where the lease was deleted.
func take(ctx context.Context, leases leases, sink progress.Sink, holder string, duration time.Duration, floor int64) (*Lease, error) {
	l := &Lease{leases: leases, identity: holder + separator + random(), duration: duration, stop: make(chan struct{}), done: make(chan struct{})}
	for l.live == nil {
		have, err := leases.get(ctx)
		if err != nil {
			return nil, err
		}
		if have != nil && held(have) {
			if err := l.outlive(ctx, have, sink); err != nil {
				return nil, err
			}
		}
		sent := time.Now()
		l.live, err = l.claim(ctx, have, floor)
		if err != nil {
			return nil, err
		}
		l.proven = sent
	}
	l.epoch = epochOf(l.live)
	// It is renewed until Release, also while a caller who was interrupted
	// writes down how it ended.
	l.ctx, l.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	go l.renew() //nolint:contextcheck // as above
	return l, nil
}

// outlive returns nil once the lease has not changed for its whole duration,
// and an error as soon as it does.
func (l *Lease) outlive(ctx context.Context, have *coordinationv1.Lease, sink progress.Sink) error {
	patience := durationOf(have)
	progress.Say(sink, fmt.Sprintf("%s holds the environment; waiting up to %s to see whether that promotion is alive", holderOf(have), patience))
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := l.leases.changed(waiting, have.ResourceVersion)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return l.busy(ctx)
	case waiting.Err() != nil:
		return nil // it stood still for as long as it was good for
	}
	return err
}

// busy says who holds the lease, where somebody does.
func (l *Lease) busy(ctx context.Context) error {
	now, err := l.leases.get(ctx)
	if err != nil || now == nil || !held(now) {
		return err // it was released: claim it
	}
	return &fault.Error{
		Kind: fault.Gate, Err: fmt.Errorf("%w: %s, since %s", ErrHeld, holderOf(now), since(now)),
		Hint: "wait until it has ended; a promotion that died is taken over by itself",
	}
}

// claim writes the lease in this holder's name; nil where another was faster.
func (l *Lease) claim(ctx context.Context, have *coordinationv1.Lease, floor int64) (*coordinationv1.Lease, error) {
	now, seconds := metav1.NowMicro(), int32(l.duration/time.Second)
	next := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{managedByLabel: "kfdev"}}}
	epoch := floor
	if have != nil {
		next = have.DeepCopy()
		epoch = max(epoch, epochOf(have))
	}
	if epoch++; epoch > 1<<31-1 {
		return nil, fmt.Errorf("the lease changed hands %d times: leaseTransitions holds no more", epoch-1)
	}
	transitions := int32(epoch)
	next.Spec = coordinationv1.LeaseSpec{HolderIdentity: &l.identity, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &transitions}
	var err error
	if have == nil {
		next, err = l.leases.create(ctx, next)
	} else {
		next, err = l.leases.update(ctx, next)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // the caller looks again
	}
	return next, err
}

// Epoch grows with every holder.
func (l *Lease) Epoch() int64 { return l.epoch }

// Context returns a context that also ends when the lease is lost; its cause
// (context.Cause) is then an ErrFenced. The caller calls the returned function.
func (l *Lease) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Fence returns nil while the lease is held, and an ErrFenced (a fault of kind
// Gate) that says who took over and when. It is called before each write. A
// renewal of late is proof: nobody takes a lease over sooner than a whole
// duration after it. Else the server is asked, as after this process was
// stopped or its machine slept.
func (l *Lease) Fence(ctx context.Context) error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx) //nolint:contextcheck // the lease's own, whoever asks
	}
	l.mu.Lock()
	fresh := !l.freed && within(l.proven, time.Now(), l.duration/3)
	l.mu.Unlock()
	if fresh {
		return nil
	}
	have, err := l.leases.get(ctx)
	if err != nil {
		return &fault.Error{Op: "checking who holds the environment", Subject: "Lease " + place, Err: err}
	}
	if !l.mine(have) {
		err := fenced(have)
		l.lose(err)
		return err
	}
	return nil
}

// within reports whether no more than d lies between two times by the clock
// that only grows, which may stand still while a machine sleeps, and by the
// one on the wall, which may be set.
func within(from, to time.Time, d time.Duration) bool {
	wall := to.Round(0).Sub(from.Round(0))
	return to.Sub(from) <= d && wall <= d && wall >= 0
}

func (l *Lease) mine(have *coordinationv1.Lease) bool {
	return have != nil && have.Spec.HolderIdentity != nil && *have.Spec.HolderIdentity == l.identity && epochOf(have) == l.epoch
}

// fenced says who has the lease now.
func fenced(have *coordinationv1.Lease) error {
	why := errors.New("its lease was deleted")
	switch {
	case have != nil && held(have):
		why = fmt.Errorf("%s took over at %s", holderOf(have), since(have))
	case have != nil:
		why = errors.New("its lease was released")
	}
	return lost(why)
}

func lost(why error) error {
	return &fault.Error{
		Op: "holding the environment", Subject: "Lease " + place, Kind: fault.Gate, Err: fmt.Errorf("%w: %w", ErrFenced, why),
		Hint: "nothing more was written; look at what is in force with kfdev status, and promote again where it is still wanted",
	}
}

// Release gives the lease back and ends its renewal. A lease that was lost
// already is left to whoever has it.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	again := l.freed
	l.freed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	close(l.stop)
	<-l.done
	defer l.lose(lost(errors.New("it was released")))
	if l.ctx.Err() != nil {
		return nil
	}
	l.live.Spec.HolderIdentity, l.live.Spec.RenewTime = nil, nil
	if _, err := l.leases.update(ctx, l.live); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return &fault.Error{
			Op: "letting the environment go", Subject: "Lease " + place, Err: err,
			Hint: fmt.Sprintf("it is free by itself %s after its last renewal", l.duration),
		}
	}
	return nil
}

// separator stands between a holder's name for people and what makes it unique.
const separator = "#"

func random() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // crypto/rand's Read never fails
	return hex.EncodeToString(raw[:])
}

// person is the part of a holder's identity that people know.
func person(identity string) string {
	if i := strings.LastIndex(identity, separator); i > 0 {
		return identity[:i]
	}
	return identity
}
