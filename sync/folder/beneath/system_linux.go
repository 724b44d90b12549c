package beneath

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// pathOnly opens a folder to go through it; it need not be readable for that.
	pathOnly  = unix.O_PATH
	utimeOmit = unix.UTIME_OMIT
)

// resolve is how openat2 is to find what is opened.
const resolveFlags = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// canResolve is true where openat2 can be called: it is younger than Linux 5.6,
// and profiles of seccomp that are older than it refuse it.
func canResolve(dir int) bool {
	fd, err := openBeneath(dir, ".", unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

func openBeneath(dir int, path string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags), Resolve: resolveFlags} //nolint:gosec // flags are positive
	for {
		fd, err := unix.Openat2(dir, path, &how)
		// EAGAIN: something was renamed on the way meanwhile (openat2(2)).
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

func renameAt(fromDir int, from string, toDir int, to string, how How) error {
	flags := uint(unix.RENAME_NOREPLACE)
	if how == Exchange {
		flags = unix.RENAME_EXCHANGE
	}
	err := unix.Renameat2(fromDir, from, toDir, to, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return errors.Join(ErrUnsupported, err)
	}
	return err
}

// chmodAt: fchmodat(2) follows links, and a file that can't be read can't be
// opened for fchmod, so that it is done by way of a descriptor that is only a
// place (open(2), O_PATH).
func chmodAt(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written through it
	s, err := statOf(fd, name)
	switch {
	case err != nil:
		return err
	case s.Kind == Symlink:
		return unix.ELOOP
	}
	return os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), os.FileMode(mode)&os.ModePerm)
}

// birthAt is when a file was made, ns since 1970; 0 where the file system does
// not keep that, or statx(2) is not allowed.
func birthAt(dir int, name string) int64 {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	err := retry(func() error { return unix.Statx(dir, name, flags, unix.STATX_BTIME, &st) })
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// SyncAll makes all of the file system durable that the root is in.
func (r *Root) SyncAll() error { return retry(func() error { return unix.Syncfs(r.fd()) }) }
