package pod

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/kube/kubetest"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/helper/program"
)

const ownImage = "kfdev.internal/sync-helper@sha256:0123"

// sealed is a cluster with one pod whose container has no shell.
type sealed struct {
	*kube.Client
	pod Pod

	mu      sync.Mutex
	patches []corev1.EphemeralContainer
	runs    [][]string
	state   corev1.ContainerState // what becomes of an ephemeral container
	refuse  error
	helper  string // what the helper does, as a script
}

func newSealed(t *testing.T, changes ...change) *sealed {
	t.Helper()
	s := &sealed{state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	s.helper = `echo hello; echo "$3 start"; echo preamble; read -r line`
	server := httptest.NewServer(&kubetest.Exec{Command: s.command})
	t.Cleanup(server.Close)
	client, err := kube.Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	objects, fake := cluster(t, []*corev1.Pod{newPod("ns", "web", changes...)})
	client.Dynamic = objects.Dynamic
	s.Client = client
	fake.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, s.patch(a.(clienttesting.PatchAction), func(change func(p *corev1.Pod)) error {
			resource := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
			o, err := fake.Tracker().Get(resource, "ns", "web")
			if err != nil {
				return err
			}
			var p corev1.Pod
			raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
			if err == nil {
				err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &p)
			}
			if err != nil {
				return err
			}
			change(&p)
			return fake.Tracker().Update(resource, object(t, &p), "ns")
		})
	})
	s.pod, err = Find(t.Context(), client, Target{Kind: KindPod, Name: "web"})
	require.NoError(t, err)
	return s
}

func (s *sealed) patch(a clienttesting.PatchAction, update func(func(*corev1.Pod)) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	var patch corev1.Pod
	if a.GetSubresource() != "ephemeralcontainers" || a.GetPatchType() != types.StrategicMergePatchType {
		return errors.New("not as ephemeral containers are added")
	}
	if err := json.Unmarshal(a.GetPatch(), &patch); err != nil {
		return err
	}
	s.patches = append(s.patches, patch.Spec.EphemeralContainers...)
	return update(func(p *corev1.Pod) {
		for _, e := range patch.Spec.EphemeralContainers {
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, e)
			p.Status.EphemeralContainerStatuses = append(p.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: e.Name, State: s.state})
		}
	})
}

func (s *sealed) command(r kubetest.Request) (*exec.Cmd, error) {
	if r.Args[0] == "sh" {
		return nil, errors.New(`exec: "sh": executable file not found in $PATH`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, append([]string{r.Container}, r.Args...))
	return exec.Command("sh", append([]string{"-c", s.helper}, r.Args...)...), nil //nolint:gosec // the test's own
}

func (s *sealed) connect(t *testing.T, sink progress.Sink) (string, How, error) {
	t.Helper()
	stream, how, err := Connect(t.Context(), s.Client, s.pod, Options{Program: paper(t, ""), EphemeralImage: ownImage, Sink: sink})
	if err != nil {
		return "", how, err
	}
	said, err := bufio.NewReader(stream).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	return strings.TrimSpace(said), how, nil
}

func TestAnEphemeralContainer(t *testing.T) {
	t.Parallel()
	s := newSealed(t, func(p *corev1.Pod) {
		uid, yes := int64(65534), true
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &uid, RunAsGroup: &uid, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		p.Spec.ShareProcessNamespace = &yes
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "kfdev-sync-1", Image: "an older helper"}, TargetContainerName: "main"},
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "kfdev-sync-2", Image: ownImage}, TargetContainerName: "other"},
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "kfdev-sync-3", Image: ownImage}, TargetContainerName: "main"},
		}
		p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "kfdev-sync-3", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	})
	var told progress.Recorder
	said, how, err := s.connect(t, &told)
	require.NoError(t, err)
	require.Equal(t, "preamble", said)
	require.Equal(t, "kfdev-sync-4", how.Container)
	require.Equal(t, program.Path, how.File)

	require.Len(t, s.patches, 1)
	added := s.patches[0]
	require.Equal(t, "main", added.TargetContainerName)
	require.Equal(t, ownImage, added.Image)
	require.Equal(t, []string{program.Path, "idle"}, added.Command)
	require.Equal(t, int64(65534), *added.SecurityContext.RunAsUser)
	require.True(t, *added.SecurityContext.RunAsNonRoot)
	require.True(t, *added.SecurityContext.ReadOnlyRootFilesystem)
	require.Equal(t, []corev1.Capability{"ALL"}, added.SecurityContext.Capabilities.Drop)
	require.Equal(t, []string{"kfdev-sync-4", program.Path, "serve", "-mark"}, s.runs[0][:4])
	require.Equal(t, []string{"-container", "web-main", "-shared=true"}, s.runs[0][5:])
	events := told.Events()
	require.Len(t, events, 1)
	require.Contains(t, events[0].Text, "it stays there, idle, until the pod ends")

	// The next session uses the same.
	_, how, err = s.connect(t, nil)
	require.NoError(t, err)
	require.Equal(t, "kfdev-sync-4", how.Container)
	require.Len(t, s.patches, 1)
}

func TestAnEphemeralContainerThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(s *sealed)
		kind   fault.Kind
		says   string
		hint   string
	}{
		"not allowed": {func(s *sealed) {
			s.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "pods/ephemeralcontainers"}, "web", errors.New("violates PodSecurity"))
		}, fault.Preflight, "violates PodSecurity", "pods/ephemeralcontainers"},
		"no image": {func(s *sealed) {
			s.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}}
		}, fault.Preflight, "kfdev-sync-1 does not run: ImagePullBackOff: not found", ""},
		"it ends": {func(s *sealed) {
			s.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1}}
		}, fault.Preflight, "it has ended (Error, exit code 1)", ""},
		"the target's files are closed":  {func(s *sealed) { s.helper = "echo the files are closed >&2; exit 1" }, fault.Preflight, "the files are closed", ""},
		"the target is another by now":   {func(s *sealed) { s.pod.ContainerID = "containerd://before" }, fault.Failure, "the container was restarted", ""},
		"the helper says something else": {func(s *sealed) { s.helper = `echo "$3 stop"; read -r line` }, fault.Failure, `the helper answered "stop"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			tc.change(s)
			_, _, err := s.connect(t, nil)
			require.ErrorContains(t, err, "the container has no shell")
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, tc.kind, fault.KindOf(err))
			require.Contains(t, strings.Join(fault.Hint(err), " "), tc.hint)
		})
	}
}
