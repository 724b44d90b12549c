package root

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kfdev/kfdev/internal/fault"
)

// errInterrupted is why a command's context ended.
var errInterrupted = &fault.Error{Kind: fault.Canceled, Err: errors.New("interrupted")}

// interruptible returns a context that the first SIGINT or SIGTERM cancels. It
// then lets go of both, so that the second one kills. Stop must be called.
func interruptible(ctx context.Context, warn func(string)) (_ context.Context, interrupted func() bool, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var happened atomic.Bool
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-signals:
			happened.Store(true)
			signal.Stop(signals)
			warn("interrupted: stopping and cleaning up; once more to stop at once")
			cancel(errInterrupted)
		case <-done:
			signal.Stop(signals)
		}
	})
	return ctx, happened.Load, func() {
		close(done)
		wg.Wait()
		cancel(nil)
	}
}
