package envs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	syncendpoint "github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
	"github.com/kfdev/kfdev/sync/wire"
)

// within bounds what tests wait for.
const within = 20 * time.Second

// cluster with one pod, whose folder is one of this machine, and a helper that
// is the real one but for its way in.
type podWorld struct {
	t      *testing.T
	remote string

	mu       sync.Mutex
	none     bool          // there is no pod yet
	appears  chan struct{} // closed when there is one
	replaced chan struct{} // closed when it is another one
	n        int           // the pod's generation
	closed   bool          // it has no shell
	reaching error
	images   []string // that were given to enter
	made     int      // images that were brought to the nodes
	helpers  sync.WaitGroup
}

func newPodWorld(t *testing.T) *podWorld {
	t.Helper()
	w := &podWorld{t: t, remote: filepath.Join(t.TempDir(), "remote"), appears: make(chan struct{}), replaced: make(chan struct{}), n: 1}
	require.NoError(t, os.Mkdir(w.remote, 0o700))
	t.Cleanup(w.helpers.Wait)
	return w
}

func (w *podWorld) ways() ways {
	return ways{reach: w.reach, find: w.find, await: w.await, enter: w.enter, gone: w.gone, image: w.image}
}

func (w *podWorld) reach(context.Context, string) (*kube.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return nil, w.reaching
}

func (w *podWorld) pod() pod.Pod {
	return pod.Pod{Namespace: "ns", Name: fmt.Sprintf("web-%d", w.n), Container: "main", ContainerID: fmt.Sprintf("containerd://%d", w.n)}
}

func (w *podWorld) find(_ context.Context, _ *kube.Client, t pod.Target) (pod.Pod, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.none {
		return pod.Pod{}, &fault.Error{Op: "finding the pod", Subject: t.String(), Kind: fault.NotFound, Err: errors.New("there is none")}
	}
	return w.pod(), nil
}

func (w *podWorld) await(ctx context.Context, _ *kube.Client, _ pod.Target) (pod.Pod, error) {
	select {
	case <-w.appears:
	case <-ctx.Done():
		return pod.Pod{}, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.none = false
	return w.pod(), nil
}

func (w *podWorld) enter(_ context.Context, _ *kube.Client, _ pod.Pod, o pod.Options) (io.ReadWriteCloser, pod.How, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images = append(w.images, o.EphemeralImage)
	how := pod.How{}
	if w.closed {
		if o.EphemeralImage == "" {
			return nil, how, &fault.Error{Op: "getting into the container", Kind: fault.Preflight, Err: errors.New("it has no shell")}
		}
		how.Container = "kfdev-sync-1"
	}
	here, there := net.Pipe()
	w.helpers.Go(func() {
		_ = wire.Serve(context.Background(), there, folder.Opener(progress.Discard), wire.Options{}) // it ends with the pipe
	})
	return here, how, nil
}

func (w *podWorld) gone(ctx context.Context, _ *kube.Client, p pod.Pod) (string, error) {
	w.mu.Lock()
	replaced, same := w.replaced, p == w.pod()
	w.mu.Unlock()
	if !same {
		return "the pod was replaced", nil
	}
	select {
	case <-replaced:
		return "the pod was replaced", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (w *podWorld) image(context.Context, string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return "kfdev.internal/sync-helper@sha256:1", nil
}

// replace makes another pod of it, with an empty folder.
func (w *podWorld) replace() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The old one's helper may still be at work, in what is its own.
	require.NoError(w.t, os.Rename(w.remote, fmt.Sprintf("%s.%d", w.remote, w.n)))
	require.NoError(w.t, os.Mkdir(w.remote, 0o700))
	w.n++
	close(w.replaced)
	w.replaced = make(chan struct{})
}

// liveSync is a session that runs.
type liveSync struct {
	*Sync

	t      *testing.T
	client *control.Client
	ended  chan error
	stop   func()

	mu     sync.Mutex
	events []session.Event
}

// start runs a session of the bench's project in the world.
func (w *podWorld) start(b *bench, what string) *liveSync {
	w.t.Helper()
	s, err := b.engine(w.t).Sync(SyncOptions{What: what + ":pod/web:" + w.remote})
	require.NoError(w.t, err)
	l := newLinker(s)
	l.way = w.ways()
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &liveSync{Sync: s, t: w.t, client: control.NewClient(s.Dir), ended: make(chan error, 1), stop: cancel}
	go func() {
		r.ended <- s.run(ctx, l.connect, SyncWatcher{Event: func(e session.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		}})
	}()
	w.t.Cleanup(func() {
		cancel()
		r.client.Close()
	})
	return r
}

// until waits until the session's status is as it should be.
func (r *liveSync) until(what string, fits func(session.Status) bool) session.Status {
	r.t.Helper()
	var last session.Status
	var why error
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if last, why = r.client.Status(r.t.Context()); why == nil && fits(last) {
			return last
		}
		select {
		case err := <-r.ended:
			r.t.Fatalf("waiting for %s: it ended: %v", what, err)
		default:
		}
	}
	r.t.Fatalf("waiting for %s: %+v %v", what, last, why)
	return last
}

func inSync(s session.Status) bool { return s.State == session.InSync }

func (r *liveSync) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(within):
		r.t.Fatal("the session does not end")
		return nil
	}
}

