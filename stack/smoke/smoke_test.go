package smoke_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe is a test whose Run is a function.
type probe func(context.Context, smoke.Env) (smoke.Result, error)

func (probe) Name() string { return "probe" }

func (probe) Needs(string) []apply.Missing { return nil }

func (p probe) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) { return p(ctx, env) }

func env(objects ...runtime.Object) smoke.Env {
	return smoke.Env{Kube: fake.NewClientset(objects...), Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme), Sink: progress.Discard}
}

func namespaces(t *testing.T, e smoke.Env) []string {
	t.Helper()
	list, err := e.Kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	return names
}

func TestRunGivesANamespaceAndTakesItAway(t *testing.T) {
	t.Parallel()
	e := env()
	var given string
	result, err := smoke.Run(t.Context(), probe(func(ctx context.Context, e smoke.Env) (smoke.Result, error) {
		given = e.Namespace
		ns, err := e.Kube.CoreV1().Namespaces().Get(ctx, e.Namespace, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, "probe", ns.Labels[smoke.TestLabel])
		record := smoke.Record("probe", e.Sink)
		record.Fact("answer", 42)
		return record.Result(), nil
	}), e)
	require.NoError(t, err)
	require.Contains(t, given, "kfdev-smoke-probe-")
	require.Equal(t, []smoke.Fact{{Name: "answer", Value: "42"}}, result.Facts)
	require.Equal(t, "probe", result.Name)
	require.Positive(t, result.Took)
	smoketest.Said(t, probe(nil), e)
	require.Empty(t, namespaces(t, e))
}

func TestAFailureCarriesThePodsLastWords(t *testing.T) {
	t.Parallel()
	e := env()
	_, err := smoke.Run(t.Context(), probe(func(ctx context.Context, e smoke.Env) (smoke.Result, error) {
		_, err := e.Kube.CoreV1().Pods(e.Namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "worker"},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
				Name:  "main",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}},
			}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		return smoke.Result{Steps: []smoke.Step{{Name: "one"}}}, errors.New("no good")
	}), e)
	require.ErrorContains(t, err, "running the smoke test: probe: no good")
	require.ErrorContains(t, err, "pod worker: container main ended with exit code 3")
	require.ErrorContains(t, err, "main> fake logs")
	require.Empty(t, namespaces(t, e))
}

func TestAnInterruptedTestIsCleanedUp(t *testing.T) {
	t.Parallel()
	e := env()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := smoke.Run(ctx, probe(func(ctx context.Context, _ smoke.Env) (smoke.Result, error) {
		cancel()
		<-ctx.Done()
		return smoke.Result{}, errors.New("the connection was closed")
	}), e)
	require.Equal(t, fault.Canceled, fault.KindOf(err))
	require.Empty(t, namespaces(t, e))
}

func TestANamespaceThatStaysIsTold(t *testing.T) {
	t.Parallel()
	e := env()
	fakeKube, ok := e.Kube.(*fake.Clientset)
	require.True(t, ok)
	fakeKube.PrependReactor("delete", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("the server is on fire")
	})
	result, err := smoke.Run(t.Context(), probe(func(context.Context, smoke.Env) (smoke.Result, error) {
		return smoke.Result{Facts: []smoke.Fact{{Name: "a", Value: "b"}}}, nil
	}), e)
	require.ErrorContains(t, err, "the server is on fire")
	require.Contains(t, fault.Hint(err)[0], "kubectl delete namespace kfdev-smoke-probe-")
	require.Len(t, result.Facts, 1)
}

