package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// faulty is an end of a pipe that does something to the n-th write, which is
// the n-th record, and counts them.
type faulty struct {
	io.ReadWriteCloser
	at    int
	fault func(f *faulty, p []byte) (int, error)
	done  chan struct{}
	once  sync.Once
	count int
	rnd   *rand.Rand // small reads, where it is set
}

func (f *faulty) Write(p []byte) (int, error) {
	f.count++
	if f.fault != nil && f.count > f.at {
		return f.fault(f, p)
	}
	return f.ReadWriteCloser.Write(p)
}

func (f *faulty) Read(p []byte) (int, error) {
	if f.rnd != nil {
		p = p[:min(len(p), 1+f.rnd.IntN(40))]
	}
	return f.ReadWriteCloser.Read(p)
}

func (f *faulty) Close() error {
	f.once.Do(func() { close(f.done) })
	return f.ReadWriteCloser.Close()
}

// cut ends the pipe in the middle of a write.
func cut(f *faulty, p []byte) (int, error) {
	n, _ := f.ReadWriteCloser.Write(p[:len(p)/2])
	_ = f.Close()
	return n, io.ErrClosedPipe
}

// stall lets nothing through any more.
func stall(f *faulty, _ []byte) (int, error) {
	<-f.done
	return 0, io.ErrClosedPipe
}

// swallow takes everything and passes nothing on.
func swallow(_ *faulty, p []byte) (int, error) { return len(p), nil }

// flip changes one bit of one write.
func flip(f *faulty, p []byte) (int, error) {
	if f.count == f.at+1 {
		p = append([]byte(nil), p...)
		p[f.at*7919%len(p)] ^= 1 << (f.at % 8)
	}
	return f.ReadWriteCloser.Write(p)
}

// drop loses one write.
func drop(f *faulty, p []byte) (int, error) {
	if f.count == f.at+1 {
		return len(p), nil
	}
	return f.ReadWriteCloser.Write(p)
}

// twoSides are folders that a scenario makes equal.
func twoSides() (laptop, pod *folder) {
	laptop, pod = newFolder(), newFolder()
	noise := make([]byte, 150_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	for i := range 12 {
		laptop.write(fmt.Sprintf("src/%d.py", i), fmt.Appendf(nil, "print(%d)", i))
	}
	laptop.write("data/big", noise)
	pod.write("out/model", noise[1000:100_000])
	pod.write("out/log", []byte("epoch 1"))
	return laptop, pod
}

// missing is what b lacks of a below some paths.
func missing(a, b *tree.Tree, below ...string) []tree.Change {
	var changes []tree.Change
	for _, top := range below {
		_ = a.WalkBelow(top, func(path string, e tree.Entry) error {
			if b.Get(path) != e {
				changes = append(changes, tree.Change{Path: path, From: b.Get(path), To: e})
			}
			return nil
		})
	}
	return changes
}

// scenario makes both sides equal, and uses every method on the way.
func scenario(ctx context.Context, r *Remote, laptop, pod *folder) error {
	scanned, err := r.Scan(ctx)
	if err != nil {
		return err
	}
	apply := func(to endpoint.Endpoint, changes []tree.Change, from endpoint.Fetcher) error {
		outcomes, err := to.Apply(ctx, changes, from)
		for _, o := range outcomes {
			err = errors.Join(err, o.Err)
		}
		return err
	}
	if err := apply(r, missing(laptop.tree, scanned, "src", "data"), laptop); err != nil {
		return err
	}
	if err := apply(laptop, missing(scanned, laptop.tree, "out"), r); err != nil {
		return err
	}
	pod.edit("out/log", fmt.Appendf(nil, "epoch %d", time.Now().UnixNano()), true)
	updates, err := r.Next(ctx)
	if err != nil {
		return err
	}
	for _, u := range updates {
		if err := apply(laptop, []tree.Change{{Path: u.Path, From: laptop.tree.Get(u.Path), To: u.Entry}}, r); err != nil {
			return err
		}
	}
	return r.Sync(ctx)
}

// whole fails unless every file has the content that its entry says.
func whole(t *testing.T, f *folder) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NoError(t, f.tree.Walk(func(path string, e tree.Entry) error {
		if e.Kind == tree.File && fileEntry(f.data[path]) != e {
			return fmt.Errorf("%s has the wrong content", path)
		}
		return nil
	}))
}

// endless keeps a folder open through several connections.
type endless struct{ *folder }

func (endless) Close() error { return nil }

// connection runs the scenario over one connection with the given ends. It
// fails where something does not end in time.
func connection(t *testing.T, laptopEnd, podEnd io.ReadWriteCloser, laptop, pod *folder, o Options) (dialed, served error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	j, err := tryJoin(t, endless{pod}, laptopEnd, podEnd, o)
	if err == nil {
		err = scenario(ctx, j.Remote, laptop, pod)
		if cause := j.Err(); cause != nil {
			err = cause
		}
		require.NoError(t, j.Close())
	}
	require.NoError(t, ctx.Err(), "it took too long")
	select {
	case served = <-j.served:
	case <-ctx.Done():
		require.FailNow(t, "the helper did not end")
	}
	return err, served
}

