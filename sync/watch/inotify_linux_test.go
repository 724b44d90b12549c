package watch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Every way in which editors and tools save ends in a batch that has the file,
// and never is a file told to be dirty while it is gone or half there.
func TestSaves(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("line\n", 1000)
	type step func(dir string) error
	sh := func(script string) step {
		return func(dir string) error {
			cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
			cmd.Dir = dir
			return cmd.Run()
		}
	}
	inPlace := func(name string, flags int, pause time.Duration) step {
		return func(dir string) error {
			f, err := os.OpenFile(dir+"/"+name, os.O_WRONLY|os.O_CREATE|flags, 0o644)
			for i := 0; i < len(content) && err == nil; i += 1000 {
				_, err = f.WriteString(content[i : i+1000])
				<-time.After(pause)
			}
			return errors.Join(err, f.Sync(), f.Close())
		}
	}
	rename := func(from, to string) step {
		return func(dir string) error { return os.Rename(dir+"/"+from, dir+"/"+to) }
	}
	for name, steps := range map[string][]step{
		"in place":         {inPlace("f", os.O_TRUNC, 0)},
		"in place, slowly": {inPlace("f", os.O_TRUNC, 2*time.Millisecond)},
		"vim":              {sh("touch 4913; rm 4913"), rename("f", "f~"), inPlace("f", os.O_EXCL, 0), sh("rm f~")},
		"vim, a copy":      {sh("cp f f~"), inPlace("f", os.O_TRUNC, 0), sh("rm f~")},
		"emacs":            {sh("ln -s me@here .#f"), rename("f", "f~"), inPlace("f", os.O_EXCL, 0), sh("rm .#f")},
		"temporary file":   {inPlace(".f.tmp", os.O_EXCL, 0), rename(".f.tmp", "f")},
		"sed -i":           {sh("sed -i s/old/" + strings.Repeat("x", 100) + "/ f")},
		"sed -i.bak":       {sh("sed -i.bak s/old/" + strings.Repeat("x", 100) + "/ f")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir+"/f", "old")
			// A machine that is busy may take long from one step to the next.
			w := begin(t, dir, Options{Settle: 100 * time.Millisecond})
			ctx, cancel := context.WithCancel(t.Context())
			var told, whole int
			var seen []string
			done := make(chan error)
			go func() {
				for {
					b, err := w.Next(ctx)
					if err != nil {
						done <- err
						return
					}
					if slices.Contains(b.Paths, "f") {
						told++
						got, err := os.ReadFile(dir + "/f")
						seen = append(seen, fmt.Sprintf("%d bytes, %v", len(got), err))
						if err == nil && (len(got) == len(content) || strings.HasPrefix(string(got), "xxx")) {
							whole++
						}
					}
				}
			}()
			for _, do := range steps {
				require.NoError(t, do(dir))
			}
			<-time.After(400 * time.Millisecond)
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			require.Positive(t, told)
			require.Equal(t, told, whole, seen)
		})
	}
}

// More happens than the kernel keeps, because the reader is held up.
func TestOverflow(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "1")
	var stop sync.Mutex
	w := begin(t, root, Options{Skip: func(string, bool) bool {
		stop.Lock()
		defer stop.Unlock()
		return false
	}})
	b, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	require.NoError(t, err)
	var queue int
	_, err = fmt.Sscan(string(b), &queue)
	require.NoError(t, err)
	if queue > 100_000 {
		t.Skip("the queue of this system is very long")
	}
	stop.Lock()
	goOn := sync.OnceFunc(stop.Unlock)
	defer goOn()                    // a failure before must not leave Close waiting
	for i := range queue/2 + 2000 { // each is more than one event
		write(t, fmt.Sprintf("%s/%d", root, i%5000), fmt.Sprint(i))
	}
	require.NoError(t, os.MkdirAll(root+"/unheard/of", 0o755))
	goOn()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for missed := false; !missed; {
		b, err := w.Next(ctx)
		require.NoError(t, err)
		missed = b.Missed
	}
	_ = rest(t, w, 100*time.Millisecond)
	write(t, root+"/unheard/of/x", "1")
	until(t, w, "unheard/of/x")
}

// limited is a source that has no more watches.
type limited struct{ source }

func (l limited) run() error { return &limit{limitNote("max_user_watches", "watched folders", 1<<19)} }

