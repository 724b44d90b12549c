package session_test

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// disk is a folder in memory that outlives its sessions and connections, and
// whose Apply may end without a word.
type disk struct {
	*endpointtest.Memory
	identity string

	mu    sync.Mutex
	fresh bool   // until the first Sync
	fails []bool // what the next Applies come to: true: done, and it is not told; false: not done
}

func (d *disk) Close() error { return nil }

func (d *disk) Info() endpoint.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return endpoint.Info{Root: "/" + d.identity, Identity: d.identity, Fresh: d.fresh}
}

func (d *disk) Sync(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = false
	return ctx.Err()
}

// isFresh is what a kill leaves, and setFresh has it so again.
func (d *disk) isFresh() bool { return d.Info().Fresh }

func (d *disk) setFresh(fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = fresh
}

func (d *disk) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	d.mu.Lock()
	fail, done := len(d.fails) > 0, false
	if fail {
		done, d.fails = d.fails[0], d.fails[1:]
	}
	d.mu.Unlock()
	if fail && !done {
		return nil, errors.New("the disk failed")
	}
	outcomes, err := d.Memory.Apply(ctx, changes, from)
	if fail {
		return nil, errors.Join(err, errors.New("the disk failed behind it"))
	}
	return outcomes, err
}

// modelLink is a connection to a disk, which breaks after some steps: between
// calls, in the middle of a file's content, or when something was done and
// nobody has heard of it.
type modelLink struct {
	*disk
	place string
	calls sync.WaitGroup

	mu   sync.Mutex
	done chan struct{}
	left int // steps; below 0: it does not break
}

var errCut = errors.New("the connection broke")

func (l *modelLink) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = 0
	select {
	case <-l.done:
	default:
		close(l.done)
	}
}

// step is something that goes over the connection.
func (l *modelLink) step() error {
	l.mu.Lock()
	left := l.left
	if l.left > 0 {
		l.left--
	}
	l.mu.Unlock()
	if left == 0 {
		l.lose()
		return errCut
	}
	return nil
}

// call does something over there.
func (l *modelLink) call(ctx context.Context, do func(ctx context.Context) error) error {
	l.mu.Lock()
	if l.Err() != nil {
		l.mu.Unlock()
		return errCut
	}
	l.calls.Add(1) // and none after lose
	l.mu.Unlock()
	defer l.calls.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := l.step(); err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return errors.Join(l.step(), err)
	}
	return l.step()
}

func (l *modelLink) Scan(ctx context.Context) (t *tree.Tree, err error) {
	err = l.call(ctx, func(ctx context.Context) error { t, err = l.disk.Scan(ctx); return err })
	return t, err
}

func (l *modelLink) Next(ctx context.Context) (u []endpoint.Update, err error) {
	err = l.call(ctx, func(ctx context.Context) error { u, err = l.disk.Next(ctx); return err })
	return u, err
}

func (l *modelLink) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) (o []endpoint.Outcome, err error) {
	err = l.call(ctx, func(ctx context.Context) error {
		o, err = l.disk.Apply(ctx, changes, stepping{from, l})
		return err
	})
	return o, err
}

func (l *modelLink) Undo(ctx context.Context) (batch string, u []endpoint.Update, err error) {
	err = l.call(ctx, func(ctx context.Context) error { batch, u, err = l.disk.Undo(ctx); return err })
	return batch, u, err
}

func (l *modelLink) Sync(ctx context.Context) error { return l.call(ctx, l.disk.Sync) }

func (l *modelLink) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	return l.call(ctx, func(ctx context.Context) error { return stepping{l.disk, l}.Fetch(ctx, wants, put) })
}

// stepping gives content in steps.
type stepping struct {
	from endpoint.Fetcher
	link *modelLink
}

func (s stepping) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	return s.from.Fetch(ctx, wants, func(i int, p endpoint.Piece) error {
		if err := s.link.step(); err != nil {
			return err
		}
		if n := len(p.Data) / 2; n > 0 {
			if err := put(i, endpoint.Piece{Data: p.Data[:n]}); err != nil {
				return err
			}
			p.Data = p.Data[n:]
			if err := s.link.step(); err != nil {
				return err
			}
		}
		return put(i, p)
	})
}

func (l *modelLink) Close() error          { l.lose(); return nil }
func (l *modelLink) Pod() string           { return "pod " + l.place }
func (l *modelLink) Place() string         { return l.place }
func (l *modelLink) Notes() []string       { return nil }
func (l *modelLink) Done() <-chan struct{} { return l.done }

func (l *modelLink) Err() error {
	select {
	case <-l.done:
		return errCut
	default:
		return nil
	}
}

func (l *modelLink) Run(context.Context, []string, string, io.Writer, io.Writer) (int, error) {
	return 0, errors.New("nothing runs here")
}
func (l *modelLink) Traffic() record.Traffic                   { return record.Traffic{} }
func (l *modelLink) Usage(context.Context) (wire.Usage, error) { return wire.Usage{}, nil }
