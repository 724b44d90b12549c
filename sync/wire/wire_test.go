package wire

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errNoRoot = &fault.Error{Op: "opening the folder", Subject: "/data", Kind: fault.Preflight, Hint: "make it", Err: fmt.Errorf("no: %w", os.ErrNotExist)}

// joined is a connection with its two ends.
type joined struct {
	*Remote
	served chan error
}

// join serves a folder over a pipe and dials it.
func join(tb testing.TB, f endpoint.Endpoint, laptop, helper io.ReadWriteCloser, o Options) joined {
	tb.Helper()
	j, err := tryJoin(tb, f, laptop, helper, o)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_ = j.Close()
		<-j.served
	})
	return j
}

func tryJoin(tb testing.TB, f endpoint.Endpoint, laptop, helper io.ReadWriteCloser, o Options) (joined, error) {
	tb.Helper()
	served := make(chan error, 1)
	go func() {
		served <- Serve(context.Background(), helper, func(_ context.Context, open Open) (endpoint.Endpoint, error) {
			if open.Root != "/data" {
				return nil, errNoRoot
			}
			return f, nil
		}, o)
		close(served)
	}()
	r, err := Dial(tb.Context(), laptop, Open{Session: "test", Root: "/data", Rules: []byte("*.log")}, o)
	return joined{Remote: r, served: served}, err
}

func pipe(tb testing.TB, f endpoint.Endpoint) joined {
	tb.Helper()
	a, b := net.Pipe()
	return join(tb, f, a, b, Options{Version: "test"})
}

// duplex is a pair of pipes, as a process has with its standard input and
// output.
type duplex struct {
	io.Reader
	io.Writer
	close func() error
}

func (d duplex) Close() error { return d.close() }

func osPipes(tb testing.TB) (laptop, helper io.ReadWriteCloser) {
	tb.Helper()
	r1, w1, err := os.Pipe()
	require.NoError(tb, err)
	r2, w2, err := os.Pipe()
	require.NoError(tb, err)
	both := func(a, b io.Closer) func() error { return func() error { return errors.Join(a.Close(), b.Close()) } }
	return duplex{r1, w2, both(r1, w2)}, duplex{r2, w1, both(r2, w1)}
}

func content4K(i int) []byte {
	b := make([]byte, 4<<10)
	r := rand.New(rand.NewPCG(uint64(i), 7))
	for j := range b {
		b[j] = "abcdefghijklmnop"[r.IntN(16)]
	}
	return b
}

// creations is what makes an empty folder equal to f.
func creations(f *folder) []tree.Change {
	var changes []tree.Change
	_ = f.tree.Walk(func(path string, e tree.Entry) error {
		if path != "" {
			changes = append(changes, tree.Change{Path: path, To: e})
		}
		return nil
	})
	return changes
}

