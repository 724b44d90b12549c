//go:build e2e && bench

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// onTheWire is how many bytes have gone into the node and out of it so far, in
// packets, whoever sent them: all that goes between this machine and a pod does.
func (b *bench) onTheWire(t *testing.T) int64 {
	t.Helper()
	pid := docker(t, "inspect", "--format", "{{.State.Pid}}", b.context()+"-control-plane")
	for line := range strings.Lines(readAll(t, filepath.Join("/proc", pid, "net/dev"))) {
		name, numbers, _ := strings.Cut(line, ":")
		fields := strings.Fields(numbers)
		if strings.TrimSpace(name) != "eth0" || len(fields) < 9 {
			continue
		}
		in, err := strconv.ParseInt(fields[0], 10, 64)
		require.NoError(t, err)
		out, err := strconv.ParseInt(fields[8], 10, 64)
		require.NoError(t, err)
		return in + out
	}
	require.Fail(t, "the node has no eth0")
	return 0
}

// reads says whether a file has the content, without more than one read.
func reads(path string, content []byte) bool {
	got, err := os.ReadFile(path)
	return err == nil && string(got) == string(content)
}
