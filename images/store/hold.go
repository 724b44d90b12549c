package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/internal/fault"
)

// holdAgain is how often a lock that another process holds is asked for. A
// file lock cannot be watched.
const holdAgain = 50 * time.Millisecond

// Hold keeps Prune out until release is called: whoever means to use what is
// in the store, or writes several things that belong together, holds it. Any
// number may hold the store at once.
func (s *Store) Hold(ctx context.Context) (release func() error, err error) {
	for {
		release, err = s.flock(unix.LOCK_SH)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return release, s.fault("locking the image store", "", err)
		}
		select {
		case <-ctx.Done():
			return nil, s.fault("locking the image store", "", ctx.Err())
		case <-time.After(holdAgain):
		}
	}
}

// alone locks the store against everybody else, at once or not at all.
func (s *Store) alone() (release func() error, err error) {
	release, err = s.flock(unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &fault.Error{
			Op: "locking the image store", Subject: s.dir, Err: errors.New("another kfdev is using it"),
			Hint: "wait until it has ended and try again",
		}
	}
	return release, s.fault("locking the image store", "", err)
}

func (s *Store) flock(how int) (func() error, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil // closing lets the lock go
}