func TestWhatKilledRunsLeftIsRemoved(t *testing.T) {
	t.Parallel()
	left := func(name string, expires time.Time) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{smoke.TestLabel: "probe"},
			Annotations: map[string]string{smoke.ExpiresAnnotation: expires.Format(time.RFC3339)},
		}}
	}
	other := left("of-another-test", time.Now().Add(-time.Hour))
	other.Labels[smoke.TestLabel] = "other"
	odd := left("odd", time.Now())
	odd.Annotations[smoke.ExpiresAnnotation] = "yesterday"
	e := env(left("expired", time.Now().Add(-time.Hour)), left("at-work", time.Now().Add(time.Hour)), other, odd,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "of-a-person"}})
	_, err := smoke.Run(t.Context(), probe(func(context.Context, smoke.Env) (smoke.Result, error) { return smoke.Result{}, nil }), e)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"at-work", "of-another-test", "odd", "of-a-person"}, namespaces(t, e))
}

// abroad is a test that makes things outside its namespace.
type abroad struct {
	probe
	clean func(context.Context, smoke.Env) error
}

func (a abroad) Clean(ctx context.Context, env smoke.Env) error { return a.clean(ctx, env) }

// What is elsewhere goes before the namespace that tells of it.
func TestWhatKilledRunsLeftElsewhereIsRemoved(t *testing.T) {
	t.Parallel()
	e := env(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "left", Labels: map[string]string{smoke.TestLabel: "probe"},
		Annotations: map[string]string{smoke.ExpiresAnnotation: time.Now().Add(-time.Second).Format(time.RFC3339)},
	}})
	ran := false
	test := abroad{
		func(context.Context, smoke.Env) (smoke.Result, error) { ran = true; return smoke.Result{}, nil },
		func(context.Context, smoke.Env) error { return errors.New("the hub is down") },
	}
	_, err := smoke.Run(t.Context(), test, e)
	require.ErrorContains(t, err, "removing what an earlier smoke test left: left: the hub is down")
	require.False(t, ran)
	require.Equal(t, []string{"left"}, namespaces(t, e))

	var cleaned []string
	test.clean = func(_ context.Context, e smoke.Env) error {
		cleaned = append(cleaned, e.Namespace)
		require.Contains(t, namespaces(t, e), "left")
		return nil
	}
	_, err = smoke.Run(t.Context(), test, e)
	require.NoError(t, err)
	require.True(t, ran)
	require.Equal(t, []string{"left"}, cleaned)
	require.Empty(t, namespaces(t, e))
}

// A long test is never taken for one that was killed.
func TestARunningTestPutsItsEndOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := env()
		_, err := smoke.Run(t.Context(), probe(func(ctx context.Context, e smoke.Env) (smoke.Result, error) {
			for range 10 {
				<-time.NewTimer(time.Minute).C
				ns, err := e.Kube.CoreV1().Namespaces().Get(ctx, e.Namespace, metav1.GetOptions{})
				require.NoError(t, err)
				expires, err := time.Parse(time.RFC3339, ns.Annotations[smoke.ExpiresAnnotation])
				require.NoError(t, err)
				require.Greater(t, time.Until(expires), time.Minute)
				require.Less(t, time.Until(expires), 5*time.Minute, "killed now, it is removed soon")
			}
			return smoke.Result{}, nil
		}), e)
		require.NoError(t, err)
	})
}

func TestAnImageThatTheLockLacks(t *testing.T) {
	t.Parallel()
	_, err := smoke.Env{}.Image("tensorflow")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "tensorflow")
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	sink := &progress.Recorder{}
	record := smoke.Record("probe", sink)
	require.NoError(t, record.Step(t.Context(), "one", func(context.Context) error { return nil }))
	require.EqualError(t, record.Step(t.Context(), "two", func(context.Context) error { return errors.New("no") }), "two: no")
	require.Equal(t, []string{"one ", "two no"}, []string{
		record.Result().Steps[0].Name + " " + record.Result().Steps[0].Error,
		record.Result().Steps[1].Name + " " + record.Result().Steps[1].Error,
	})
	var states []progress.State
	for _, e := range sink.Events() {
		states = append(states, e.State)
	}
	require.Equal(t, []progress.State{progress.Started, progress.Done, progress.Started, progress.Failed}, states)
}
