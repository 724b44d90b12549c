package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/internal/filelock"
)

// holdEnv makes this test binary a process that takes the lock it names, says
// so, and holds it until its input ends.
const holdEnv = "KFDEV_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path)) //nolint:forbidigo // this is a main
	}
	goleak.VerifyTestMain(m)
}

func hold(path string) int {
	lock, err := filelock.TryAcquire(path, "kfdev up")
	if err != nil {
		return 1
	}
	_, _ = os.Stdout.WriteString("held\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if lock.Release() != nil {
		return 1
	}
	return 0
}

// startHolder runs another process that holds the lock; done ends it well.
func startHolder(t *testing.T, path string) (cmd *exec.Cmd, done func()) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return cmd, func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	}
}

func TestTheSecondIsToldWhoHoldsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "lock")
	cmd, done := startHolder(t, path)
	_, err := filelock.TryAcquire(path, "kfdev down")
	var held *filelock.HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, cmd.Process.Pid, held.Holder.PID)
	require.Equal(t, "kfdev up", held.Holder.Command)
	require.False(t, held.Holder.Since.IsZero())
	done()

	lock, err := filelock.TryAcquire(path, "kfdev down")
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestAKilledHolderHoldsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	cmd, _ := startHolder(t, path)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	lock, err := filelock.TryAcquire(path, "kfdev up")
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestAcquireWaitsAndSaysForWhomOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	cmd, done := startHolder(t, path)
	waiting := make(chan filelock.Holder, 10)
	acquired := make(chan error, 1)
	go func() {
		lock, err := filelock.Acquire(t.Context(), path, "kfdev status", func(h filelock.Holder) { waiting <- h })
		if err == nil {
			err = lock.Release()
		}
		acquired <- err
	}()
	require.Equal(t, cmd.Process.Pid, (<-waiting).PID)
	done()
	require.NoError(t, <-acquired)
	require.Empty(t, waiting)
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := filelock.TryAcquire(path, "kfdev up")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	_, err = filelock.Acquire(ctx, path, "kfdev up", func(filelock.Holder) { cancel(stop) })
	require.ErrorIs(t, err, stop)
	var held *filelock.HeldError
	require.ErrorAs(t, err, &held)
	require.NoError(t, lock.Release())
}

func TestOnlyOneAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var inside, rounds atomic.Int32
	results := make(chan error)
	for range 8 {
		go func() {
			lock, err := filelock.Acquire(t.Context(), path, "kfdev up", nil)
			if err == nil {
				if inside.Add(1) != 1 {
					err = errors.New("two at once")
				}
				rounds.Add(1)
				inside.Add(-1)
				err = errors.Join(err, lock.Release())
			}
			results <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-results)
	}
	require.EqualValues(t, 8, rounds.Load())
}

func TestAFileThatSaysNothingNamesNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := filelock.TryAcquire(path, "kfdev up")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("{not json"), 0o600))
	_, err = filelock.TryAcquire(path, "kfdev up")
	require.ErrorContains(t, err, "held by another process")
	require.NoError(t, lock.Release())
}

// A program that is being started has a copy of every descriptor between fork
// and exec; who comes next must get the lock all the same.
func TestALockIsFreeThoughACopyOfItsDescriptorIsOpen(t *testing.T) {
	t.Parallel()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, filelock.Hold(f, filelock.Exclusive))
	started, err := unix.Dup(int(f.Fd())) //nolint:gosec // a descriptor is a small number
	require.NoError(t, err)
	defer unix.Close(started) //nolint:errcheck // nothing was written

	second, err := os.Open(f.Name())
	require.NoError(t, err)
	require.ErrorIs(t, filelock.Hold(second, filelock.Shared), filelock.ErrHeld)
	require.NoError(t, filelock.Drop(f))
	require.NoError(t, filelock.Hold(second, filelock.Exclusive))
	require.NoError(t, filelock.Drop(second))
}
