package root

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
)

// steered is a session that others control.
type steered struct {
	mu      sync.Mutex
	status  session.Status
	asked   []string
	stopped chan struct{}
}

func (r *steered) say(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, what)
	return nil
}

func (r *steered) Status(context.Context) (session.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, nil
}

func (r *steered) Undo(context.Context) (session.Undone, error) {
	return session.Undone{Side: "remote", Batch: "b", Paths: []session.Name{"a.py"}}, r.say("undo")
}

func (r *steered) Resolve(_ context.Context, path string, keep session.Keep) error {
	return r.say("resolve " + path + " " + string(keep))
}
func (r *steered) Holds(context.Context) (*tree.Tree, error) { return &tree.Tree{}, nil }

func (r *steered) Resume(_ context.Context, how session.Resumption) error {
	return r.say("resume " + string(how))
}

// desk is a user with a project and a session that runs.
type desk struct {
	project string
	env     map[string]string
	session *steered
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	home := t.TempDir()
	d := &desk{
		project: filepath.Join(home, "demo"), session: &steered{stopped: make(chan struct{})},
		env: map[string]string{"HOME": home, "DOCKER_HOST": "unix://" + filepath.Join(home, "no-docker.sock")},
	}
	require.NoError(t, os.MkdirAll(filepath.Join(d.project, "src"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(d.project, "kfdev.yaml"), []byte(`apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
stack: {preset: core}
sync: [{name: nb, local: src, remote: /home/jovyan/src, target: {jupyterhub: ann}}]
`), 0o644))
	return d
}

// serve has the session run until the end of the test, or until it is stopped.
func (d *desk) serve(t *testing.T) {
	t.Helper()
	dir := filepath.Join(d.env["HOME"], ".local", "state", "kfdev", "projects", "demo", "sync", "nb")
	claim, err := control.Take(t.Context(), dir, "kfdev sync nb")
	require.NoError(t, err)
	server, err := claim.Serve(t.Context(), d.session, &control.Feed{}, sync.OnceFunc(func() { close(d.session.stopped) }))
	require.NoError(t, err)
	end := sync.OnceFunc(func() {
		require.NoError(t, server.Close())
		require.NoError(t, claim.Release())
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-d.session.stopped:
		case <-t.Context().Done():
		}
		end()
	}()
	t.Cleanup(func() { <-done })
}

func (d *desk) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"--project", d.project, "--progress", "plain"}, args...)
	code = Run(context.WithoutCancel(t.Context()), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, func(name string) string { return d.env[name] })
	return code, out.String(), errs.String()
}

func TestSyncStatusSaysWhatWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, _, stderr := d.run(t, "sync", "status")
	require.Equal(t, 5, code, stderr)
	d.session.status = session.Status{
		Name: "nb", State: session.InSync, Local: "/l/src", Remote: "/home/jovyan/src", Target: "jupyterhub/ann", Mode: reconcile.TwoWaySafe,
		Pod: "pod jupyter-ann", Paths: 12345, Batches: 7, ToRemote: session.Latency{Edits: 3, P50: 4300 * time.Microsecond, P95: 21 * time.Millisecond},
		Traffic: session.Traffic{Sent: 1200, Received: 340}, Helper: &wire.Usage{Memory: 24_000_000, CPU: 120 * time.Millisecond},
	}
	d.serve(t)
	code, stdout, stderr := d.run(t, "sync", "status")
	require.Zero(t, code, stderr)
	for _, want := range []string{"in sync", "jupyterhub/ann", "pod jupyter-ann", "12,345", "p50 4 ms", "p95 21 ms", "24.0 MB"} {
		require.Contains(t, stdout, want)
	}
	code, stdout, stderr = d.run(t, "sync", "ls")
	require.Zero(t, code, stderr)
	require.Regexp(t, `(?m)^nb +in sync `, stdout)

	d.session.mu.Lock()
	d.session.status.Conflicts = []session.Conflict{{Path: "a b.py", Local: "file, 3 bytes", Remote: "deleted", Why: "changed on both sides"}}
	d.session.status.Problems = []session.Problem{{Path: "big", Side: "remote", Error: "no space left on device"}}
	d.session.mu.Unlock()
	code, stdout, stderr = d.run(t, "sync", "status", "nb")
	require.Equal(t, 6, code)
	require.Contains(t, stdout, "a b.py")
	require.Contains(t, stdout, "no space left on device")
	require.Contains(t, stderr, "--keep local|remote|both")
	code, stdout, _ = d.run(t, "sync", "status", "-o", "json")
	require.Equal(t, 6, code)
	var status session.Status
	require.NoError(t, json.Unmarshal([]byte(stdout), &status))
	require.Equal(t, session.Name("a b.py"), status.Conflicts[0].Path)

	code, _, stderr = d.run(t, "sync", "resolve", "nb", "a b.py", "--keep", "both")
	require.Zero(t, code, stderr)
	code, _, stderr = d.run(t, "sync", "resolve", "a b.py", "--keep", "mine")
	require.Equal(t, 2, code, stderr)
	code, stdout, stderr = d.run(t, "sync", "undo")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "a.py")
	require.Equal(t, []string{"resolve a b.py both", "undo"}, d.session.asked)

	code, stdout, stderr = d.run(t, "sync", "stop")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "nb")
	code, stdout, stderr = d.run(t, "sync", "ls", "-o", "json")
	require.Zero(t, code, stderr)
	require.JSONEq(t, "[]", stdout)
}

