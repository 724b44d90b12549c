package beneath

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Kind is what is at a path.
type Kind uint8

// The kinds.
const (
	Other Kind = iota // a device, a pipe, a socket
	Dir
	File
	Symlink
)

// Stat is what a file system says of a path.
type Stat struct {
	Kind         Kind
	Mode         uint32 // permission bits, with set-uid, set-gid and sticky
	Size         int64
	MTime, CTime int64 // ns since 1970
	Inode        uint64
	UID, GID     uint32
}

func statAt(dir int, name string) (Stat, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return convert(&st), err
}

func statOf(fd int, path string) (Stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return convert(&st), nil
}

func convert(st *unix.Stat_t) Stat {
	s := Stat{
		Mode: mode(st.Mode) & 0o7777, Size: st.Size, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
		Inode: st.Ino, UID: st.Uid, GID: st.Gid,
	}
	switch mode(st.Mode) & unix.S_IFMT {
	case unix.S_IFDIR:
		s.Kind = Dir
	case unix.S_IFREG:
		s.Kind = File
	case unix.S_IFLNK:
		s.Kind = Symlink
	}
	return s
}

// mode is as wide as the widest of the systems'.
func mode[T uint16 | uint32](m T) uint32 { return uint32(m) }
