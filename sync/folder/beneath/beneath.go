// Package beneath reaches what is in a folder by relative paths, and nothing
// else: no symbolic link is followed on the way, whether it stays in the folder
// or not, and whoever exchanges a folder for a link meanwhile gains nothing. On
// Linux it is openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; elsewhere,
// and where openat2 is not allowed, each folder on the way is opened by itself
// without following links. It is os.Root (which follows links that stay inside)
// with less allowed.
package beneath

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/tree"
)

// Root is an open folder. Its methods may be called from several goroutines. A
// path is relative and slash-separated as in sync/tree; what is not is an error.
type Root struct {
	dir    *os.File
	path   string
	direct bool // openat2 can be used
	before func(op, path string) error
	kept   map[string]int // see Keep
}

// Open opens a folder. Symbolic links on the way to it are followed.
func Open(path string) (*Root, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r := &Root{dir: dir, path: path}
	r.direct = canResolve(r.fd())
	return r, nil
}

// Before has f called before every operation that changes something; its error
// is the operation's. It is for tests that make file systems fail.
func (r *Root) Before(f func(op, path string) error) { r.before = f }

// Close lets go of the folder.
func (r *Root) Close() error { return r.dir.Close() }

// Path is where the folder was when it was opened.
func (r *Root) Path() string { return r.path }

// Same is true while the path that was opened still leads to this folder.
func (r *Root) Same() (bool, error) {
	var there unix.Stat_t
	if err := retry(func() error { return unix.Stat(r.path, &there) }); err != nil {
		return false, &fs.PathError{Op: "stat", Path: r.path, Err: err}
	}
	var here unix.Stat_t
	if err := retry(func() error { return unix.Fstat(r.fd(), &here) }); err != nil {
		return false, &fs.PathError{Op: "stat", Path: r.path, Err: err}
	}
	return here.Dev == there.Dev && here.Ino == there.Ino, nil
}

func (r *Root) fd() int { return int(r.dir.Fd()) } //nolint:gosec // a descriptor is a small number

// in calls do with the descriptor of the folder that a path is in, and its last
// element.
func (r *Root) in(op, path string, do func(dir int, name string) error) error {
	err := tree.CheckPath(path)
	if err == nil && path == "" {
		err = unix.EINVAL
	}
	if err == nil {
		err = r.inParent(path, do)
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

func (r *Root) inParent(path string, do func(dir int, name string) error) error {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return do(r.fd(), path)
	}
	if dir, ok := r.kept[path[:i]]; ok {
		return do(dir, path[i+1:])
	}
	dir, err := r.resolve(path[:i], unix.O_DIRECTORY|pathOnly)
	if err != nil {
		return err
	}
	defer unix.Close(dir) //nolint:errcheck // nothing was written through it
	return do(dir, path[i+1:])
}

// resolve opens what is at a path, without following links, and closed on exec.
func (r *Root) resolve(path string, flags int) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if r.direct {
		return openBeneath(r.fd(), path, flags)
	}
	dir := r.fd()
	for {
		name, rest, more := strings.Cut(path, "/")
		use := flags
		if more {
			use = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | pathOnly
		}
		var fd int
		err := retry(func() (err error) {
			fd, err = unix.Openat(dir, name, use, 0)
			return err
		})
		if dir != r.fd() {
			_ = unix.Close(dir)
		}
		if err != nil || !more {
			return fd, err
		}
		dir, path = fd, rest
	}
}

// Stat says what is at a path; of a symbolic link, the link itself.
func (r *Root) Stat(path string) (Stat, error) {
	if path == "" {
		return statOf(r.fd(), path)
	}
	var s Stat
	err := r.in("stat", path, func(dir int, name string) (err error) {
		s, err = statAt(dir, name)
		return err
	})
	return s, err
}

// Birth is when what is at a path was made, ns since 1970; 0 where that is not
// known. Unlike the times of Stat it is nothing that others can set.
func (r *Root) Birth(path string) int64 {
	if path == "" {
		return birthAt(r.fd(), "")
	}
	var birth int64
	if err := r.in("stat", path, func(dir int, name string) error {
		birth = birthAt(dir, name)
		return nil
	}); err != nil {
		return 0
	}
	return birth
}

// Open opens a regular file for reading. Anything else that is there is
// ErrNotRegular.
func (r *Root) Open(path string) (*os.File, Stat, error) {
	if err := tree.CheckPath(path); err != nil || path == "" {
		return nil, Stat{}, &fs.PathError{Op: "open", Path: path, Err: errors.Join(unix.EINVAL, err)}
	}
	// A pipe would be waited for without O_NONBLOCK.
	fd, err := r.resolve(path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, Stat{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	s, err := statOf(fd, path)
	if err == nil && s.Kind != File {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, Stat{}, err
	}
	return os.NewFile(uintptr(fd), path), s, nil
}

// StatFile says what an open file is now.
func StatFile(f *os.File) (Stat, error) {
	return statOf(int(f.Fd()), f.Name()) //nolint:gosec // a descriptor is a small number
}

// Folder is an open folder in a Root.
type Folder struct{ file *os.File }

// OpenFolder opens a folder for listing; "" is the root.
func (r *Root) OpenFolder(path string) (*Folder, error) {
	if err := tree.CheckPath(path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	at := path
	if at == "" {
		at = "."
	}
	fd, err := r.resolve(at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Folder{file: os.NewFile(uintptr(fd), path)}, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.file.Close() }

// Names are those in the folder, in no order; an error where there are more than
// limit.
func (f *Folder) Names(limit int) ([]string, error) {
	const some = 4096
	var names []string
	for {
		more, err := f.file.Readdirnames(some)
		names = append(names, more...)
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return names, err
		case len(names) > limit:
			return names, ErrTooMany
		}
	}
}

// Stat is Root.Stat of a name in the folder.
func (f *Folder) Stat(name string) (Stat, error) {
	s, err := statAt(int(f.file.Fd()), name) //nolint:gosec // a descriptor is a small number
	if err != nil {
		return s, &fs.PathError{Op: "stat", Path: tree.Join(f.file.Name(), name), Err: err}
	}
	return s, nil
}

// Names lists a folder; see Folder.Names.
func (r *Root) Names(path string, limit int) ([]string, error) {
	f, err := r.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	names, err := f.Names(limit)
	return names, errors.Join(err, f.Close())
}

// Readlink is the target of a symbolic link.
func (r *Root) Readlink(path string) (string, error) {
	var target string
	err := r.in("readlink", path, func(dir int, name string) error {
		buffer := make([]byte, tree.MaxPath+1)
		n, err := unix.Readlinkat(dir, name, buffer)
		if err == nil && n == len(buffer) {
			err = unix.ENAMETOOLONG
		}
		if err == nil {
			target = string(buffer[:n])
		}
		return err
	})
	return target, err
}

// Errors that no system call gives.
var (
	// ErrNotRegular: what is there is no regular file.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooMany: a folder has more names than was asked for.
	ErrTooMany = errors.New("too many names in one folder")
)

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
