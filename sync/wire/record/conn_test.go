package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection with both of its ends.
func pair(t *testing.T, config Config) (asker, answerer *Conn) {
	t.Helper()
	a, b := net.Pipe()
	asker, err := New(a, config)
	require.NoError(t, err)
	config.Answers = true
	answerer, err = New(b, config)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = asker.Close()
		_ = answerer.Close()
	})
	return asker, answerer
}

func TestBothDirections(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Config{})
	data := random(1 << 20)
	for _, ends := range [][2]*Conn{{a, b}, {b, a}} {
		go func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 10_000)
				_, _ = ends[0].Write(rest[:n])
				rest = rest[n:]
			}
			ends[0].Flush()
		}()
	}
	for _, c := range []*Conn{a, b} {
		got := make([]byte, len(data))
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.EqualValues(t, len(data), c.Traffic().ReceivedRaw)
		require.GreaterOrEqual(t, c.Traffic().Received, int64(len(data)))
	}
}

// What belongs together is one write to the pipe, which may be one message of
// a websocket.
func TestQueueIsOneRecord(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Config{})
	_, _ = a.Write([]byte("head"))
	_, _ = a.Write([]byte("body"))
	a.Flush()
	buf := make([]byte, 100)
	n, err := b.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "headbody", string(buf[:n]))
}

func TestGoodbye(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Config{})
	_, _ = a.Write([]byte("last words"))
	closed := make(chan struct{})
	go func() { defer close(closed); _ = a.Close() }()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	require.Equal(t, io.EOF, b.Err())
	<-closed
	require.Equal(t, ErrClosed, a.Err())
	_, err = a.Write([]byte("more"))
	require.Equal(t, ErrClosed, err)
}

func TestBreakIsNoGoodbye(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	c, err := New(a, Config{})
	require.NoError(t, err)
	_, err = io.ReadFull(b, make([]byte, len(magic)))
	require.NoError(t, err)
	_, err = b.Write([]byte(magic))
	require.NoError(t, err)
	<-c.Heard()
	require.NoError(t, b.Close())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, ErrLost)
}

func TestHeartbeatKeepsAQuietConnection(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Config{Heartbeat: 5 * time.Millisecond, Timeout: 2 * time.Second})
	_, _ = a.Write([]byte("x"))
	a.Flush()
	_, err := b.Read(make([]byte, 1))
	require.NoError(t, err)
	before := b.Traffic()
	require.Eventually(t, func() bool { return b.Traffic().Received-before.Received > 5*headerSize }, 2*time.Second, time.Millisecond)
	require.NoError(t, a.Err())
	require.NoError(t, b.Err())
	require.Equal(t, before.ReceivedRaw, b.Traffic().ReceivedRaw)
}

func TestSilenceEndsTheConnection(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	c, err := New(a, Config{Timeout: 40 * time.Millisecond})
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, b) }()
	_, err = b.Write([]byte(magic))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, ErrStalled)
}

// A peer that lives but reads nothing is as good as gone.
func TestUnreadWriteEndsTheConnection(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	c, err := New(a, Config{Timeout: 60 * time.Millisecond})
	require.NoError(t, err)
	_, err = io.ReadFull(b, make([]byte, len(magic)))
	require.NoError(t, err)
	_, _ = b.Write([]byte(magic))
	go func() { // its heart beats on
		for number := uint64(0); ; number++ {
			record := craft(number, 0, 0, nil)
			if _, err := b.Write(record); err != nil {
				return
			}
		}
	}()
	_, _ = c.Write([]byte("x"))
	c.Flush()
	<-c.Done()
	require.ErrorIs(t, c.Err(), ErrStalled)
}

func TestCloseDoesNotWaitForADeadPeer(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	c, err := New(a, Config{})
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, c.Close())
	require.Less(t, time.Since(began), 10*farewell)
}

func TestFindMagic(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ before, want string }{
		"nothing":        {},
		"profile":        {before: "Welcome to the pod!\r\n\x1b[0m$ "},
		"half a magic":   {before: magic[:7]},
		"halves":         {before: magic[:3] + magic[:9] + "\xff\xff"},
		"almost 64 KiB":  {before: strings.Repeat("x", maxNoise)},
		"too much":       {before: strings.Repeat("no ", maxNoise), want: "bytes of something else"},
		"helper missing": {before: "sh: kfdev: not found\n", want: ""},
	} {
		r := strings.NewReader(tc.before + magic + "rest")
		err := findMagic(r)
		if tc.want != "" {
			require.ErrorIs(t, err, ErrNoPeer, name)
			require.ErrorContains(t, err, tc.want)
			continue
		}
		require.NoError(t, err, name)
		rest, _ := io.ReadAll(r)
		require.Equal(t, "rest", string(rest), name)
	}
	err := findMagic(strings.NewReader("sh: \x1b[31mkfdev: not found\n"))
	require.ErrorIs(t, err, ErrNoPeer)
	require.ErrorContains(t, err, `the stream ended; it printed "sh: [31mkfdev: not found"`)
	require.ErrorContains(t, findMagic(failing{}), "on fire")
}

// failing is a reader that fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("on fire") }

func FuzzFindMagic(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte(magic[:5] + magic[:10]))
	f.Fuzz(func(t *testing.T, before []byte) {
		if len(before) > maxNoise || bytes.Contains(append(before, magic[:len(magic)-1]...), []byte(magic)) {
			return
		}
		r := bytes.NewReader(append(append([]byte(nil), before...), magic+"rest"...))
		require.NoError(t, findMagic(r))
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "rest", string(rest))
	})
}

func TestAnswererIsSilentUntilItHears(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	c, err := New(a, Config{Answers: true})
	require.NoError(t, err)
	_, _ = c.Write([]byte("early"))
	c.Flush()
	require.NoError(t, b.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := b.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Error(t, err)
	require.NoError(t, b.SetReadDeadline(time.Time{}))
	go func() { _, _ = b.Write([]byte("Welcome!\n" + magic)) }()
	got := make([]byte, len(magic))
	_, err = io.ReadFull(b, got)
	require.NoError(t, err)
	require.Equal(t, magic, string(got))
	go func() { _ = c.Close() }()
	payloads, err := decodeAll(b)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "early", string(payloads[0]))
}

func TestConnEndsWithTheGivenCause(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Config{})
	cause := fmt.Errorf("enough: %w", context.Canceled)
	a.Fail(cause)
	a.Fail(errors.New("later"))
	_, err := a.Read(make([]byte, 1))
	require.Equal(t, cause, err)
	<-b.Done()
	require.Error(t, b.Err())
}
