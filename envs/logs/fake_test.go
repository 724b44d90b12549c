package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is what becomes of a pod.
type event struct {
	pod  corev1.Pod
	gone bool
}

// fake is a cluster in memory.
type fake struct {
	pods   []corev1.Pod
	events chan event
	lost   chan error // the API server is gone
	owners map[types.UID][]metav1.OwnerReference
	asked  []types.UID

	mu   sync.Mutex
	logs map[string]*life // pod/container → the life whose log is there
	read []kube.LogOptions
}

func newFake(pods ...corev1.Pod) *fake {
	return &fake{pods: pods, events: make(chan event), lost: make(chan error), owners: map[types.UID][]metav1.OwnerReference{}, logs: map[string]*life{}}
}

func (f *fake) FollowPods(ctx context.Context, all func([]corev1.Pod) (bool, error), change func(corev1.Pod, bool) (bool, error)) error {
	if done, err := all(f.pods); done || err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-f.lost:
			return err
		case e := <-f.events:
			if done, err := change(e.pod, e.gone); done || err != nil {
				return err
			}
		}
	}
}

func (f *fake) Owners(_ context.Context, _ string, ref metav1.OwnerReference) ([]metav1.OwnerReference, error) {
	f.asked = append(f.asked, ref.UID)
	return f.owners[ref.UID], nil
}

func (f *fake) Log(ctx context.Context, _, pod string, o kube.LogOptions) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = append(f.read, o)
	l := f.logs[pod+"/"+o.Container]
	switch {
	case l == nil:
		return nil, apierrors.NewBadRequest("container is waiting to start: PodInitializing")
	case l.fails != nil:
		return nil, l.fails
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from := 0
	for from < len(l.lines) && l.lines[from].Time.Before(o.Since.Truncate(time.Second)) {
		from++
	}
	if o.Tail > 0 {
		from = max(from, len(l.lines)-o.Tail)
	}
	return &stream{ctx: ctx, life: l, next: from, follow: o.Follow}, nil
}

// lives gives a container another life, and returns it.
func (f *fake) lives(at string, lines ...string) *life {
	l := &life{news: make(chan struct{})}
	l.write(lines...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs[at] = l
	return l
}

// life is what a container writes while it lives.
type life struct {
	fails error

	mu    sync.Mutex
	lines []kube.LogEntry
	ended bool
	cut   int // of the streams that have this number, or a lower one, each breaks off
	opens int
	news  chan struct{} // closed with every change
}

var written struct {
	sync.Mutex
	at time.Time
}

// stamp is later than every one before.
func stamp() time.Time {
	written.Lock()
	defer written.Unlock()
	if written.at.IsZero() {
		written.at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	}
	written.at = written.at.Add(300 * time.Millisecond)
	return written.at
}

func (l *life) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	close(l.news)
	l.news = make(chan struct{})
}

func (l *life) write(lines ...string) {
	l.change(func() {
		for _, text := range lines {
			l.lines = append(l.lines, kube.LogEntry{Time: stamp(), Text: text})
		}
	})
}

func (l *life) end() { l.change(func() { l.ended = true }) }

// breakOff breaks every stream that is open.
func (l *life) breakOff() { l.change(func() { l.cut = l.opens }) }

// stream is one reading of a life's log.
type stream struct {
	ctx    context.Context //nolint:containedctx // a stream ends with the request's context
	life   *life
	next   int
	number int
	follow bool
	rest   string
}

var errBroken = errors.New("the connection broke")

func (s *stream) Read(p []byte) (int, error) {
	for s.rest == "" {
		s.life.mu.Lock()
		if s.number == 0 {
			s.life.opens++
			s.number = s.life.opens
		}
		news, ended, cut := s.life.news, s.life.ended, s.number <= s.life.cut
		if s.next < len(s.life.lines) {
			e := s.life.lines[s.next]
			s.next++
			s.rest = e.Time.Format(time.RFC3339Nano) + " " + e.Text + "\n"
		}
		s.life.mu.Unlock()
		switch {
		case s.rest != "":
		case cut:
			return 0, errBroken
		case ended || !s.follow:
			return 0, io.EOF
		default:
			select {
			case <-news:
			case <-s.ctx.Done():
				return 0, s.ctx.Err()
			}
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) Close() error { return nil }

// podOf is a pod of the component's Deployment.
func podOf(name string, statuses ...corev1.ContainerStatus) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, UID: types.UID("uid of " + name),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "app", UID: "app"}},
	}}
	for _, s := range statuses {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: s.Name})
	}
	pod.Status.ContainerStatuses = statuses
	return pod
}

func runs(name, id string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ContainerID: id, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func ended(name, id string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ContainerID: id, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id}}}
}

func waits(name, why string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: why}}}
}

// restarted adds the life before.
func restarted(s corev1.ContainerStatus, before string) corev1.ContainerStatus {
	s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: before}
	return s
}

func theApp() Component {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app", "namespace": "ns"},
	}}
	return Component{Name: "app", Namespace: "ns", Objects: []*unstructured.Unstructured{o}}
}

// reading is a reader at work.
type reading struct {
	*fake
	told   *progress.Recorder
	cancel context.CancelCauseFunc
	ended  chan error

	mu    sync.Mutex
	lines []string
}

// start reads in the background; stop it with stop.
func start(t *testing.T, f *fake, o Options) *reading {
	t.Helper()
	r := &reading{fake: f, told: &progress.Recorder{}, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.cancel = cancel
	reader := Reader{Cluster: f, Component: theApp(), Sink: r.told}
	go func() {
		r.ended <- reader.Read(ctx, o, func(l Line) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, fmt.Sprintf("%s/%s %s", l.Pod, l.Container, l.Text))
			return nil
		})
	}()
	t.Cleanup(func() { cancel(nil) })
	return r
}

func (r *reading) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *reading) said() string {
	var all []string
	for _, e := range r.told.Events() {
		all = append(all, e.Text)
	}
	return strings.Join(all, "\n")
}

// comes waits for a line.
func (r *reading) comes(t *testing.T, line string) {
	t.Helper()
	require.Eventually(t, func() bool { return slices.Contains(r.got(), line) }, waitLimit, waitTick, "%s", line)
}

var errStopped = errors.New("interrupted")

// stop ends a reading as a person does.
func (r *reading) stop(t *testing.T) {
	t.Helper()
	r.cancel(errStopped)
	require.ErrorIs(t, <-r.ended, errStopped)
}

// How long a test waits for another goroutine, and how often it looks.
const (
	waitLimit = 10 * time.Second
	waitTick  = 2 * time.Millisecond
)
