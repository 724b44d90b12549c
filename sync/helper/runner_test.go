package helper

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunner(t *testing.T) {
	t.Parallel()
	run, dir := runner(place{work: "/"}, ""), t.TempDir()
	var stdout, stderr bytes.Buffer
	code, err := run(t.Context(), []string{"sh", "-c", "pwd; echo no >&2; exit 3"}, dir, &stdout, &stderr)
	require.NoError(t, err)
	require.Equal(t, 3, code)
	require.Equal(t, dir, strings.TrimSpace(stdout.String()))
	require.Equal(t, "no\n", stderr.String())

	// As out of memory does.
	code, err = run(t.Context(), []string{"sh", "-c", "kill -9 $$"}, dir, io.Discard, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 137, code)

	_, err = run(t.Context(), []string{"/nonexistent"}, dir, io.Discard, io.Discard)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = run(t.Context(), nil, dir, io.Discard, io.Discard)
	require.ErrorContains(t, err, "no command")
}

func TestACommandEndsWithItsChildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out, in, err := os.Pipe()
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := runner(place{work: "/"}, "")(ctx, []string{"sh", "-c", "sleep 1000 & echo begun; wait"}, "/", in, io.Discard)
		done <- err
	}()
	_, err = out.Read(make([]byte, 6))
	require.NoError(t, err)
	cancel()
	require.Error(t, <-done)
	require.NoError(t, in.Close())
	// The sleep has the pipe's other end, as long as it is there.
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Empty(t, rest)
}