func TestFaults(t *testing.T) {
	t.Parallel()
	// How many records there are without a fault.
	laptop, pod := twoSides()
	a, b := net.Pipe()
	ends := []*faulty{{ReadWriteCloser: a, done: make(chan struct{})}, {ReadWriteCloser: b, done: make(chan struct{})}}
	dialed, served := connection(t, ends[0], ends[1], laptop, pod, Options{})
	require.NoError(t, dialed)
	require.NoError(t, served)
	require.True(t, tree.Equal(laptop.tree, pod.tree))

	// A lost record is noticed by the next one, which a heartbeat is.
	quick := Options{Heartbeat: 20 * time.Millisecond, Greeting: 300 * time.Millisecond}
	impatient := quick
	impatient.Timeout = 150 * time.Millisecond
	for name, tc := range map[string]struct {
		fault   func(*faulty, []byte) (int, error)
		step    int
		options Options
		want    []error // of either side; a fault in the last records may come after the goodbye
	}{
		"cut":     {fault: cut, step: 1, options: quick, want: []error{ErrLost, ErrNoPeer}},
		"flip":    {fault: flip, step: 2, options: quick, want: []error{ErrCorrupt, ErrNoPeer, ErrLost}},
		"drop":    {fault: drop, step: 3, options: quick, want: []error{ErrCorrupt, ErrNoPeer, ErrLost}},
		"stall":   {fault: stall, step: 6, options: impatient, want: []error{ErrStalled, ErrNoPeer, ErrLost}},
		"swallow": {fault: swallow, step: 6, options: impatient, want: []error{ErrStalled, ErrNoPeer, ErrLost}},
	} {
		for side, records := range map[string]int{"laptop": ends[0].count, "helper": ends[1].count} {
			for at := 0; at < records; at += tc.step {
				t.Run(fmt.Sprintf("%s/%s/%d", name, side, at), func(t *testing.T) {
					t.Parallel()
					laptop, pod := twoSides()
					a, b := net.Pipe()
					l := &faulty{ReadWriteCloser: a, done: make(chan struct{})}
					h := &faulty{ReadWriteCloser: b, done: make(chan struct{})}
					if side == "laptop" {
						l.fault, l.at = tc.fault, at
					} else {
						h.fault, h.at = tc.fault, at
					}
					dialed, served := connection(t, l, h, laptop, pod, tc.options)
					if err := errors.Join(dialed, served); err != nil {
						require.True(t, isOne(err, tc.want), "%v", err)
					} else {
						require.GreaterOrEqual(t, at, records-8, "nobody noticed")
					}
					whole(t, laptop)
					whole(t, pod)
					// Again, over a connection that holds.
					a, b = net.Pipe()
					dialed, served = connection(t, a, b, laptop, pod, Options{})
					require.NoError(t, dialed)
					require.NoError(t, served)
					require.True(t, tree.Equal(laptop.tree, pod.tree))
					whole(t, laptop)
					whole(t, pod)
				})
			}
		}
	}
}

func isOne(err error, of []error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func TestSmallReads(t *testing.T) {
	t.Parallel()
	laptop, pod := twoSides()
	a, b := net.Pipe()
	l := &faulty{ReadWriteCloser: a, done: make(chan struct{}), rnd: rand.New(rand.NewPCG(1, 1))}
	h := &faulty{ReadWriteCloser: b, done: make(chan struct{}), rnd: rand.New(rand.NewPCG(2, 2))}
	dialed, served := connection(t, l, h, laptop, pod, Options{})
	require.NoError(t, dialed)
	require.NoError(t, served)
	require.True(t, tree.Equal(laptop.tree, pod.tree))
}

// A helper's process may have a standard input whose Read nothing ends.
type deaf struct {
	io.ReadWriteCloser
	release chan struct{}
}

func (d deaf) Read(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Read(p)
	if err != nil {
		<-d.release
	}
	return n, err
}

func TestServeEndsThoughReadDoesNot(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	release := make(chan struct{})
	defer close(release)
	r := join(t, newFolder(), a, deaf{b, release}, Options{Heartbeat: 20 * time.Millisecond, Timeout: 100 * time.Millisecond})
	require.NoError(t, a.Close())
	require.Error(t, <-r.served)
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	pod := newFolder()
	go func() {
		served <- Serve(ctx, b, func(context.Context, Open) (endpoint.Endpoint, error) { return pod, nil }, Options{})
	}()
	r, err := Dial(t.Context(), a, Open{Root: "/data"}, Options{})
	require.NoError(t, err)
	_, err = r.Scan(t.Context())
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-served, context.Canceled)
	require.True(t, pod.closed)
	_, err = r.Next(t.Context())
	require.ErrorIs(t, err, ErrLost)
	require.NoError(t, r.Close())
}
