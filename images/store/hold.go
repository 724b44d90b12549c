package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
)

// holdAgain is how often a lock that another process holds is asked for. A
// file lock cannot be watched.
const holdAgain = 50 * time.Millisecond

// Hold keeps Prune out until release is called: whoever means to use what is
// in the store, or writes several things that belong together, holds it. Any
// number may hold the store at once.
func (s *Store) Hold(ctx context.Context) (release func() error, err error) {
	for {
		release, err = s.flock(filelock.Shared)
		if !errors.Is(err, filelock.ErrHeld) {
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
	release, err = s.flock(filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, &fault.Error{
			Op: "locking the image store", Subject: s.dir, Err: errors.New("another kfdev is using it"),
			Hint: "wait until it has ended and try again",
		}
	}
	return release, s.fault("locking the image store", "", err)
}

func (s *Store) flock(how filelock.Mode) (func() error, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := filelock.Hold(f, how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return filelock.Drop(f) }, nil
}
