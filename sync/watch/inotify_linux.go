package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked of inotify(7) for each folder. IN_EXCL_UNLINK leaves out what is
// written to files that have no name any more.
const (
	folderMask = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB |
		unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK
	rootMask = folderMask | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	holdMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_ONLYDIR | unix.IN_MASK_ADD
)

// rootCheck is how often it is made sure that the root is still the folder that
// is watched: of a folder above it that is renamed nothing is heard.
const rootCheck = 3 * time.Second

// rootWait is how often a root that is gone is looked for.
const rootWait = 200 * time.Millisecond

// notifier is the source that uses inotify.
type notifier struct {
	target
	file    *os.File // reads events; its Fd is never asked for, that would make it blocking
	closing atomic.Bool

	mu     sync.Mutex // reskip and close come from other goroutines
	fd     int        // -1 when closed
	top    *folder    // nil while there is no root
	byWD   map[int32]*folder
	holdWD int32 // -1 when it is not watched
	failed error // of reskip; run returns it

	// The last rename from a path; what it was renamed to has the same cookie.
	cookie  uint32
	from    string
	checked time.Time // when the root was
}

func newNotifier(t target) (source, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if errors.Is(err, unix.EMFILE) {
		return nil, &limit{limitNote("max_user_instances", "watchers", 1024)}
	}
	if err != nil {
		return nil, fmt.Errorf("starting inotify: %w", err)
	}
	return &notifier{
		target: t,
		fd:     fd,
		file:   os.NewFile(uintptr(fd), "inotify"), // non-blocking, so Close ends a Read
		byWD:   map[int32]*folder{},
		holdWD: -1,
	}, nil
}

// limitNote says which limit of the system was met, and the way out.
func limitNote(name, of string, want int) string {
	now := "too few"
	if b, err := os.ReadFile("/proc/sys/fs/inotify/" + name); err == nil {
		now = "only " + string(bytes.TrimSpace(b))
		var n int
		if _, err := fmt.Sscan(string(b), &n); err == nil {
			want = max(want, 4*n)
		}
	}
	return fmt.Sprintf("the system allows %s %s for each user (fs.inotify.%s) and all are in use, so the folder is looked at from time to time instead of being watched; "+
		"allow more with `sudo sysctl fs.inotify.%s=%d`, and start again", now, of, name, name, want)
}

func (n *notifier) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchHold()
	_, err := n.watchRoot()
	return err
}

// watchRoot watches all of the root, if it is there.
func (n *notifier) watchRoot() (there bool, err error) {
	top := &folder{wd: -1}
	_, err = n.watch(top, "", nil)
	if top.wd >= 0 {
		n.top = top
	}
	return n.top != nil, err
}

// watchHold watches the folder of the hold file. Without it the hold still
// works; its end is seen a little later.
func (n *notifier) watchHold() {
	if n.hold == "" || n.holdWD >= 0 {
		return
	}
	if wd, err := unix.InotifyAddWatch(n.fd, filepath.Dir(n.hold), holdMask); err == nil {
		n.holdWD = int32(wd)
	}
}

func (n *notifier) close() error {
	n.closing.Store(true)
	n.mu.Lock()
	was := n.fd
	n.fd = -1
	n.mu.Unlock()
	if was < 0 {
		return nil
	}
	return n.file.Close() // waits for a read that goes on, and that wants the lock
}

// run reads events until close.
func (n *notifier) run() error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return n.ended(err)
	}
	buf := make([]byte, 64<<10)
	for {
		wait := rootCheck
		if !n.hasRoot() {
			wait = rootWait
		}
		if err := n.file.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return n.ended(err)
		}
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			var done bool
			done, failed = n.readFrom(int(fd), buf)
			return done
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		if err = errors.Join(err, failed); err == nil {
			err = n.check(time.Now(), wait)
		}
		if err != nil {
			return n.ended(err)
		}
	}
}

// readFrom reads and tells what is there. Both are done under the lock, so that
// behind sees an event either in the kernel or told. Not done: nothing was there.
func (n *notifier) readFrom(fd int, buf []byte) (done bool, err error) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed != nil {
		return true, n.failed
	}
	got, err := unix.Read(fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case errors.Is(err, unix.EINTR):
		return true, nil
	case err != nil:
		return true, err
	}
	return true, n.read(now, buf[:got])
}

// behind is true while the kernel has events that were not told.
func (n *notifier) behind() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return false
	}
	waiting, err := unix.IoctlGetInt(n.fd, unix.TIOCINQ) // FIONREAD; see inotify(7)
	return err == nil && waiting > 0
}

// ended is the reason for run's end.
func (n *notifier) ended(err error) error {
	if n.closing.Load() {
		return errClosing
	}
	return err
}

func (n *notifier) hasRoot() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.top != nil
}

// check looks whether the root came, went, or is another folder by now, where the
// last look was a while ago.
func (n *notifier) check(now time.Time, every time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing.Load() {
		return errClosing
	}
	if n.failed != nil || now.Sub(n.checked) < every {
		return n.failed
	}
	n.checked = now
	n.watchHold()
	had := n.top
	if had != nil && n.sameRoot() {
		return nil
	}
	n.dropRoot()
	there, err := n.watchRoot()
	switch {
	case there:
		n.tell(now, []event{{what: lost}, {what: deep}})
	case had != nil:
		n.tell(now, []event{{what: gone}})
	}
	return err
}

// sameRoot is true while the path of the root leads to the folder that is
// watched: watching an inode again gives the same watch.
func (n *notifier) sameRoot() bool {
	wd, err := unix.InotifyAddWatch(n.fd, n.root, rootMask)
	if err != nil {
		return false
	}
	if int32(wd) == n.top.wd {
		return true
	}
	n.forget(int32(wd))
	return false
}

// read handles a buffer of events, all of which are told at once.
func (n *notifier) read(now time.Time, buf []byte) error {
	var r reading
	r.notifier = n
	for len(buf) >= unix.SizeofInotifyEvent && !n.closing.Load() {
		wd, mask := int32(binary.NativeEndian.Uint32(buf)), binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if end > len(buf) {
			return errors.New("inotify gave an event that is cut off")
		}
		name, _, _ := bytes.Cut(buf[unix.SizeofInotifyEvent:end], []byte{0})
		r.event(wd, mask, binary.NativeEndian.Uint32(buf[8:]), string(name))
		buf = buf[end:]
	}
	r.finish()
	n.tell(now, r.events)
	return r.err
}