func TestEverything(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(testing.TB) (io.ReadWriteCloser, io.ReadWriteCloser){
		"net.Pipe": func(testing.TB) (io.ReadWriteCloser, io.ReadWriteCloser) { return netPipe() },
		"os.Pipe":  osPipes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod, laptop := newFolder(), newFolder()
			for i := range 100 {
				pod.write(fmt.Sprintf("dir%d/in\xff\n%d", i%7, i), content4K(i))
			}
			pod.must(pod.tree.Put("link", tree.Entry{Kind: tree.Symlink, Target: "../\xfe"}))
			pod.must(pod.tree.Put("run.sh", tree.Entry{Kind: tree.File, Exec: true, Digest: sha256.Sum256(nil)}))
			a, b := ends(t)
			r := join(t, pod, a, b, Options{Version: "v1"})
			ctx := t.Context()

			scanned, err := r.Scan(ctx)
			require.NoError(t, err)
			require.True(t, tree.Equal(pod.tree, scanned))
			require.Equal(t, endpoint.Info{Root: "/data", Identity: "id-1", Fresh: true, CopyOf: "id-0", FoldsCase: true, Notes: []string{"be[2Jware"}}, r.Info())
			require.Equal(t, "v1", r.Version())

			pod.edit("new", []byte("hello"), true)
			updates, err := r.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, []endpoint.Update{{Path: "new", Entry: fileEntry([]byte("hello")), Content: []byte("hello"), Age: 5, Seq: 1}}, updates)

			// The pod's files to the laptop.
			pod.mu.Lock()
			changes := creations(pod)
			pod.mu.Unlock()
			outcomes, err := laptop.Apply(ctx, changes, r)
			require.NoError(t, err)
			for i, o := range outcomes {
				require.NoError(t, o.Err, changes[i].Path)
			}
			require.True(t, tree.Equal(pod.tree, laptop.tree))

			// The laptop's files to the pod: small ones, ones that are fetched, and a
			// change whose time has passed.
			big := make([]byte, 3<<20)
			for i := range big {
				big[i] = byte(i >> 8)
			}
			laptop.write("big", big)
			laptop.write("small", []byte("small"))
			laptop.write("empty", []byte{})
			laptop.write("refused", []byte("x"))
			changes = nil
			for _, p := range []string{"big", "small", "empty", "refused"} {
				changes = append(changes, tree.Change{Path: p, To: laptop.tree.Get(p)})
			}
			changes = append(changes,
				tree.Change{Path: "new", From: fileEntry([]byte("other"))},
				tree.Change{Path: "gone", To: fileEntry([]byte("never there"))},
				tree.Change{Path: "run.sh", From: pod.tree.Get("run.sh"), To: tree.Entry{Kind: tree.Dir}})
			outcomes, err = r.Apply(ctx, changes, laptop)
			require.NoError(t, err)
			require.Len(t, outcomes, len(changes))
			for _, i := range []int{0, 1, 2, 6} {
				require.NoError(t, outcomes[i].Err)
				require.Equal(t, endpoint.Outcome{Done: true, Now: changes[i].To, Batch: "batch", Seq: uint64(2 + i)}, outcomes[i])
			}
			require.ErrorIs(t, outcomes[3].Err, endpoint.ErrRefused)
			require.ErrorIs(t, outcomes[4].Err, endpoint.ErrChanged)
			require.Equal(t, fileEntry([]byte("hello")), outcomes[4].Now)
			require.ErrorIs(t, outcomes[5].Err, endpoint.ErrChanged)
			require.Equal(t, big, pod.data["big"])

			batch, done, err := r.Undo(ctx)
			require.NoError(t, err)
			require.Equal(t, "batch", batch)
			require.Len(t, done, 4)
			require.NoError(t, r.Sync(ctx))
			require.Equal(t, 1, pod.synced)
			long := []byte(strings.Repeat("*.pyc\n", 100_000))
			require.NoError(t, r.SetRules(ctx, long))
			require.Equal(t, long, pod.rules)

			u, err := r.Usage(ctx)
			require.NoError(t, err)
			require.Positive(t, u.Uptime)
			require.Positive(t, u.Memory)
			require.Less(t, r.Traffic().Sent, r.Traffic().SentRaw)

			require.NoError(t, r.Close())
			require.NoError(t, <-r.served)
			require.True(t, pod.closed)
			_, err = r.Next(ctx)
			require.Error(t, err)
		})
	}
}

func netPipe() (io.ReadWriteCloser, io.ReadWriteCloser) {
	a, b := net.Pipe()
	return a, b
}

func TestScanDropsOlderNews(t *testing.T) {
	t.Parallel()
	pod := newFolder()
	r := pipe(t, pod)
	_, err := r.Scan(t.Context())
	require.NoError(t, err)
	for i := range 50 {
		pod.edit("f", fmt.Appendf(nil, "%d", i), true)
	}
	scanned, err := r.Scan(t.Context())
	require.NoError(t, err)
	require.Equal(t, fileEntry([]byte("49")), scanned.Get("f"))
	pod.edit("g", []byte("later"), false)
	updates, err := r.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "g", updates[0].Path)
	require.Nil(t, updates[0].Content)
}

func TestNextSaysWhyAndScanHeals(t *testing.T) {
	t.Parallel()
	pod := newFolder()
	r := pipe(t, pod)
	_, err := r.Next(t.Context())
	require.Error(t, err, "before a scan")
	for _, want := range []error{endpoint.ErrRescan, endpoint.ErrRootGone} {
		_, err := r.Scan(t.Context())
		require.NoError(t, err)
		pod.fail(want)
		_, err = r.Next(t.Context())
		require.ErrorIs(t, err, want)
	}
	_, err = r.Scan(t.Context())
	require.NoError(t, err)
	pod.edit("f", []byte("x"), true)
	_, err = r.Next(t.Context())
	require.NoError(t, err)
}