// has waits until a file holds a text.
func has(t *testing.T, path, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := os.ReadFile(path)
		return err == nil && string(got) == want
	}, within, 5*time.Millisecond, path)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestASessionFollowsItsPodAndIsStopped(t *testing.T) {
	t.Parallel()
	w, b, local := newPodWorld(t), newBench(t, bothComponents), t.TempDir()
	put(t, filepath.Join(local, "a"), "1")
	r := w.start(b, local)
	status := r.until("in sync", inSync)
	require.Equal(t, "pod web-1 in ns, container main", status.Pod)
	has(t, filepath.Join(w.remote, "a"), "1")
	put(t, filepath.Join(w.remote, "b"), "2")
	has(t, filepath.Join(local, "b"), "2")

	// A second one is refused, whoever starts it.
	_, err := control.Take(t.Context(), r.Dir, "kfdev sync")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	all, err := b.engine(t).SyncSessions()
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, os.Getpid(), all[0].Holder.PID)

	// A new pod gets what it lacks; nothing is taken for deleted.
	w.replace()
	r.until("in sync with the new one", func(s session.Status) bool { return inSync(s) && s.Pod == "pod web-2 in ns, container main" })
	has(t, filepath.Join(w.remote, "a"), "1")
	has(t, filepath.Join(w.remote, "b"), "2")
	has(t, filepath.Join(local, "b"), "2")

	require.NoError(t, r.client.Stop(t.Context()))
	require.NoError(t, r.end())
	_, err = b.engine(t).SyncSession("")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestASessionWaitsForItsPod(t *testing.T) {
	t.Parallel()
	w, b, local := newPodWorld(t), newBench(t, bothComponents), t.TempDir()
	put(t, filepath.Join(local, "a"), "1")
	w.none = true
	r := w.start(b, local)
	status := r.until("waiting", func(s session.Status) bool { return s.Text != "" })
	require.Equal(t, session.Connecting, status.State)
	require.Equal(t, "waiting until pod/web runs", status.Text)
	close(w.appears)
	r.until("in sync", inSync)
	r.stop()
	require.NoError(t, r.end(), "a person ended it")
}

func TestWhatAHubUserIsTold(t *testing.T) {
	t.Parallel()
	l := linker{Sync: &Sync{Target: pod.Target{Kind: pod.KindJupyterHub, Name: "ann"}}}
	require.Equal(t, "waiting for the server of ann: start it at `kfdev open jupyterhub`", l.waitsFor())
}

func TestTheHelpersImageIsBroughtOnlyWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	w, b := newPodWorld(t), newBench(t, bothComponents)
	r := w.start(b, t.TempDir())
	r.until("in sync", inSync)
	r.stop()
	require.NoError(t, r.end())
	require.Zero(t, w.made)

	w.closed = true
	r = w.start(b, t.TempDir())
	status := r.until("in sync", inSync)
	require.Contains(t, status.Notes, "the helper runs in the ephemeral container kfdev-sync-1, since the container main has no shell; it stays, idle, until the pod ends, and on-change commands can't be run")
	w.replace()
	r.until("in sync again", func(s session.Status) bool { return inSync(s) && s.Pod == "pod web-2 in ns, container main" })
	r.stop()
	require.NoError(t, r.end())
	require.Equal(t, 1, w.made)
	const image = "kfdev.internal/sync-helper@sha256:1"
	require.Equal(t, []string{"", "", image, image}, w.images)
}

