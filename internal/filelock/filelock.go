// Package filelock lets one process at a time do something, and tells the
// others who is doing it. The lock is the kernel's flock on a file that stays:
// it ends with its holder, however that ends, so a lock is never stale.
package filelock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Holder says who holds a lock. The zero Holder is one that has not yet said
// who it is.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // "kfdev up"
	Since   time.Time `json:"since"`
}

// String tells people who it is.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("%q (process %d, since %s)", h.Command, h.PID, h.Since.Local().Format("15:04:05"))
}

// HeldError says that another process holds the lock.
type HeldError struct {
	Path   string
	Holder Holder
}

// Error names the holder.
func (e *HeldError) Error() string { return fmt.Sprintf("held by %s", e.Holder) }

// pollEvery is how often a held lock is tried again: flock itself cannot be
// interrupted.
const pollEvery = 100 * time.Millisecond

// Lock is a lock that this process holds.
type Lock struct{ file *os.File }

// TryAcquire takes the lock on the file at path, which is made where it is
// not there, for a command described for people. Where another process, or
// another part of this one, holds it, the error is a *HeldError.
func TryAcquire(path, command string) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return take(f, path, command)
}

// Acquire is TryAcquire that waits until the lock is free or ctx ends.
// Waiting is called once per holder that is waited for, and may be nil.
func Acquire(ctx context.Context, path, command string, waiting func(Holder)) (*Lock, error) {
	var told Holder
	first := true
	for {
		lock, err := TryAcquire(path, command)
		var held *HeldError
		if !errors.As(err, &held) {
			return lock, err
		}
		if waiting != nil && (first || held.Holder.PID != told.PID && held.Holder.PID != 0) {
			waiting(held.Holder)
			told, first = held.Holder, false
		}
		timer := time.NewTimer(pollEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// Release gives the lock back.
func (l *Lock) Release() error {
	// Emptied first, so that nobody is named who holds it no more.
	return errors.Join(l.file.Truncate(0), Drop(l.file))
}

func open(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the lock: %w", err)
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

func take(f *os.File, path, command string) (*Lock, error) {
	err := Hold(f, Exclusive)
	if errors.Is(err, ErrHeld) {
		return nil, errors.Join(&HeldError{Path: path, Holder: read(f)}, f.Close())
	}
	if err == nil {
		err = write(f, Holder{PID: os.Getpid(), Command: command, Since: time.Now().Truncate(time.Second)})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return &Lock{file: f}, nil
}

func write(f *os.File, h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}

// read returns who wrote the file last; the zero Holder where that cannot be read.
func read(f *os.File) Holder {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil {
		return Holder{}
	}
	var h Holder
	if json.Unmarshal(data, &h) != nil {
		return Holder{}
	}
	return h
}
