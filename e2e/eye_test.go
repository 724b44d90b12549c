//go:build e2e && bench

package e2e

import (
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// eye is the independent watcher: it looks at folders with inotify of its own,
// on the same kernel as both sides, and has one monotonic clock for when a file
// was saved and when it could be read on the other side.
type eye struct{ fd int }

const seen = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE

func newEye(t *testing.T, folders ...string) *eye {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	for _, dir := range folders {
		_, err := unix.InotifyAddWatch(fd, dir, seen)
		require.NoError(t, err, dir)
	}
	return &eye{fd: fd}
}

func (e *eye) close() { _ = unix.Close(e.fd) }

// until looks at each event, at once, whether it is true, and returns when it
// was, and when the first event came. False: it was not within the time.
func (e *eye) until(within time.Duration, isTrue func() bool) (when, first time.Time, ok bool) {
	deadline := time.Now().Add(within)
	buf := make([]byte, 1<<16)
	for {
		if isTrue() {
			return time.Now(), first, true
		}
		left := time.Until(deadline)
		if left <= 0 {
			return time.Time{}, first, false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1) //nolint:gosec // a descriptor
		if n > 0 && first.IsZero() {
			first = time.Now()
		}
		if err == nil && n > 0 {
			_, _ = unix.Read(e.fd, buf) // what it says does not matter: the files are looked at
		}
	}
}

// samples are times of one measure.
type samples []time.Duration

func (s samples) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// toll is a way to the API server that counts the bytes on the wire, in both
// directions, whoever sends them.
type toll struct {
	listener net.Listener
	bytes    atomic.Int64
}

// newToll stands before an address until the test ends.
func newToll(t *testing.T, to string) *toll {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	way := &toll{listener: l}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go way.pass(in, out)
			go way.pass(out, in)
		}
	}()
	return way
}

func (w *toll) pass(from, to net.Conn) {
	defer to.Close() //nolint:errcheck // the other end finds out
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.bytes.Add(int64(n))
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reads says whether a file has the content, without more than one read.
func reads(path string, content []byte) bool {
	got, err := os.ReadFile(path)
	return err == nil && string(got) == string(content)
}
