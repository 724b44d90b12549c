package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
	"github.com/kfdev/kfdev/sync/tree"
)

// claimVariable makes this test's program hold the session of a folder until it
// is killed.
const claimVariable = "KFDEV_TEST_CLAIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(claimVariable); dir != "" {
		hold(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func hold(dir string) {
	c, err := control.Take(context.Background(), dir, "held by a child")
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	if _, err := c.Serve(context.Background(), &fake{}, &control.Feed{}, func() {}); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	fmt.Fprintln(os.Stdout, "held")
	select {}
}

// fake is a session.
type fake struct {
	status session.Status
	held   *tree.Tree
	err    error

	mu    sync.Mutex
	asked []string
}

func (f *fake) did(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
	return f.err
}

func (f *fake) Status(context.Context) (session.Status, error) { return f.status, f.did("status") }
func (f *fake) Undo(context.Context) (session.Undone, error) {
	return session.Undone{Side: "local", Batch: "7", Paths: []session.Name{"a"}}, f.did("undo")
}
func (f *fake) Resolve(_ context.Context, path string, keep session.Keep) error {
	return f.did(fmt.Sprintf("resolve %q %s", path, keep))
}
func (f *fake) Holds(context.Context) (*tree.Tree, error) {
	return f.held, f.did("tree")
}

func (f *fake) Resume(_ context.Context, how session.Resumption) error {
	return f.did("resume " + string(how))
}

// served is a session that runs in the folder.
type served struct {
	*control.Client

	dir     string
	feed    *control.Feed
	stopped chan struct{}
	end     func()
}

func serve(t *testing.T, dir string, s control.Session) *served {
	t.Helper()
	claim, err := control.Take(t.Context(), dir, "kfdev sync")
	require.NoError(t, err)
	one := &served{Client: control.NewClient(dir), dir: dir, feed: &control.Feed{}, stopped: make(chan struct{})}
	var once sync.Once
	server, err := claim.Serve(t.Context(), s, one.feed, func() { once.Do(func() { close(one.stopped) }) })
	require.NoError(t, err)
	var ended sync.Once
	one.end = func() {
		ended.Do(func() {
			require.NoError(t, server.Close())
			require.NoError(t, claim.Release())
			one.Close()
		})
	}
	t.Cleanup(one.end)
	return one
}

func TestASessionIsAsked(t *testing.T) {
	t.Parallel()
	f := &fake{status: session.Status{Name: "nb", State: session.InSync, Paths: 5}}
	s := serve(t, filepath.Join(t.TempDir(), "nb"), f)
	got, err := s.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, f.status, got)
	undone, err := s.Undo(t.Context())
	require.NoError(t, err)
	require.Equal(t, []session.Name{"a"}, undone.Paths)
	require.NoError(t, s.Resolve(t.Context(), "any\xff name", session.KeepBoth))
	require.NoError(t, s.Resume(t.Context(), session.BringBack))
	require.Equal(t, []string{"status", "undo", `resolve "any\xff name" both`, "resume bring-back"}, f.asked)
}

func TestWhatThePodHasCrossesAsItIs(t *testing.T) {
	t.Parallel()
	f := &fake{held: &tree.Tree{}}
	for _, one := range []struct {
		path string
		tree.Entry
	}{
		{"", tree.Entry{Kind: tree.Dir}},
		{"a\xff", tree.Entry{Kind: tree.File, Exec: true, Size: 3, Digest: tree.Digest{1, 2, 3}}},
		{"d", tree.Entry{Kind: tree.Dir}},
		{"d/l", tree.Entry{Kind: tree.Symlink, Target: "\xfe"}},
	} {
		require.NoError(t, f.held.Put(one.path, one.Entry))
	}
	s := serve(t, filepath.Join(t.TempDir(), "nb"), f)
	got, err := s.Holds(t.Context())
	require.NoError(t, err)
	require.True(t, tree.Equal(f.held, got))
	f.err = &fault.Error{Kind: fault.Drift, Hint: "look", Err: errors.New("a conflict")}
	_, err = s.Holds(t.Context())
	require.EqualError(t, err, "a conflict")
	require.Equal(t, 6, fault.ExitCode(err))
}

func TestTheSocketIsThisUsersAloneAlsoWhereItsFolderIsDeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), "nb")
	s := serve(t, dir, &fake{})
	_, err := s.Status(t.Context())
	require.NoError(t, err)
	for name, want := range map[string]os.FileMode{"control.sock": 0o600 | os.ModeSocket, ".": 0o700 | os.ModeDir} {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, info.Mode())
	}
	s.end()
	require.NoFileExists(t, filepath.Join(dir, "control.sock"))
	_, err = s.Status(t.Context())
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestErrorsCrossAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		text string
		code int
	}{
		"plain":   {errors.New("no"), "no", 1},
		"a fault": {&fault.Error{Op: "resuming", Subject: "nb", Kind: fault.Usage, Hint: "do so", Err: errors.New("it is not halted")}, "resuming: nb: it is not halted", 2},
		"in it":   {&fault.Error{Op: "undoing", Err: fmt.Errorf("again: %w", &fault.Error{Kind: fault.Gate, Hint: "do so", Err: errors.New("no")})}, "undoing: again: no", 8},
		"beside":  {errors.Join(errors.New("a"), &fault.Error{Kind: fault.NotFound, Hint: "do so", Err: errors.New("b")}), "a\nb", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, filepath.Join(t.TempDir(), "nb"), &fake{err: tc.err})
			err := s.Resume(t.Context(), session.BringBack)
			require.EqualError(t, err, tc.text)
			require.Equal(t, tc.code, fault.ExitCode(err))
			require.Equal(t, fault.Hint(tc.err), fault.Hint(err))
		})
	}
}

