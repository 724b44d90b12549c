// Package control is how other processes of the same user speak to a sync
// session that runs: over a unix socket in the session's folder. A lock beside
// it, which ends with its process however that ends, says whether there is one.
//
//	GET  /status    what is known of the session
//	GET  /tree      what the pod has, where the session is in sync and clean
//	GET  /events    what happens from now on, one JSON object a line
//	POST /undo      bring back what the last batch took away
//	POST /resolve   end a conflict
//	POST /resume    go on after a halt
//	POST /stop      end the session
package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// Files of a session's folder that are this package's.
const (
	lockName   = "lock"
	socketName = "control.sock"
)

// Session is what is controlled; *session.Session is one.
type Session interface {
	Status(ctx context.Context) (session.Status, error)
	Holds(ctx context.Context) (*tree.Tree, error)
	Undo(ctx context.Context) (session.Undone, error)
	Resolve(ctx context.Context, path string, keep session.Keep) error
	Resume(ctx context.Context, how session.Resumption) error
}

var _ Session = (*session.Session)(nil)

// looking is how the lock's holder calls itself that only looks whether there is
// a session.
const looking = "kfdev sync ls"

// claimWithin bounds waiting for those who only look.
const claimWithin = 2 * time.Second

// Claim is the right to be the session of a folder.
type Claim struct {
	dir  string
	lock *filelock.Lock
}

// Take makes this process the one that runs the session of the folder, which is
// made where it is not there. Where another one does, the error is a fault of
// kind Preflight that names it.
func Take(ctx context.Context, dir, command string) (*Claim, error) {
	fail := func(err error) (*Claim, error) {
		return nil, &fault.Error{Op: "starting the session", Subject: filepath.Base(dir), Err: err}
	}
	// The socket in it is nobody else's, from the moment that it is made.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // folders need the x
		return fail(err)
	}
	lock, err := take(ctx, dir, command)
	if err != nil {
		return fail(err)
	}
	c := &Claim{dir: dir, lock: lock}
	if err := c.clean(); err != nil {
		return fail(errors.Join(err, lock.Release()))
	}
	return c, nil
}

// take takes the lock. It waits for those who only look, and not for a session.
func take(ctx context.Context, dir, command string) (*filelock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	lock, err := filelock.Acquire(ctx, filepath.Join(dir, lockName), command, func(h filelock.Holder) {
		if h.PID != 0 && h.Command != looking {
			cancel()
		}
	})
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return nil, &fault.Error{
			Kind: fault.Preflight, Hint: "`kfdev sync stop " + filepath.Base(dir) + "` ends it; `kfdev sync status " + filepath.Base(dir) + "` shows it",
			Err: fmt.Errorf("it runs already: %s", held.Holder),
		}
	}
	return lock, err
}

// clean removes the socket of a process that has died. Whoever has the lock
// knows that nobody serves it.
func (c *Claim) clean() error {
	err := os.Remove(filepath.Join(c.dir, socketName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Release lets another process run the session.
func (c *Claim) Release() error { return errors.Join(c.clean(), c.lock.Release()) }

// Running is a session that a process runs.
type Running struct {
	Name   string
	Dir    string
	Holder filelock.Holder
}

// List returns the sessions below a folder that run, by name. What dead ones
// left behind is removed.
func List(dir string) ([]Running, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &fault.Error{Op: "listing the sessions", Subject: dir, Err: err}
	}
	var all []Running
	for _, e := range entries {
		r, runs, err := Look(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if runs {
			all = append(all, r)
		}
	}
	return all, nil
}

// Look reports whether a process runs the session of a folder. What a dead one
// left behind is removed.
func Look(dir string) (Running, bool, error) {
	file := filepath.Join(dir, lockName)
	// Who ends well leaves no name in the lock: then it is not touched, and is in
	// nobody's way who starts a session just now.
	if h := holder(file); h.PID == 0 || h.Command == looking {
		return Running{}, false, nil
	}
	lock, err := filelock.TryAcquire(file, looking)
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return Running{Name: filepath.Base(dir), Dir: dir, Holder: held.Holder}, held.Holder.PID != 0 && held.Holder.Command != looking, nil
	}
	if err == nil {
		c := &Claim{dir: dir, lock: lock}
		err = c.Release()
	}
	if err != nil {
		return Running{}, false, &fault.Error{Op: "looking for the session", Subject: filepath.Base(dir), Err: err}
	}
	return Running{}, false, nil
}

// maxHolder is how much of a lock file is read, bytes.
const maxHolder = 64 << 10

// holder is who says in the lock file that it holds it, or did when it was
// killed.
func holder(file string) (h filelock.Holder) {
	f, err := os.Open(file) //nolint:gosec // of the session's own folder
	if err != nil {
		return h // no session ever ran there
	}
	defer f.Close() //nolint:errcheck // it was only read
	if decode(f, maxHolder, false, &h) != nil {
		return filelock.Holder{}
	}
	return h
}