func TestNoMoreWatches(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root+"/f", "1")
	w := &Watcher{gather: newGather(DefaultSettle), ended: make(chan struct{})}
	w.setSkip(nil)
	tg := target{root: root, skip: w.skips, tell: w.gather.add}
	require.NoError(t, w.begin(tg, 0))
	require.False(t, w.Polling())
	w.source = limited{w.source}
	go w.run(tg)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	b, err := w.Next(t.Context())
	require.NoError(t, err)
	require.True(t, b.Missed)
	require.True(t, w.Polling())
	require.Len(t, w.Notes(), 1)
	require.Regexp(t, "sudo sysctl fs.inotify.max_user_watches=[0-9]{6,}`", w.Notes()[0])
	write(t, root+"/g", "1")
	until(t, w, "g")
}

// The kernel's own limit, in a namespace that has one of its own.
func TestWatchLimitOfTheKernel(t *testing.T) {
	const limits = "/proc/sys/user/max_inotify_watches"
	if os.Getenv("KFDEV_TEST_WATCHES") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWatchLimitOfTheKernel$", "-test.v") //nolint:gosec // this test
		cmd.Env = append(os.Environ(), "KFDEV_TEST_WATCHES=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || strings.Contains(string(out), "--- SKIP") {
			t.Skip("this system gives no namespace with limits of its own")
		}
		require.NoError(t, err, string(out))
		return
	}
	if err := os.WriteFile(limits, []byte("5"), 0o644); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	write(t, root+"/1/2/f", "1")
	w := begin(t, root, Options{})
	for i := range 10 { // more than there may be
		write(t, fmt.Sprintf("%s/1/new%d/f", root, i), "1")
	}
	until(t, w, "1/new9/f")
	for !w.Polling() {
		_, err := w.Next(t.Context())
		require.NoError(t, err)
	}
	require.Contains(t, w.Notes()[0], "sudo sysctl fs.inotify.max_user_watches=")
	write(t, root+"/1/new9/g", "1")
	until(t, w, "1/new9/g")

	// And where it is met at once.
	second, err := New(root, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, second.Close()) })
	require.True(t, second.Polling())
	require.Len(t, second.Notes(), 1)
	write(t, root+"/h", "1")
	until(t, second, "h")
}

// The kernel's limits are real in a process that may open no more.
func TestNoMoreInstances(t *testing.T) {
	if os.Getenv("KFDEV_TEST_INSTANCES") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoMoreInstances$") //nolint:gosec // this test
		cmd.Env = append(os.Environ(), "KFDEV_TEST_INSTANCES=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	root := t.TempDir()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}))
	var fds []int
	for {
		fd, err := unix.InotifyInit1(0)
		if err != nil {
			require.ErrorIs(t, err, unix.EMFILE)
			break
		}
		fds = append(fds, fd)
	}
	for range 5 { // for listing the folder
		require.NoError(t, unix.Close(fds[0]))
		fds = fds[1:]
	}
	for { // and those that are free hold no watcher
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	_, err := newNotifier(target{root: root})
	var l *limit
	require.ErrorAs(t, err, &l)
	require.Contains(t, l.note, "sudo sysctl fs.inotify.max_user_instances=")
	for _, fd := range fds {
		require.NoError(t, unix.Close(fd))
	}
}

// A buffer of events that the kernel would not write is no panic.
func FuzzEvents(f *testing.F) {
	one := func(mask uint32, name string) []byte {
		b := binary.NativeEndian.AppendUint32(nil, 1)
		b = binary.NativeEndian.AppendUint32(b, mask)
		b = binary.NativeEndian.AppendUint32(b, 7)
		b = binary.NativeEndian.AppendUint32(b, uint32(len(name)))
		return append(b, name...)
	}
	f.Add(append(one(unix.IN_MOVED_FROM, "a\x00\x00\x00"), one(unix.IN_MOVED_TO, "b\x00")...))
	f.Add(one(unix.IN_CREATE|unix.IN_ISDIR, "sub\x00"))
	f.Add(one(unix.IN_Q_OVERFLOW, ""))
	f.Add(one(unix.IN_IGNORED, ""))
	root := f.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sub"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newGather(DefaultSettle)
		s, err := newNotifier(target{root: root, skip: func(string, bool) bool { return false }, tell: g.add})
		if l := (*limit)(nil); errors.As(err, &l) {
			t.Skip(l.note)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		_ = s.(*notifier).read(time.Now(), b) // an error is as good an answer
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	})
}
