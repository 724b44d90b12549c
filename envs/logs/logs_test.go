package logs

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestEveryContainerIsReadAndWhatHasNotStartedIsNamed(t *testing.T) {
	t.Parallel()
	pod := podOf("a", runs("main", "1"), waits("slow", "ContainerCreating"))
	pod.Spec.InitContainers = []corev1.Container{{Name: "init"}, {Name: "sidecar"}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{ended("init", "2"), runs("sidecar", "3")}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{runs("debug", "4")}
	f := newFake(pod)
	for _, c := range []string{"main", "init", "sidecar", "debug"} {
		f.lives("a/"+c, c+" 1", c+" 2")
	}
	r := start(t, f, Options{Tail: 1})
	require.NoError(t, <-r.ended)
	require.ElementsMatch(t, []string{"a/main main 2", "a/init init 2", "a/sidecar sidecar 2", "a/debug debug 2"}, r.got())
	require.Equal(t, "a/slow has not started: ContainerCreating", r.said())
	require.Equal(t, progress.Warning, r.told.Events()[0].State)
}

func TestALogThatCannotBeReadKeepsNoOtherFromIt(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")), podOf("b", runs("main", "2")), podOf("c", runs("main", "3")))
	f.lives("a/main", "one", "two")
	f.lives("b/main").fails = errBroken
	// c has ended and starts anew between the look and the reading.
	r := start(t, f, Options{})
	err := <-r.ended
	require.Equal(t, fault.Partial, fault.KindOf(err))
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "b/main: the connection broke")
	require.Equal(t, []string{"a/main one", "a/main two"}, r.got())
	require.Equal(t, "c/main has not started", r.said())

	f.pods = f.pods[1:2]
	err = <-start(t, f, Options{}).ended
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, 1, fault.ExitCode(err), "nothing could be read")
}

func TestAPodThatWentSinceTheLookIsNoFailure(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	f.lives("a/main").fails = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a")
	r := start(t, f, Options{})
	require.NoError(t, <-r.ended)
	require.Equal(t, "a/main is gone", r.said())

	r = start(t, f, Options{Follow: true})
	f.events <- event{pod: f.pods[0], gone: true}
	r.stop(t)
	require.Empty(t, r.said())
}

func TestNoPodsAreNotFound(t *testing.T) {
	t.Parallel()
	stranger := podOf("s", runs("main", "1"))
	stranger.OwnerReferences[0].Name, stranger.OwnerReferences[0].UID = "other", "other"
	err := <-start(t, newFake(stranger), Options{}).ended
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.NotEmpty(t, fault.Hint(err))
}

func TestTheLifeBefore(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", restarted(runs("main", "2"), "1"), runs("other", "3")))
	f.lives("a/main", "last words")
	r := start(t, f, Options{Previous: true})
	require.NoError(t, <-r.ended)
	require.Equal(t, []string{"a/main last words"}, r.got())
	require.True(t, f.read[0].Previous)
	require.Empty(t, r.said(), "that the other one never restarted is nothing to tell")

	err := <-start(t, newFake(podOf("a", runs("main", "1"), waits("b", ""))), Options{Previous: true}).ended
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestWhoReadsNoMoreEndsAll(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{false, true} {
		f := newFake(podOf("a", runs("main", "1")), podOf("b", runs("main", "2")))
		f.lives("a/main", "one", "two")
		f.lives("b/main", "one", "two")
		stop, calls := errors.New("standard output is gone"), 0
		reader := Reader{Cluster: f, Component: theApp(), Sink: progress.Discard}
		err := reader.Read(t.Context(), Options{Follow: follow}, func(Line) error { calls++; return stop })
		require.ErrorIs(t, err, stop)
		require.LessOrEqual(t, calls, 2)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	f := newFake(podOf("a", runs("main", "1")))
	f.lives("a/main", "one")
	reader := Reader{Cluster: f, Component: theApp(), Sink: progress.Discard}
	err := reader.Read(ctx, Options{}, func(Line) error { cancel(errStopped); return nil })
	require.ErrorIs(t, err, errStopped)
}
