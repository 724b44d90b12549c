package state

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
	"github.com/kfdev/kfdev/internal/progress"
)

// lockName is the name of a lock's file: in a project's folder that of the
// project, in the state folder itself that of what projects share.
const lockName = "lock"

// Acquire makes this process the one that changes the project on this machine,
// until release is called. Where another does, it waits, and says for whom, if
// wait is true; else the error is a fault of kind Preflight that names it.
func (s *Store) Acquire(ctx context.Context, command string, wait bool, sink progress.Sink) (release func() error, err error) {
	path := filepath.Join(s.dir, lockName)
	var lock *filelock.Lock
	if wait {
		lock, err = filelock.Acquire(ctx, path, command, func(h filelock.Holder) {
			progress.Say(sink, fmt.Sprintf("waiting for %s, which works on the project %s", h, s.project))
		})
	} else {
		lock, err = filelock.TryAcquire(path, command)
	}
	var held *filelock.HeldError
	switch {
	case err == nil:
		return lock.Release, nil
	case ctx.Err() != nil:
		return nil, &fault.Error{Op: "waiting for the project", Subject: s.project, Kind: fault.Canceled, Err: err}
	case errors.As(err, &held):
		return nil, &fault.Error{Op: "locking the project", Subject: s.project, Kind: fault.Preflight, Err: err,
			Hint: "wait until it is done, or run the command with --wait"}
	}
	return nil, &fault.Error{Op: "locking the project", Subject: s.project, Err: err}
}

// AcquireShared makes this process the one that changes what the user's
// projects share on this machine, until release is called. It waits for
// others, who hold it for seconds at most, and says for whom. Whoever holds a
// project too has acquired that first.
func AcquireShared(ctx context.Context, root, command string, sink progress.Sink) (release func() error, err error) {
	lock, err := filelock.Acquire(ctx, filepath.Join(root, lockName), command, func(h filelock.Holder) {
		progress.Say(sink, fmt.Sprintf("waiting for %s, which works on what all projects share", h))
	})
	switch {
	case err == nil:
		return lock.Release, nil
	case ctx.Err() != nil:
		return nil, &fault.Error{Op: "waiting for what all projects share", Subject: root, Kind: fault.Canceled, Err: err}
	}
	return nil, &fault.Error{Op: "locking what all projects share", Subject: root, Err: err}
}