func TestErrorsCrossAsThemselves(t *testing.T) {
	t.Parallel()
	for _, want := range []error{
		endpoint.ErrChanged, endpoint.ErrRefused, endpoint.ErrStays, endpoint.ErrRescan, endpoint.ErrRootGone, context.Canceled,
		context.DeadlineExceeded, os.ErrNotExist, os.ErrExist, os.ErrPermission, syscall.ENOSPC, syscall.EROFS, ErrProtocol,
	} {
		got := failureOf(fmt.Errorf("writing a\x1b[31m: %w", want)).err()
		require.ErrorIs(t, got, want)
		require.Equal(t, "writing a[31m: "+want.Error(), got.Error())
	}
	require.NoError(t, failureOf(nil).err())
	require.EqualError(t, failureOf(errors.New("")).err(), "failed")
	require.EqualError(t, failure{Code: 200, Text: "a\nb"}.err(), "a b")
}

func TestOpenThatFails(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(context.Background(), b, func(context.Context, Open) (endpoint.Endpoint, error) { return nil, errNoRoot }, Options{})
	}()
	_, err := Dial(t.Context(), a, Open{Root: "/data"}, Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, errNoRoot.Error(), err.Error())
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Equal(t, []string{"make it"}, fault.Hint(err))
	require.ErrorIs(t, <-served, errNoRoot)
}

func TestFetchNamesChunksAtHand(t *testing.T) {
	t.Parallel()
	pod := newFolder()
	data := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	pod.write("big", data)
	pod.write("small", []byte("small"))
	r := pipe(t, pod)
	want := endpoint.Want{Path: "big", Entry: fileEntry(data)}
	parts := map[chunk.ID][]byte{}
	for rest := data; len(rest) > 0; {
		part := rest[:min(len(rest), 1000)]
		rest = rest[len(part):]
		id := chunk.ID(sha256.Sum256(part))
		parts[id] = part
		if len(parts) != 500 { // one that differs
			want.Have = append(want.Have, id)
		}
	}
	before := r.Traffic().Received
	var got [2][]byte
	require.NoError(t, r.Fetch(t.Context(), []endpoint.Want{want, {Path: "small", Entry: fileEntry([]byte("small"))}}, func(i int, p endpoint.Piece) error {
		got[i] = append(got[i], p.Data...)
		if p.Chunk != (chunk.ID{}) {
			got[i] = append(got[i], parts[p.Chunk]...)
		}
		return p.Err
	}))
	require.Equal(t, data, got[0])
	require.Equal(t, "small", string(got[1]))
	require.Less(t, r.Traffic().Received-before, int64(100<<10))
}

func TestFetchOfMany(t *testing.T) {
	t.Parallel()
	pod := newFolder()
	var wants []endpoint.Want
	for i := range 5*batchWants + 3 {
		path := fmt.Sprintf("d/%d", i)
		pod.write(path, []byte(path))
		wants = append(wants, endpoint.Want{Path: path, Entry: pod.tree.Get(path)})
	}
	wants[4000].Entry.Size++
	r := pipe(t, pod)
	next := 0
	require.NoError(t, r.Fetch(t.Context(), wants, func(i int, p endpoint.Piece) error {
		require.Equal(t, next, i)
		switch {
		case i == 4000:
			require.ErrorIs(t, p.Err, endpoint.ErrChanged)
		case !p.Last:
			require.Equal(t, wants[i].Path, string(p.Data))
		}
		if p.Last || p.Err != nil {
			next++
		}
		return nil
	}))
	require.Len(t, wants, next)

	stop := errors.New("enough")
	require.ErrorIs(t, r.Fetch(t.Context(), wants, func(i int, _ endpoint.Piece) error {
		if i == 1500 {
			return stop
		}
		return nil
	}), stop)
	require.NoError(t, r.Sync(t.Context()), "the connection is as good as before")
}
