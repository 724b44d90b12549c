//go:build !linux

package beneath

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	pathOnly  = unix.O_RDONLY
	utimeOmit = -2 // UTIME_OMIT of sys/stat.h
)

func canResolve(int) bool { return false }

func openBeneath(int, string, int) (int, error) { return -1, unix.ENOSYS }

func renameAt(fromDir int, from string, toDir int, to string, how How) error {
	flags := uint32(unix.RENAME_EXCL)
	if how == Exchange {
		flags = unix.RENAME_SWAP
	}
	err := unix.RenameatxNp(fromDir, from, toDir, to, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return errors.Join(ErrUnsupported, err)
	}
	return err
}

func chmodAt(dir int, name string, mode uint32) error {
	return unix.Fchmodat(dir, name, mode&0o777, unix.AT_SYMLINK_NOFOLLOW)
}

// birthAt is when a file was made, ns since 1970; 0 where that is not known.
func birthAt(dir int, name string) int64 {
	var st unix.Stat_t
	err := retry(func() error {
		if name == "" {
			return unix.Fstat(dir, &st)
		}
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return 0
	}
	return st.Btim.Nano()
}

// SyncAll makes all file systems durable.
func (r *Root) SyncAll() error { return unix.Sync() }
