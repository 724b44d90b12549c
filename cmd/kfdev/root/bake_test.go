package root

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

func TestBakeTakesOneEntry(t *testing.T) {
	t.Parallel()
	a := &app{streams: Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, getenv: func(string) string { return "" }, project: t.TempDir()}
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--locked"}} {
		cmd := newSyncBake(a)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		require.Error(t, cmd.ExecuteContext(t.Context()), args)
	}
	var help bytes.Buffer
	cmd := newSyncBake(a)
	cmd.SetOut(&help)
	cmd.SetArgs([]string{"--help"})
	require.NoError(t, cmd.ExecuteContext(t.Context()))
	for _, flag := range []string{"--lock", "--local", "--allow-secret", "--wait"} {
		require.Contains(t, help.String(), flag)
	}
	cmd = newSyncBake(a)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"notebook"})
	require.Equal(t, fault.NotFound, fault.KindOf(cmd.ExecuteContext(t.Context())), "there is no project")
}
