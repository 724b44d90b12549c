package root

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/console"
	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/sync/session"
)

func TestWhatHappensIsSaidInALine(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]session.Event{
		"connecting: waiting for the server": {Kind: session.StateEvent, State: session.Connecting, Text: "waiting for the server"},
		"looking at both folders":            {Kind: session.StateEvent, State: session.Scanning},
		"to the pod: src/train.py (8 ms)": {Kind: session.BatchEvent, Batch: &session.Batch{
			To: "remote", Changed: 1, Bytes: 5, Latency: 8 * time.Millisecond, Paths: []session.Name{"src/train.py"},
		}},
		"from the pod: deleted 'a b' (1.2s)": {Kind: session.BatchEvent, Batch: &session.Batch{
			To: "local", Deleted: 1, Latency: 1200 * time.Millisecond, Paths: []session.Name{"a b"},
		}},
		"to the pod: 1,998 changed, 2 deleted, 4.1 MB: a, b, c, …, 1 merged by cell (90 ms)": {Kind: session.BatchEvent, Batch: &session.Batch{
			To: "remote", Changed: 1998, Deleted: 2, Bytes: 4_100_000, Latency: 90 * time.Millisecond, Paths: []session.Name{"a", "b", "c", "d"}, Merged: 1,
		}},
		"conflict: a.py: both changed it; kfdev sync resolve a.py --keep local|remote|both ends it": {
			Kind: session.ConflictEvent, Conflict: &session.Conflict{Path: "a.py", Why: "both changed it"},
		},
		`problem: "\x1b[31m": the remote folder: no[0m space; it is tried again`: {
			Kind: session.ProblemEvent, Problem: &session.Problem{Path: "\x1b[31m", Side: "remote", Error: "no\x1b[0m space"},
		},
		"settled: a.py":           {Kind: session.SettledEvent, Text: "a.py"},
		"halted: too much; do so": {Kind: session.HaltEvent, Halt: &session.Halt{Text: "too much", Hint: "do so"}},
		"ran make test: exit code 2 after 30 ms\n  | one\n  | two[2J": {
			Kind: session.RunEvent, Run: &session.Run{Command: []string{"make", "test"}, Code: 2, Took: 30 * time.Millisecond, Output: "one\r\ntwo\x1b[2J\n"},
		},
		"ran make: it could not be run: no such file": {Kind: session.RunEvent, Run: &session.Run{Command: []string{"make"}, Error: "no such file"}},
		"ran make: the connection was lost":           {Kind: session.RunEvent, Run: &session.Run{Command: []string{"make"}, Error: "the connection was lost", Lost: true}},
		"note: slow disk":                             {Kind: session.NoteEvent, Text: "slow disk"},
		"12 of 340 files, 3.1 MB of 1.20 GB to the pod": {
			Kind: session.ProgressEvent, Text: "remote", Progress: &session.Progress{Files: 12, Of: 340, Bytes: 3_100_000, Total: 1_200_000_000},
		},
	} {
		require.Equal(t, want, eventText(e))
	}
}

func TestAStatusInALine(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	require.Equal(t, "in sync · 5,012 paths · p50 8 ms p95 20 ms · 1 conflict · 2 problems · pod web-0", statusLine(session.Status{
		State: session.InSync, Paths: 5012, Pod: "pod web-0", ToRemote: session.Latency{Edits: 3, P50: 8 * ms, P95: 20 * ms},
		Conflicts: make([]session.Conflict, 1), Problems: make([]session.Problem, 2),
	}))
	require.Equal(t, "halted: too much", statusLine(session.Status{State: session.Halted, Halt: &session.Halt{Text: "too much"}}))
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, grouped(n))
	}
}

func TestPathsCanBeGivenBackToTheShell(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"": ".", "a/b-c_d.py": "a/b-c_d.py", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "naïve ☃": "'naïve ☃'",
	} {
		require.Equal(t, want, shownPath(path))
	}
}

