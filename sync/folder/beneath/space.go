package beneath

import (
	"io/fs"
	"math"

	"golang.org/x/sys/unix"
)

// Space returns how many bytes this user may still write to the root's file
// system, and how large that is.
func (r *Root) Space() (free, of int64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(r.fd(), &st) }); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: r.path, Err: err}
	}
	size := uint64(st.Bsize) //nolint:gosec // a size
	return bytesOf(st.Bavail, size), bytesOf(st.Blocks, size), nil
}

func bytesOf(blocks, size uint64) int64 {
	if size == 0 || blocks > math.MaxInt64/size {
		return math.MaxInt64
	}
	return int64(blocks * size) //nolint:gosec // just compared
}
