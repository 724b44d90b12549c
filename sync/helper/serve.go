package helper

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/wire"
)

// serve serves folders of the place on the program's standard streams.
func serve(ctx context.Context, s Streams, p place, folder wire.Opener, run wire.Runner) error {
	open := func(ctx context.Context, o wire.Open) (endpoint.Endpoint, error) {
		root, err := p.root(o.Root)
		if err != nil {
			return nil, err
		}
		o.Root = root
		opened, err := folder(ctx, o)
		if err != nil {
			return nil, err
		}
		return view{Endpoint: opened, place: p}, nil
	}
	return wire.Serve(ctx, pipe(s), open, wire.Options{Run: run})
}

// stdio is the program's standard input and output as one pipe.
type stdio struct {
	io.Reader
	io.Writer
	close []io.Closer
}

func pipe(s Streams) stdio {
	both := stdio{Reader: s.In, Writer: s.Out}
	if f, ok := s.In.(*os.File); ok {
		both.Reader = pollable(f)
	}
	if f, ok := s.Out.(*os.File); ok {
		both.Writer = pollable(f)
	}
	for _, each := range []any{both.Reader, both.Writer} {
		if c, ok := each.(io.Closer); ok {
			both.close = append(both.close, c)
		}
	}
	return both
}

// pollable returns the file in a form in which Close ends a Read or Write that
// waits, as far as the kind of file allows it: pipes and sockets do.
func pollable(f *os.File) *os.File {
	if !errors.Is(f.SetDeadline(time.Time{}), os.ErrNoDeadline) {
		return f // it is so already
	}
	fd := f.Fd()
	if syscall.SetNonblock(int(fd), true) != nil { //nolint:gosec // a descriptor is a small number
		return f
	}
	return os.NewFile(fd, f.Name())
}

// Close closes both.
func (s stdio) Close() error {
	var err error
	for _, c := range s.close {
		err = errors.Join(err, c.Close())
	}
	return err
}

// view is an endpoint whose paths are told as its own container knows them.
type view struct {
	endpoint.Endpoint
	place place
}

// SetRules changes what is ignored, where the endpoint can.
func (v view) SetRules(ctx context.Context, rules []byte) error {
	taker, ok := v.Endpoint.(wire.RuleTaker)
	if !ok {
		return errors.ErrUnsupported
	}
	return taker.SetRules(ctx, rules)
}

// Info is the endpoint's, with the root as the container knows it.
func (v view) Info() endpoint.Info {
	info := v.Endpoint.Info()
	info.Root = v.place.said(info.Root)
	return info
}
