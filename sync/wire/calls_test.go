package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// A fetcher on the laptop's side that fails, or whose content the helper gives
// up, ends the one Apply and nothing else.
func TestApplyWhoseContentFails(t *testing.T) {
	t.Parallel()
	pod, laptop := newFolder(), newFolder()
	r := pipe(t, pod)
	for i := range 3000 {
		laptop.write(fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 800)) // more than goes along
	}
	changes := creations(laptop)
	broken := errors.New("the disk is on fire")
	_, err := r.Apply(t.Context(), changes, fetchFunc(func(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
		return laptop.Fetch(ctx, wants, func(i int, p endpoint.Piece) error {
			if wants[i].Path == "2000" {
				return broken
			}
			return put(i, p)
		})
	}))
	require.ErrorContains(t, err, broken.Error())
	require.Zero(t, pod.applied)
	outcomes, err := r.Apply(t.Context(), changes, laptop)
	require.NoError(t, err)
	for _, o := range outcomes {
		require.NoError(t, o.Err)
	}
	require.True(t, tree.Equal(laptop.tree, pod.tree))
}

// fetchFunc is a Fetcher of one function.
type fetchFunc func(context.Context, []endpoint.Want, func(int, endpoint.Piece) error) error

func (f fetchFunc) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	return f(ctx, wants, put)
}

// skipping is a folder whose Apply gives its first Fetch up and does another.
type skipping struct{ *folder }

func (s skipping) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	var wants []endpoint.Want
	for _, c := range changes {
		if c.To.Kind == tree.File {
			wants = append(wants, endpoint.Want{Path: c.Path, Entry: c.To})
		}
	}
	enough := errors.New("enough")
	for _, at := range []int{0, 5, 1023, 1024, 2500, len(wants) - 1} {
		err := from.Fetch(ctx, wants, func(i int, _ endpoint.Piece) error {
			if i == at {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			return nil, fmt.Errorf("giving up at %d: %w", at, err)
		}
	}
	inner, cancel := context.WithCancel(ctx)
	err := from.Fetch(inner, wants, func(i int, _ endpoint.Piece) error {
		if i == 1700 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("after a cancel: %w", err)
	}
	return s.folder.Apply(ctx, changes, from)
}

func TestContentMayBeGivenUp(t *testing.T) {
	t.Parallel()
	pod, laptop := newFolder(), newFolder()
	r := pipe(t, skipping{pod})
	for i := range 3000 {
		laptop.write(fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 800))
	}
	outcomes, err := r.Apply(t.Context(), creations(laptop), laptop)
	require.NoError(t, err)
	for _, o := range outcomes {
		require.NoError(t, o.Err)
	}
}

// stuck is a folder whose methods wait for their context.
type stuck struct {
	*folder
	began chan string
}

func (s stuck) wait(ctx context.Context, what string) error {
	s.began <- what
	<-ctx.Done()
	s.began <- what + " ended"
	return ctx.Err()
}

func (s stuck) Scan(ctx context.Context) (*tree.Tree, error) { return nil, s.wait(ctx, "scan") }
func (s stuck) Sync(ctx context.Context) error               { return s.wait(ctx, "sync") }
func (s stuck) Fetch(ctx context.Context, _ []endpoint.Want, _ func(int, endpoint.Piece) error) error {
	return s.wait(ctx, "fetch")
}

func (s stuck) Apply(ctx context.Context, _ []tree.Change, _ endpoint.Fetcher) ([]endpoint.Outcome, error) {
	return nil, s.wait(ctx, "apply")
}

func (s stuck) Undo(ctx context.Context) (string, []endpoint.Update, error) {
	return "", nil, s.wait(ctx, "undo")
}

func TestCancelEndsBothSides(t *testing.T) {
	t.Parallel()
	pod := stuck{folder: newFolder(), began: make(chan string)}
	r := pipe(t, pod)
	for what, do := range map[string]func(context.Context) error{
		"scan": func(ctx context.Context) error { _, err := r.Scan(ctx); return err },
		"sync": r.Sync,
		"undo": func(ctx context.Context) error { _, _, err := r.Undo(ctx); return err },
		"fetch": func(ctx context.Context) error {
			return r.Fetch(ctx, []endpoint.Want{{Path: "a", Entry: fileEntry(nil)}}, func(int, endpoint.Piece) error { return nil })
		},
		"apply": func(ctx context.Context) error {
			_, err := r.Apply(ctx, []tree.Change{{Path: "a", To: tree.Entry{Kind: tree.Dir}}}, newFolder())
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		require.Equal(t, what, <-pod.began)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Equal(t, what+" ended", <-pod.began)
	}
	require.NoError(t, r.Err())
}

func TestRun(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	r := join(t, newFolder(), a, b, Options{Run: func(ctx context.Context, argv []string, dir string, stdout, stderr io.Writer) (int, error) {
		switch argv[0] {
		case "echo":
			_, _ = fmt.Fprintf(stdout, "%q in %s", argv[1:], dir)
			_, _ = fmt.Fprint(stderr, "warned")
			return 3, nil
		case "flood":
			for range 100 {
				if _, err := stdout.Write(make([]byte, 100<<10)); err != nil {
					return 0, err
				}
			}
			return 0, nil
		case "sleep":
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return 0, os.ErrNotExist
	}})
	var out, errs strings.Builder
	code, err := r.Run(t.Context(), []string{"echo", "a b", "\xff"}, "/data/x", &out, &errs)
	require.NoError(t, err)
	require.Equal(t, 3, code)
	require.Equal(t, `["a b" "\xff"] in /data/x`, out.String())
	require.Equal(t, "warned", errs.String())
	out.Reset()
	errs.Reset()
	_, err = r.Run(t.Context(), []string{"flood"}, "/data", &out, &errs)
	require.NoError(t, err)
	require.Equal(t, maxOutput, out.Len())
	require.Equal(t, outputCut, errs.String())
	_, err = r.Run(t.Context(), []string{"nothing"}, "/data", &out, &errs)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = r.Run(t.Context(), nil, "/data", &out, &errs)
	require.ErrorIs(t, err, ErrProtocol)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = r.Run(ctx, []string{"sleep"}, "/data", &out, &errs)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	pod, laptop := newFolder(), newFolder()
	r := pipe(t, pod)
	errs := make(chan error)
	for i := range 200 {
		go func() {
			if i%3 == 0 {
				data := content4K(i)
				path := fmt.Sprint(i)
				laptop.write(path, data)
				o, err := r.Apply(t.Context(), []tree.Change{{Path: path, To: fileEntry(data)}}, laptop)
				if err == nil {
					err = o[0].Err
				}
				errs <- err
				return
			}
			_, err := r.Usage(t.Context())
			errs <- err
		}()
	}
	for range 200 {
		require.NoError(t, <-errs)
	}
	require.True(t, tree.Equal(laptop.tree, pod.tree))
}
