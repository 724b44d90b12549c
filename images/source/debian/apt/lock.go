package apt

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
)

// lockEvery is how often a taken lock is tried again. flock(2) cannot be
// waited for together with a context.
const lockEvery = 50 * time.Millisecond

// lock takes the private folder's lock, against other processes too. The
// indexes are replaced only under the exclusive one.
func (a *Archive) lock(ctx context.Context, how filelock.Mode) (unlock func(), err error) {
	f, err := os.OpenFile(a.path("lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &fault.Error{Op: "locking apt's private folder", Subject: a.dir, Err: err}
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := filelock.Hold(f, how)
		if err == nil {
			return func() { _ = filelock.Drop(f) }, nil
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, errors.Join(&fault.Error{Op: "locking apt's private folder", Subject: a.dir, Err: err}, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}
