package ledger

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// memory is a server with one lease. broken makes every request fail.
type memory struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	broken  error
	news    chan struct{}
}

func newMemory() *memory { return &memory{news: make(chan struct{})} }

func resource() schema.GroupResource { return schema.GroupResource{Resource: "leases"} }

func (m *memory) get(context.Context) (*coordinationv1.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lease.DeepCopy(), m.broken
}

func (m *memory) put(l *coordinationv1.Lease) *coordinationv1.Lease {
	m.version++
	m.lease = l.DeepCopy()
	if m.lease != nil {
		m.lease.ResourceVersion = strconv.Itoa(m.version)
	}
	close(m.news)
	m.news = make(chan struct{})
	return m.lease.DeepCopy()
}

func (m *memory) create(_ context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.broken != nil:
		return nil, m.broken
	case m.lease != nil:
		return nil, apierrors.NewAlreadyExists(resource(), name)
	}
	return m.put(l), nil
}

func (m *memory) update(_ context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.broken != nil:
		return nil, m.broken
	case m.lease == nil:
		return nil, apierrors.NewNotFound(resource(), name)
	case l.ResourceVersion != m.lease.ResourceVersion:
		return nil, apierrors.NewConflict(resource(), name, nil)
	}
	return m.put(l), nil
}

func (m *memory) changed(ctx context.Context, version string) error {
	for {
		m.mu.Lock()
		other, news := m.lease == nil || m.lease.ResourceVersion != version, m.news
		m.mu.Unlock()
		if other {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// edit changes the lease as a person would.
func (m *memory) edit(change func(*coordinationv1.Lease) *coordinationv1.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(change(m.lease.DeepCopy()))
}

func (m *memory) breakWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// writes is how often the lease was written.
func (m *memory) writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// pass lets time pass, of which a bubble has as much as it wants.
func pass(d time.Duration) { <-time.After(d) }

const duration = 15 * time.Second

func takeFor(t *testing.T, m *memory, holder string) *Lease {
	t.Helper()
	l, err := take(t.Context(), m, progress.Discard, holder, duration, 0)
	require.NoError(t, err)
	return l
}

func requireFenced(t *testing.T, err error, says string) {
	t.Helper()
	require.ErrorIs(t, err, ErrFenced)
	require.ErrorContains(t, err, says)
	require.Equal(t, fault.Gate, fault.KindOf(err))
}

func TestALeaseIsRenewedAndGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		require.EqualValues(t, 1, ana.Epoch())
		pass(10 * duration)
		require.NoError(t, ana.Fence(t.Context()))
		require.Greater(t, m.writes(), 25, "three renewals in a duration")
		require.NoError(t, ana.Release(t.Context()))
		require.NoError(t, ana.Release(t.Context()))
		requireFenced(t, ana.Fence(t.Context()), "it was released")

		began := time.Now()
		ben := takeFor(t, m, "ben")
		require.Zero(t, time.Since(began), "a lease that was given back is free at once")
		require.EqualValues(t, 2, ben.Epoch())
		require.NoError(t, ben.Release(t.Context()))
	})
}

func TestALeaseThatIsHeldIsRefusedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		began := time.Now()
		_, err := take(t.Context(), m, progress.Discard, "ben", duration, 0)
		require.ErrorIs(t, err, ErrHeld)
		require.ErrorContains(t, err, "ana, since 2000-01-01T00:00:00Z")
		require.Equal(t, fault.Gate, fault.KindOf(err))
		require.LessOrEqual(t, time.Since(began), duration/3)
		require.NoError(t, ana.Fence(t.Context()))
		require.NoError(t, ana.Release(t.Context()))
	})
}

func TestALeaseIsTakenOverOnceItStoodStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		ctx, cancel := ana.Context(t.Context())
		defer cancel()
		close(ana.stop) // as SIGSTOP does: nothing of it runs any more
		<-ana.done
		// Its clock is an hour ahead; that is nobody's business.
		m.edit(func(l *coordinationv1.Lease) *coordinationv1.Lease {
			l.Spec.RenewTime.Time = l.Spec.RenewTime.Add(time.Hour)
			return l
		})
		began := time.Now()
		ben := takeFor(t, m, "ben")
		require.Equal(t, duration, time.Since(began))
		require.EqualValues(t, 2, ben.Epoch())

		requireFenced(t, ana.Fence(t.Context()), "ben took over at 2000-01-01T00:00:15Z")
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), ErrFenced)
		require.NoError(t, ben.Release(t.Context()))
		ana.stop = make(chan struct{}) // it was closed above
		require.NoError(t, ana.Release(t.Context()))
	})
}

func TestALeaseThatCannotBeRenewedIsGivenUpBeforeOthersMayTakeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		ctx, cancel := ana.Context(t.Context())
		defer cancel()
		m.breakWith(apierrors.NewInternalError(context.DeadlineExceeded))
		began := time.Now()
		<-ctx.Done()
		require.LessOrEqual(t, time.Since(began), duration)
		requireFenced(t, context.Cause(ctx), "could not be renewed for 10s")
		require.NoError(t, ana.Release(t.Context()))
	})
}

func TestARenewalSurvivesWhatDoesNotMatter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		m.edit(func(l *coordinationv1.Lease) *coordinationv1.Lease {
			l.Annotations = map[string]string{"note": "hello"}
			return l
		})
		m.breakWith(apierrors.NewInternalError(context.DeadlineExceeded))
		pass(duration/3 + time.Second)
		m.breakWith(nil) // one renewal was lost
		pass(3 * duration)
		require.NoError(t, ana.Fence(t.Context()))
		require.NoError(t, ana.Release(t.Context()))
	})
}

func TestALeaseThatIsDeletedIsLostAndItsEpochIsNeverUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ana := takeFor(t, m, "ana")
		m.edit(func(*coordinationv1.Lease) *coordinationv1.Lease { return nil })
		ben, err := take(t.Context(), m, progress.Discard, "ben", duration, ana.Epoch())
		require.NoError(t, err)
		require.Greater(t, ben.Epoch(), ana.Epoch())
		pass(duration / 2)
		requireFenced(t, ana.Fence(t.Context()), "ben took over")
		m.edit(func(*coordinationv1.Lease) *coordinationv1.Lease { return nil })
		pass(duration / 2)
		requireFenced(t, ben.Fence(t.Context()), "its lease was deleted")
		require.NoError(t, ana.Release(t.Context()))
		require.NoError(t, ben.Release(t.Context()))
	})
}

func TestALeaseEditedByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		nobody, long := "", int32(1<<30)
		m.lease = &coordinationv1.Lease{}
		m.lease.ResourceVersion = "0"
		m.lease.Spec.HolderIdentity = &nobody
		ana := takeFor(t, m, "ana")
		close(ana.stop)
		<-ana.done
		m.edit(func(l *coordinationv1.Lease) *coordinationv1.Lease {
			l.Spec.LeaseDurationSeconds, l.Spec.AcquireTime, l.Spec.LeaseTransitions = &long, nil, nil
			return l
		})
		began := time.Now()
		ben := takeFor(t, m, "ben")
		require.Equal(t, maxDuration, time.Since(began), "it does not last for years")
		require.NoError(t, ben.Release(t.Context()))
	})
}

func TestPerson(t *testing.T) {
	t.Parallel()
	for identity, want := range map[string]string{"ana#00": "ana", "a#b#00": "a#b", "by hand": "by hand", "#00": "#00"} {
		require.Equal(t, want, person(identity))
	}
}
