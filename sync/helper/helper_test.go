package helper

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is an endpoint that knows where it is, and nothing else.
type folder struct {
	endpoint.Endpoint
	root   string
	closed chan struct{}
}

func (f *folder) Info() endpoint.Info                      { return endpoint.Info{Root: f.root, Identity: "i"} }
func (f *folder) Scan(context.Context) (*tree.Tree, error) { return &tree.Tree{}, nil }
func (f *folder) Close() error                             { close(f.closed); return nil }
func (f *folder) Next(ctx context.Context) ([]endpoint.Update, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// ends are a program's streams, from the other side.
type ends struct {
	io.Reader
	io.WriteCloser
}

// program runs the helper with pipes, as an exec does.
func program(t *testing.T, args []string, f *folder) (ends, *bytes.Buffer, <-chan int) {
	t.Helper()
	in, toIn, err := os.Pipe()
	require.NoError(t, err)
	fromOut, out, err := os.Pipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(t.Context(), args, Streams{In: in, Out: out, Err: &stderr}, func(_ context.Context, o wire.Open) (endpoint.Endpoint, error) {
			if o.Root == "/refused" {
				return nil, errors.New("not this one")
			}
			f.root = o.Root
			return f, nil
		})
		_ = in.Close() // what serve has closed is closed
		_ = out.Close()
	}()
	t.Cleanup(func() { _ = fromOut.Close() })
	return ends{fromOut, toIn}, &stderr, code
}

func TestServe(t *testing.T) {
	f := &folder{closed: make(chan struct{})}
	stdio, _, code := program(t, []string{"serve"}, f)
	remote, err := wire.Dial(t.Context(), stdio, wire.Open{Session: "s", Root: t.TempDir()}, wire.Options{})
	require.NoError(t, err)
	_, err = remote.Scan(t.Context())
	require.NoError(t, err)
	require.Equal(t, f.root, remote.Info().Root)
	var out bytes.Buffer
	exit, err := remote.Run(t.Context(), []string{"sh", "-c", "pwd; cat /proc/self/oom_score_adj; exit 4"}, f.root, &out, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 4, exit)
	require.Equal(t, f.root, strings.Split(out.String(), "\n")[0])
	require.NoError(t, remote.Close())
	require.Equal(t, 0, <-code)
	<-f.closed
}

func TestServeEndsWithItsInput(t *testing.T) {
	f := &folder{closed: make(chan struct{})}
	stdio, stderr, code := program(t, []string{"serve"}, f)
	_, err := wire.Dial(t.Context(), stdio, wire.Open{Session: "s", Root: "/refused"}, wire.Options{})
	require.ErrorContains(t, err, "not this one")
	_ = stdio.Close() // it is closed already where Dial failed
	select {
	case <-code:
	case <-time.After(20 * time.Second):
		t.Fatal("the helper outlives its input: " + stderr.String())
	}
}

func TestServeOfAnotherContainer(t *testing.T) {
	// A process of another container is played by this one's own, which is what
	// its control groups name.
	f := &folder{closed: make(chan struct{})}
	groups, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	stdio, stderr, code := program(t, []string{"serve", "-mark", "word", "-shared", "-container", "no such container"}, f)
	require.Equal(t, 1, <-code)
	require.Equal(t, "kfdev-sync-helper: no process of the container no such container is to be seen\n", stderr.String())
	require.NoError(t, stdio.Close())

	stdio, _, code = program(t, []string{"serve", "-mark", "word", "-shared", "-container", strings.TrimSpace(string(groups))}, f)
	in := bufio.NewReader(stdio)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "word start\n", line)
	dir := t.TempDir()
	remote, err := wire.Dial(t.Context(), ends{in, stdio}, wire.Open{Session: "s", Root: dir}, wire.Options{})
	require.NoError(t, err)
	_, err = remote.Scan(t.Context())
	require.NoError(t, err)
	require.Equal(t, dir, remote.Info().Root)
	require.True(t, strings.HasPrefix(f.root, "/proc/") && strings.HasSuffix(f.root, "/root"+dir), f.root)
	_, err = remote.Run(t.Context(), []string{"true"}, "/", io.Discard, io.Discard)
	require.Error(t, err) // the programs are in the other container
	require.NoError(t, remote.Close())
	require.Equal(t, 0, <-code)
}

func TestCheck(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	var stdout, stderr bytes.Buffer
	run := func(args ...string) int {
		stdout.Reset()
		stderr.Reset()
		return Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr}, nil)
	}
	require.Equal(t, 0, run("check", hex.EncodeToString(sum[:])))
	require.Equal(t, hex.EncodeToString(sum[:])+"\n", stdout.String())
	require.Equal(t, 1, run("check", strings.Repeat("0", 64)))
	require.Empty(t, stdout.String())
	require.Contains(t, stderr.String(), "and not 0000")
	for args, says := range map[string]string{
		"":               "serve, check or idle is wanted",
		"check":          "check takes a SHA-256",
		"dance":          `"dance" is no command`,
		"serve now":      `"now" is not understood`,
		"serve -unknown": "flag provided but not defined",
	} {
		require.Equal(t, 1, run(strings.Fields(args)...), args)
		require.Contains(t, stderr.String(), says)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"))
	}
}

func TestIdle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- Run(ctx, []string{"idle"}, Streams{Err: io.Discard}, nil) }()
	cancel()
	require.Equal(t, 0, <-code)
}
