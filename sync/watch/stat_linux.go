package watch

import (
	"io/fs"
	"syscall"
)

// identity tells a file from another one, and an older state of it from a newer
// one, even where size and time of change were made the same.
type identity struct {
	inode uint64
	ctime int64
}

func identityOf(info fs.FileInfo) identity {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{st.Ino, st.Ctim.Nano()}
	}
	return identity{}
}
