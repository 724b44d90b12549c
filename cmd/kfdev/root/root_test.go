package root

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func none(string) string { return "" }

func TestEveryCommandTellsTheExitCodesAndTakesTheGlobalFlags(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		var out bytes.Buffer
		c.SetOut(&out)
		require.NoError(t, c.Help())
		require.Contains(t, out.String(), "130  interrupted", c.CommandPath())
		require.NotNil(t, c.Flag("output"), c.CommandPath())
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(New())
}

// The test sends the process a signal, so it runs alone.
func TestTheFirstInterruptEndsACommandCleanly(t *testing.T) { //nolint:paralleltest // as said above
	r, w := io.Pipe()
	var out bytes.Buffer
	code := make(chan int)
	go func() {
		args := []string{"registry", "serve", "--addr", "127.0.0.1:0", "--root", filepath.Join(t.TempDir(), "r")}
		code <- Run(context.Background(), args, Streams{In: strings.NewReader(""), Out: &out, Err: w}, none)
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "serving")
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "once more to stop at once")
	require.Equal(t, 0, <-code)
	require.Empty(t, out.String())
}

func TestInterruptibleCancelsWithAnInterruption(t *testing.T) { //nolint:paralleltest // it sends the process a signal
	told := make(chan string, 1)
	ctx, interrupted, stop := interruptible(context.Background(), func(s string) { told <- s })
	defer stop()
	require.False(t, interrupted())
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-ctx.Done()
	require.True(t, interrupted())
	require.NotEmpty(t, <-told)
	require.Equal(t, 130, fault.ExitCode(context.Cause(ctx)))
}

func TestWarningsGoBesideProgress(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	a := &app{streams: Streams{Err: &errs}, getenv: none, mode: "plain"}
	a.warn("before")
	progress.Say(a.sink(), "said")
	a.warn("between")
	a.close()
	a.close()
	a.warn("after")
	require.Equal(t, "before\n00:00  said\n00:00  warning: between\nafter\n", errs.String())
}

func TestWithProgressAsJSONAllOfStandardErrorIsEvents(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	a := &app{streams: Streams{Err: &errs}, getenv: none, mode: "json"}
	a.warn("before")
	progress.Say(a.sink(), "said")
	a.warn("between")
	a.close()
	a.warn("after")
	require.NoError(t, a.tell(&fault.Error{Kind: fault.Canceled, Err: context.Canceled, Hint: "h"}, 130))
	var states []string
	for line := range strings.Lines(errs.String()) {
		var event struct{ State, Text, Error string }
		require.NoError(t, json.Unmarshal([]byte(line), &event), line)
		states = append(states, event.State+" "+event.Text+event.Error)
	}
	require.Equal(t, []string{"warning before", "message said", "warning between", "warning after", "error context canceled"}, states)
}

func TestErrorsAreEventsAlsoWhereTheFlagsAreWrong(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{
		"":                                 false,
		"x --progress json":                true,
		"x --progress=json -bad":           true,
		"x --progress json --progress tty": false,
		"x --progress":                     false,
		"x -o json":                        false,
		"x -- --progress json":             false,
	} {
		require.Equal(t, want, (&app{args: strings.Fields(args)}).showsJSON(), args)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Equal(t, 0, Run(t.Context(), []string{"version"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, none))
	require.True(t, strings.HasPrefix(out.String(), "kfdev "))
	require.Empty(t, errs.String())
}

func TestACommandLineThatIsWrongEndsInTwo(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"nonsense", "version extra", "version --nonsense", "version -o toml", "version --progress loud",
		"open", "lock name", "lock --check --update", "lock --check --wait", "up --dry-run --wait",
		"logs", "logs x --follow --previous", "logs x --tail -1",
	} {
		var out, errs bytes.Buffer
		require.Equal(t, 2, Run(t.Context(), strings.Fields(args), Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, none), args)
		require.Contains(t, errs.String(), "error: ", args)
		require.Empty(t, out.String(), args)
	}
}