// lockedText is written to by a console, and read meanwhile.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func TestOnATerminalALineIsLive(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var screen lockedText
	a := &app{format: view.Text, mode: console.TTY, streams: Streams{Out: &out, Err: &screen}}
	a.shown = console.New(console.Options{Mode: console.TTY, Out: &screen, Size: func() (int, int, bool) { return 200, 20, true }})
	show := &syncShow{a: a, name: "nb", live: true}
	show.watch(&steered{status: session.Status{State: session.InSync, Paths: 7}})
	events := make(chan session.Event)
	done := make(chan struct{})
	go func() {
		defer close(done)
		show.run(context.Background(), events)
	}()
	events <- session.Event{Kind: session.ProgressEvent, Time: time.Now(), Text: "remote", Progress: &session.Progress{Files: 1, Of: 3, Bytes: 5, Total: 9}}
	require.Eventually(t, func() bool { return screen.has("1 of 3 files to the pod") }, 10*time.Second, 5*time.Millisecond)
	events <- session.Event{Kind: session.BatchEvent, Time: time.Now(), Batch: &session.Batch{To: "remote", Changed: 1, Paths: []session.Name{"a"}, Latency: time.Millisecond}}
	events <- session.Event{Kind: session.HaltEvent, Time: time.Now(), Halt: &session.Halt{Text: "too much", Hint: "do so"}}
	require.Eventually(t, func() bool {
		return screen.has("in sync · 7 paths · to the pod: a (1 ms)") && screen.has("halted: too much; do so")
	}, 10*time.Second, 5*time.Millisecond)
	close(events)
	<-done
	a.close()
	require.Empty(t, out.String(), "live lines and results would mix")
}

func TestElsewhereEveryEventIsALine(t *testing.T) {
	t.Parallel()
	batch := session.Event{Time: time.Unix(1, 0).UTC(), Kind: session.BatchEvent, Batch: &session.Batch{To: "remote", Changed: 1, Paths: []session.Name{"a"}, Latency: time.Millisecond}}
	going := session.Event{Time: time.Unix(2, 0).UTC(), Kind: session.ProgressEvent, Text: "remote", Progress: &session.Progress{Files: 1, Of: 3}}
	soon := going
	soon.Time = soon.Time.Add(time.Second)
	for _, tc := range []struct {
		format view.Format
		want   string
	}{
		{view.Text, "to the pod: a (1 ms)\n1 of 3 files, 0 B of 0 B to the pod\n"},
		{view.JSON, `{"time":"1970-01-01T00:00:01Z","kind":"batch","batch":{"to":"remote","changed":1,"deleted":0,"bytes":0,"latency":1000000,"paths":["a"]}}
{"time":"1970-01-01T00:00:02Z","kind":"progress","text":"remote","progress":{"files":1,"of":3,"bytes":0,"total":0}}
{"time":"1970-01-01T00:00:03Z","kind":"progress","text":"remote","progress":{"files":1,"of":3,"bytes":0,"total":0}}
`},
	} {
		var out bytes.Buffer
		show := &syncShow{a: &app{format: tc.format, streams: Streams{Out: &out}}}
		events := make(chan session.Event, 3)
		events <- batch
		events <- going
		events <- soon
		close(events)
		show.run(t.Context(), events)
		require.Equal(t, tc.want, out.String())
	}
}

// An entry of the same name as a command below kfdev sync could not be meant.
func TestNoEntryMayHaveTheNameOfACommand(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(New().Commands(), func(c *cobra.Command) bool { return c.Name() == "sync" })
	for _, c := range New().Commands()[i].Commands() {
		_, err := project.Parse("kfdev.yaml", []byte("apiVersion: kfdev.dev/v1alpha1\nkind: Project\nmetadata: {name: a}\nsync: [{name: "+c.Name()+", local: b, remote: /c, target: pod/d}]\n"))
		require.ErrorContains(t, err, "is a command: give the entry another name", c.Name())
	}
}

func TestTheBackgroundMeansTheSameSession(t *testing.T) {
	t.Parallel()
	a := &app{}
	cmd := newSync(a)
	given := []string{"--mode", "pull", "--max-delete", "5", "--on-change", "make x", "--prefer", "local", "-c", "main", "-n", "ns", "--env", "staging", "-d", "nb"}
	require.NoError(t, cmd.ParseFlags(given))
	var f syncFlags
	f.Mode, f.MaxDelete, f.onChange, f.Prefer, f.Container, f.Namespace, f.Env, f.What = "pull", "5", "make x", "local", "main", "ns", "staging", "nb"
	again := newSync(a)
	require.NoError(t, again.ParseFlags(f.args()[1:]))
	for _, name := range []string{"mode", "max-delete", "on-change", "prefer", "container", "namespace", "env"} {
		require.Equal(t, cmd.Flag(name).Value.String(), again.Flag(name).Value.String(), name)
	}
	require.Equal(t, cmd.Flags().Args(), again.Flags().Args())
}