func TestAContainerOfTheHelpersOwnCanBeForbidden(t *testing.T) {
	t.Parallel()
	w, b := newPodWorld(t), newBench(t, bothComponents+"sync: [{name: nb, local: ., remote: /srv, target: pod/a, ephemeral: false}]\n")
	w.closed = true
	s, err := b.engine(t).Sync(SyncOptions{})
	require.NoError(t, err)
	l := newLinker(s)
	l.way = w.ways()
	err = s.run(t.Context(), l.connect, SyncWatcher{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "it has no shell")
	require.Zero(t, w.made)
}

func TestASessionWithoutAClusterEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	s, err := b.engine(t).Sync(SyncOptions{What: t.TempDir() + ":pod/a:/b"})
	require.NoError(t, err)
	err = s.Run(t.Context(), SyncWatcher{})
	require.Equal(t, 5, fault.ExitCode(err))
	require.Contains(t, fault.Hint(err), "run `kfdev up`")
	_, runs, err := control.Look(s.Dir)
	require.NoError(t, err)
	require.False(t, runs)
}

func TestWhatTryingAgainCanNotHelp(t *testing.T) {
	t.Parallel()
	pods := schema.GroupResource{Resource: "pods"}
	for name, tc := range map[string]struct {
		err         error
		first, then bool // it ends the session: at the first connection, and later
		kind        fault.Kind
	}{
		"an ambiguous target": {&fault.Error{Kind: fault.Usage}, true, true, fault.Usage},
		"no cluster":          {&fault.Error{Kind: fault.NotFound}, true, false, fault.NotFound},
		"no way in":           {&fault.Error{Kind: fault.Preflight}, true, false, fault.Preflight},
		"no rights":           {fmt.Errorf("x: %w", apierrors.NewForbidden(pods, "a", errors.New("no"))), true, false, fault.Preflight},
		"no name":             {apierrors.NewUnauthorized("no"), true, false, fault.Preflight},
		"another version":     {fmt.Errorf("x: %w", wire.ErrVersion), true, true, fault.Failure},
		"a broken connection": {io.ErrUnexpectedEOF, false, false, fault.Failure},
		"the end":             {context.Canceled, false, false, fault.Canceled},
	} {
		for _, was := range []bool{false, true} {
			got := (&linker{was: was}).final(tc.err)
			want := tc.first
			if was {
				want = tc.then
			}
			require.Equal(t, want, fmt.Sprintf("%T", got) == fmt.Sprintf("%T", session.Final(tc.err)), "%s %v", name, was)
			require.Equal(t, tc.kind, fault.KindOf(got), name)
			require.ErrorIs(t, got, tc.err)
		}
	}
}

// An API server that has just started has not read the roles yet.
func TestRightsThatWereThereAreWaitedForAMinute(t *testing.T) {
	t.Parallel()
	no := apierrors.NewUnauthorized("no")
	l := &linker{was: true}
	for _, ends := range []bool{false, false, true} {
		if ends {
			l.denied = time.Now().Add(-rolesRead)
		}
		require.Equal(t, ends, fmt.Sprintf("%T", l.final(no)) == fmt.Sprintf("%T", session.Final(no)))
	}
}

func TestAFolderThatAnotherSessionHasIsWaitedForAsLongAsAHelperMayTake(t *testing.T) {
	t.Parallel()
	used := &fault.Error{Kind: fault.Preflight, Err: fmt.Errorf("%w: it is in use", syncendpoint.ErrRefused)}
	l := &linker{}
	require.Equal(t, error(used), l.final(used))
	require.Equal(t, error(used), l.final(used))
	l.busy = time.Now().Add(-letsGo)
	require.Equal(t, session.Final(used), l.final(used))
	l.was = true
	require.Equal(t, error(used), l.final(used))
}
