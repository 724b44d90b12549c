package client_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/source/client"
)

func sh(script string) client.Command {
	return client.Command{Program: "/bin/sh", Args: []string{"-c", script}}
}

func TestRunReturnsWhatWasWritten(t *testing.T) {
	t.Parallel()
	c := sh(`echo out; echo err >&2; pwd; echo "$WORD"`)
	c.Dir, c.Env = t.TempDir(), []string{"WORD=given"}
	out, err := c.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "out\n"+c.Dir+"\ngiven\n", string(out.Stdout))
	require.Equal(t, "err\n", string(out.Stderr))

	var to bytes.Buffer
	c.Stdout = &to
	out, err = c.Run(t.Context())
	require.NoError(t, err)
	require.Empty(t, out.Stdout)
	require.Contains(t, to.String(), "out\n")
}

func TestAFailureCarriesTheEndOfWhatWasSaid(t *testing.T) {
	t.Parallel()
	_, err := sh(`i=0; while [ $i -lt 100 ]; do echo line $i >&2; i=$((i+1)); done; exit 3`).Run(t.Context())
	var failed *client.Error
	require.ErrorAs(t, err, &failed)
	lines := strings.Split(failed.Tail, "\n")
	require.Len(t, lines, 30)
	require.Equal(t, "line 99", lines[29])
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.ExitCode())

	_, err = sh("echo only here; exit 1").Run(t.Context())
	require.ErrorContains(t, err, "only here", "where nothing is said on standard error")
	_, err = client.Command{Program: "/bin/false", Args: []string{strings.Repeat("a", 1000)}}.Run(t.Context())
	require.Less(t, len(err.Error()), 300)
	_, err = client.Command{Program: "there-is-no-such-client"}.Run(t.Context())
	require.ErrorIs(t, err, exec.ErrNotFound)
}

func TestNotesAreHeardAndLeftOut(t *testing.T) {
	t.Parallel()
	var heard []string
	c := sh(`echo "# note" >&2; echo reason >&2; printf "no end" >&2; exit 1`)
	c.Line = func(line string) bool {
		heard = append(heard, line)
		return strings.HasPrefix(line, "#")
	}
	_, err := c.Run(t.Context())
	var failed *client.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "reason\nno end", failed.Tail)
	require.Equal(t, []string{"# note", "reason", "no end"}, heard)
}

// A client that is stopped takes its children along, also one that holds its
// standard output.
func TestAStoppedClientLeavesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if data, err := os.ReadFile(file); err == nil && bytes.HasSuffix(data, []byte("\n")) {
				cancel()
			}
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a file that another process writes
		}
	}()
	start := time.Now()
	_, err := sh(`(sleep 300 & echo $! > ` + file + `.new; mv ` + file + `.new ` + file + `; wait)`).Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 30*time.Second)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || zombie(child)
	}, 10*time.Second, 10*time.Millisecond)
}

// zombie reports whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}
