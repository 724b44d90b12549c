package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Mode is how a file is held.
type Mode int

// The modes of flock(2).
const (
	Shared    Mode = unix.LOCK_SH // by any number at once
	Exclusive Mode = unix.LOCK_EX // by one
)

// ErrHeld says that somebody holds the file in a way that excludes the asked one.
var ErrHeld error = unix.EWOULDBLOCK

// Hold locks an open file at once, or fails: with ErrHeld where others hold
// it, with something else on a file system without locks.
func Hold(f *os.File, mode Mode) error {
	return flock(f, int(mode)|unix.LOCK_NB)
}

// Drop gives a held file back and closes it. Closing alone is not enough: a
// program that another goroutine is starting just now has a copy of the
// descriptor between its fork and its exec, and with it the lock.
func Drop(f *os.File) error {
	_ = flock(f, unix.LOCK_UN) // fails only where there are no locks
	return f.Close()
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) { //nolint:gosec // a descriptor is a small number
			return err
		}
	}
}