// What a halt would delete is said before it is.
func TestSyncResumeAsksFirst(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.session.status = session.Status{Name: "nb", State: session.Halted, Halt: &session.Halt{
		Reason: reconcile.RootEmptied, Text: "the local folder is empty all at once; 9 of 9 paths would be deleted on the remote side", Hint: "bring it back",
	}}
	d.serve(t)
	code, stdout, stderr := d.run(t, "sync", "resume")
	require.Equal(t, 8, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "9 of 9 paths would be deleted")
	require.Contains(t, stderr, "kfdev sync resume nb --accept-deletes")
	require.Contains(t, stderr, "--bring-back")
	require.Empty(t, d.session.asked)
	d.session.status.Halt.Reason = reconcile.FirstReplica
	_, _, stderr = d.run(t, "sync", "resume")
	require.Contains(t, stderr, "kfdev sync resume nb --accept-deletes")
	require.NotContains(t, stderr, "--bring-back", "there is nothing to bring back")
	code, stdout, stderr = d.run(t, "sync", "resume", "nb", "--accept-deletes")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "goes on")
	require.Equal(t, []string{"resume accept-deletes"}, d.session.asked)
	code, _, stderr = d.run(t, "sync", "status")
	require.Equal(t, 6, code)
	require.Contains(t, stderr, "bring it back")
}

func TestSyncResumeAcceptsRules(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.session.status = session.Status{Name: "nb", State: session.InSync, Problems: []session.Problem{{Path: ".gitignore", Side: "local", Error: "the pod changed it", Waits: true}}}
	d.serve(t)
	code, _, stderr := d.run(t, "sync", "status")
	require.Equal(t, 6, code)
	require.Contains(t, stderr, "kfdev sync resume nb --accept-rules")
	code, _, stderr = d.run(t, "sync", "resume", "nb", "--accept-rules")
	require.Zero(t, code, stderr)
	require.Equal(t, []string{"resume accept-rules"}, d.session.asked)
}

func TestOneSessionOfAFolder(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.serve(t)
	code, _, stderr := d.run(t, "sync", "nb", "-d")
	require.Equal(t, 4, code, stderr)
	require.Contains(t, stderr, "it runs already")
	require.Contains(t, stderr, "kfdev sync stop nb")
}

// A log that grows too large begins anew, and who follows it goes on.
func TestALogIsBounded(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	writer, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, writer.Close()) }()
	_, err = writer.WriteString("one\ntwo\n")
	require.NoError(t, err)
	require.NoError(t, boundLog(name, 100))
	require.NoFileExists(t, name+".old")

	reader, err := os.Open(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	_, err = io.ReadAll(reader)
	require.NoError(t, err)
	require.False(t, begunAnew(reader))
	require.NoError(t, boundLog(name, 3))
	_, err = writer.WriteString("three\n")
	require.NoError(t, err)
	require.True(t, begunAnew(reader))
	rest, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Equal(t, "three\n", string(rest))
	old, err := os.ReadFile(name + ".old")
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\n", string(old))
}