func TestOneProcessHasASession(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nb")
	s := serve(t, dir, &fake{})
	_, err := control.Take(t.Context(), dir, "another")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, fmt.Sprintf(`starting the session: nb: it runs already: "kfdev sync" (process %d, since`, os.Getpid()))
	running, err := control.List(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, running, 1)
	require.Equal(t, "nb", running[0].Name)
	require.Equal(t, os.Getpid(), running[0].Holder.PID)
	s.end()
	running, err = control.List(filepath.Dir(dir))
	require.NoError(t, err)
	require.Empty(t, running)
	again := serve(t, dir, &fake{})
	_, err = again.Status(t.Context())
	require.NoError(t, err)
}

func TestWhoLooksIsNoSessionAndKeepsNobodyFromBeingOne(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nb")
	serve(t, dir, &fake{}).end()
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for ctx.Err() == nil {
				if _, err := control.List(filepath.Dir(dir)); err != nil {
					panic(err)
				}
			}
		})
	}
	for range 20 {
		claim, err := control.Take(t.Context(), dir, "kfdev sync")
		if err != nil {
			t.Error(err)
			break
		}
		if err := claim.Release(); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	looking.Wait()
}

func TestWhatAKilledProcessLeavesIsRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nb")
	child := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test's own program
	child.Env = append(os.Environ(), claimVariable+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said := make([]byte, 5)
	_, err = out.Read(said)
	require.NoError(t, err)
	require.Equal(t, "held\n", string(said))
	running, err := control.List(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, running, 1)
	require.Equal(t, child.Process.Pid, running[0].Holder.PID)

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.FileExists(t, filepath.Join(dir, "control.sock"))
	client := control.NewClient(dir)
	defer client.Close()
	_, err = client.Status(t.Context())
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	running, err = control.List(filepath.Dir(dir))
	require.NoError(t, err)
	require.Empty(t, running)
	require.NoFileExists(t, filepath.Join(dir, "control.sock"))
}

func TestStopWaitsUntilTheProcessHasLetGo(t *testing.T) {
	t.Parallel()
	s := serve(t, filepath.Join(t.TempDir(), "nb"), &fake{})
	released := make(chan struct{})
	go func() {
		<-s.stopped
		s.end()
		close(released)
	}()
	require.NoError(t, s.Stop(t.Context()))
	_, runs, err := control.Look(s.dir)
	require.NoError(t, err)
	require.False(t, runs)
	<-released

	held := serve(t, filepath.Join(t.TempDir(), "held"), &fake{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Equal(t, fault.Timeout, fault.KindOf(held.Stop(ctx)))
}

func TestEventsAreHeardUntilTheSessionEnds(t *testing.T) {
	t.Parallel()
	s := serve(t, filepath.Join(t.TempDir(), "nb"), &fake{})
	heard := make(chan session.Event)
	ended := make(chan error)
	go func() {
		ended <- s.Events(t.Context(), func(e session.Event) error {
			heard <- e
			return nil
		})
	}()
	// Listening begins some time after; the events before are not heard.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for first := true; first; {
		select {
		case e := <-heard:
			require.Equal(t, "x", e.Text)
			first = false
		case <-tick.C:
			s.feed.Send(session.Event{Kind: session.NoteEvent, Text: "x"})
		}
	}
	go func() {
		for range heard {
			continue
		}
	}()
	s.feed.Close()
	require.NoError(t, <-ended)
	close(heard)
}

func TestAListenerThatIsSlowIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	var feed control.Feed
	events, stop := feed.Listen()
	defer stop()
	for range 2000 {
		feed.Send(session.Event{Kind: session.ProgressEvent})
	}
	for range 1024 {
		<-events
	}
	feed.Send(session.Event{Kind: session.NoteEvent, Text: "after"})
	require.Equal(t, "976 events are left out: they came faster than they were read", (<-events).Text)
	require.Equal(t, "after", (<-events).Text)
	feed.Close()
	_, open := <-events
	require.False(t, open)
	late, _ := feed.Listen()
	_, open = <-late
	require.False(t, open)
}

func TestRequestsAreReadStrictly(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s := serve(t, filepath.Join(t.TempDir(), "nb"), f)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, "control.sock"))
	}}}
	for name, body := range map[string]string{
		"nothing":          "",
		"no path":          `{"keep":"local"}`,
		"no version":       `{"path":"YQ=="}`,
		"another version":  `{"path":"YQ==","keep":"mine"}`,
		"an unknown field": `{"path":"YQ==","keep":"local","x":1}`,
		"more behind":      `{"path":"YQ==","keep":"local"} {}`,
		"too much":         `{"path":"` + strings.Repeat("YWFh", 20000) + `","keep":"local"}`,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://session/resolve", bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		answer, err := client.Do(request)
		if name == "too much" && err != nil {
			continue // the rest is not read
		}
		require.NoError(t, err, name)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, name)
	}
	require.Empty(t, f.asked)
}
