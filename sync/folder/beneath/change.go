package beneath

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// changing is in for what changes something.
func (r *Root) changing(op, path string, do func(dir int, name string) error) error {
	if r.before != nil {
		if err := r.before(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	return r.in(op, path, do)
}

// Create makes a file that is not there yet and opens it for writing and
// reading.
func (r *Root) Create(path string, mode uint32) (*os.File, error) {
	var f *os.File
	err := r.changing("create", path, func(dir int, name string) error {
		return retry(func() error {
			fd, err := unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
			if err == nil {
				f = os.NewFile(uintptr(fd), path)
			}
			return err
		})
	})
	return f, err
}

// OpenOrCreate opens a regular file for writing and reading, and makes it where
// it is not there.
func (r *Root) OpenOrCreate(path string, mode uint32) (*os.File, error) {
	var f *os.File
	err := r.changing("create", path, func(dir int, name string) error {
		return retry(func() error {
			fd, err := unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
			if err != nil {
				return err
			}
			if s, err := statOf(fd, path); err != nil || s.Kind != File {
				return errors.Join(ErrNotRegular, err, unix.Close(fd))
			}
			f = os.NewFile(uintptr(fd), path)
			return nil
		})
	})
	return f, err
}

// Write writes to a file that Create or OpenOrCreate opened.
func (r *Root) Write(f *os.File, data []byte, offset int64) error {
	if r.before != nil {
		if err := r.before("write", f.Name()); err != nil {
			return &fs.PathError{Op: "write", Path: f.Name(), Err: err}
		}
	}
	_, err := f.WriteAt(data, offset)
	return err
}

// Mkdir makes a folder.
func (r *Root) Mkdir(path string, mode uint32) error {
	return r.changing("mkdir", path, func(dir int, name string) error {
		return retry(func() error { return unix.Mkdirat(dir, name, mode) })
	})
}

// Symlink makes a symbolic link.
func (r *Root) Symlink(target, path string) error {
	return r.changing("symlink", path, func(dir int, name string) error {
		return retry(func() error { return unix.Symlinkat(target, dir, name) })
	})
}

// Remove removes what is no folder.
func (r *Root) Remove(path string) error {
	return r.changing("remove", path, func(dir int, name string) error {
		return retry(func() error { return unix.Unlinkat(dir, name, 0) })
	})
}

// Rmdir removes an empty folder.
func (r *Root) Rmdir(path string) error {
	return r.changing("rmdir", path, func(dir int, name string) error {
		return retry(func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
	})
}

// RemoveAll removes what is at a path with all that is below it. Nothing there
// is no error.
func (r *Root) RemoveAll(path string) error {
	s, err := r.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case s.Kind != Dir:
		return r.Remove(path)
	}
	names, err := r.Names(path, int(^uint(0)>>1))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.RemoveAll(path + "/" + name); err != nil {
			return err
		}
	}
	return r.Rmdir(path)
}

// Chmod sets the permissions of a file or folder; never those of what a link
// leads to.
func (r *Root) Chmod(path string, mode uint32) error {
	return r.changing("chmod", path, func(dir int, name string) error { return chmodAt(dir, name, mode) })
}

// Touch sets the time of change of a file.
func (r *Root) Touch(path string, t time.Time) error {
	return r.changing("touch", path, func(dir int, name string) error {
		ts := []unix.Timespec{{Nsec: utimeOmit}, unix.NsecToTimespec(t.UnixNano())}
		return retry(func() error { return unix.UtimesNanoAt(dir, name, ts, unix.AT_SYMLINK_NOFOLLOW) })
	})
}

// How a rename treats what is at the new path.
type How int

// The ways to rename. Where the file system has neither NoReplace nor Exchange
// the error is ErrUnsupported, and nothing was done.
const (
	Replace   How = iota // what is there goes
	NoReplace            // where something is there, it is an error
	Exchange             // what is there takes the old path
)

// ErrUnsupported is the error of a rename that the file system can't do.
var ErrUnsupported = errors.New("the file system has no such rename")

// Rename moves what is at a path to another, in one step.
func (r *Root) Rename(from, to string, how How) error {
	op := [...]string{"rename", "rename-new", "exchange"}[how]
	return r.changing(op, to, func(toDir int, toName string) error {
		return r.inOf(from, func(fromDir int, fromName string) error {
			return retry(func() error {
				if how == Replace {
					return unix.Renameat(fromDir, fromName, toDir, toName)
				}
				return renameAt(fromDir, fromName, toDir, toName, how)
			})
		})
	})
}

// inOf is in without wrapping of the error.
func (r *Root) inOf(path string, do func(dir int, name string) error) error {
	err := r.in("rename", path, do)
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Sync makes a file or folder durable.
func (r *Root) Sync(path string) error {
	at := path
	if at == "" {
		at = "."
	}
	fd, err := r.resolve(at, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	return errors.Join(f.Sync(), f.Close())
}
