package ready

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON(data))
	return o
}

func TestRead(t *testing.T) {
	t.Parallel()
	const deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, generation: 2}, spec: {replicas: 1}, status: "
	for name, tc := range map[string]struct {
		text    string
		status  bool // whether the kind has one
		state   State
		message string
	}{
		"a job just started":        {"{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {active: 1}}", true, InProgress, "has not completed (1 pods active, 0 failed)"},
		"a job complete":            {"{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {conditions: [{type: Complete, status: 'True'}]}}", true, Current, ""},
		"a job failed":              {"{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: m}]}}", true, Failed, "BackoffLimitExceeded: m"},
		"a job that was failing":    {"{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {conditions: [{type: Failed, status: 'False'}]}}", true, InProgress, ""},
		"a pod failed":              {"{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {phase: Failed, message: evicted}}", true, Failed, "the pod failed: evicted"},
		"a pod succeeded":           {"{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {phase: Succeeded}}", true, Current, ""},
		"a pod ready":               {"{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}", true, Current, ""},
		"a pod not scheduled":       {"{apiVersion: v1, kind: Pod, metadata: {name: a, creationTimestamp: '2020-01-01T00:00:00Z'}, status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}}", true, InProgress, "the pod is not ready: Pending"},
		"a claim that waits":        {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, status: {phase: Pending}}", true, Current, "it waits for its first pod"},
		"a claim bound":             {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, status: {phase: Bound}}", true, Current, ""},
		"a claim lost":              {"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, status: {phase: Lost}}", true, Failed, "its volume is gone"},
		"an API service":            {"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, status: {conditions: [{type: Available, status: 'True'}]}}", true, Current, ""},
		"an API service not yet":    {"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints, message: m}]}}", true, InProgress, "it is not Available: MissingEndpoints: m"},
		"an API service new":        {"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}}", true, InProgress, "it is not Available"},
		"a namespace":               {"{apiVersion: v1, kind: Namespace, metadata: {name: a}, status: {phase: Active}}", true, Current, ""},
		"being deleted":             {"{apiVersion: v1, kind: Pod, metadata: {name: a, deletionTimestamp: '2020-01-01T00:00:00Z'}, status: {phase: Running}}", true, Terminating, "it is being deleted"},
		"a resource without status": {"{apiVersion: x.example.com/v1, kind: Thing, metadata: {name: a}}", true, InProgress, "its controller has not reported on it yet"},
		"a resource that has none":  {"{apiVersion: x.example.com/v1, kind: Thing, metadata: {name: a}}", false, Current, ""},
		"a resource, empty status":  {"{apiVersion: x.example.com/v1, kind: Thing, metadata: {name: a}, status: {}}", true, InProgress, "has not reported"},
		"a resource ready":          {"{apiVersion: x.example.com/v1, kind: Thing, metadata: {name: a}, status: {conditions: [{type: Ready, status: 'True'}]}}", true, Current, ""},
		"a resource not ready":      {"{apiVersion: x.example.com/v1, kind: Thing, metadata: {name: a}, status: {conditions: [{type: Ready, status: 'False', message: m}]}}", true, InProgress, "m"},
		"a profile":                 {"{apiVersion: kubeflow.org/v1, kind: Profile, metadata: {name: a}}", true, Current, ""},
		"a profile that had failed": {"{apiVersion: kubeflow.org/v1, kind: Profile, metadata: {name: a}, status: {conditions: [{type: Failed, status: 'True'}]}}", true, Current, ""},
		"a pod default":             {"{apiVersion: kubeflow.org/v1alpha1, kind: PodDefault, metadata: {name: a}}", true, Current, ""},
		"a TFJob created":           {"{apiVersion: kubeflow.org/v1, kind: TFJob, metadata: {name: a}, status: {conditions: [{type: Created, status: 'True'}]}}", true, InProgress, "has not succeeded"},
		"a TFJob succeeded":         {"{apiVersion: kubeflow.org/v1, kind: TFJob, metadata: {name: a}, status: {conditions: [{type: Running, status: 'False'}, {type: Succeeded, status: 'True'}]}}", true, Current, ""},
		"a TFJob failed":            {"{apiVersion: kubeflow.org/v1, kind: TFJob, metadata: {name: a}, status: {conditions: [{type: Failed, status: 'True', reason: R, message: m}]}}", true, Failed, "R: m"},
		"a workflow running":        {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, status: {phase: Running}}", false, InProgress, "has not ended"},
		"a workflow failed":         {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, status: {phase: Failed, message: m}}", false, Failed, "Failed: m"},
		"a workflow succeeded":      {"{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a}, status: {phase: Succeeded}}", false, Current, ""},
		"a deployment not observed": {deployment + "{observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}}", true, InProgress, ""},
		"a deployment ready":        {deployment + "{observedGeneration: 2, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: [{type: Available, status: 'True'}]}}", true, Current, ""},
		"a deployment stuck":        {deployment + "{observedGeneration: 2, replicas: 1, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}", true, Failed, "deadline"},
		"a service":                 {"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer}}", true, Current, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Read(object(t, tc.text), tc.status)
			require.Equal(t, tc.state, got.State, got.Message)
			require.Contains(t, got.Message, tc.message)
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"batch/v1","kind":"Job","status":{"conditions":[{"type":"Failed","status":"True"}]}}`))
	f.Add([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","spec":[],"status":{"conditions":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := &unstructured.Unstructured{}
		if o.UnmarshalJSON(data) == nil {
			require.NotEmpty(t, Read(o, true).State)
		}
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "m"}}
	}
	ended := func(code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
	}
	for name, tc := range map[string]struct {
		status corev1.PodStatus
		want   []string
	}{
		"unschedulable": {corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes"}}},
			[]string{"pod p: Unschedulable: 0/1 nodes"}},
		"an image": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("ImagePullBackOff")}}},
			[]string{"pod p: container c waits: ImagePullBackOff: m"}},
		"a crash loop": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("CrashLoopBackOff"), LastTerminationState: ended(137, "OOMKilled"), RestartCount: 4}}},
			[]string{"pod p: container c waits: CrashLoopBackOff: m; before, it ended with exit code 137 (OOMKilled) (4 restarts)"}},
		"an init container": {corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", State: ended(2, "Error")}}, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("PodInitializing")}}},
			[]string{"pod p: container i ended with exit code 2"}},
		"not ready": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}},
			[]string{"pod p: container c runs but is not ready"}},
		"nothing known": {corev1.PodStatus{Phase: corev1.PodPending, Reason: "R"}, []string{"pod p: Pending: R"}},
		"one of two": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}, {Name: "b", State: ended(1, "")}}},
			[]string{"pod p: container b ended with exit code 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{Status: tc.status}
			pod.Name = "p"
			require.Equal(t, tc.want, Describe(pod))
		})
	}
}

func TestBoard(t *testing.T) {
	t.Parallel()
	pods := group{
		mapping: kube.Mapping{Resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}},
		objects: []apply.Object{{APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: "a"}, {APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: "b"}},
		read:    func(o *unstructured.Unstructured) Reading { return Read(o, true) },
	}
	service := endpoints(apply.Services([]*unstructured.Unstructured{object(t, "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: x}, spec: {service: {name: s, namespace: ns}}}")}))[0]
	b := newBoard([]group{pods, service})
	require.Equal(t, 3, b.total())
	require.Contains(t, b.news(), "Pod/ns/a: NotFound")
	require.Empty(t, b.news(), "news are told once")

	ready := func(name string) unstructured.Unstructured {
		return *object(t, "{apiVersion: v1, kind: Pod, metadata: {namespace: ns, name: "+name+"}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}")
	}
	b.replace(pods, []unstructured.Unstructured{ready("a"), ready("b"), ready("stranger")})
	done, newly, failed := b.progress()
	require.Equal(t, []any{false, 2, (*Status)(nil)}, []any{done, newly, failed})

	slice := object(t, "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {namespace: ns, name: s-1}, endpoints: [{conditions: {ready: false}}]}")
	b.replace(service, []unstructured.Unstructured{*slice})
	require.Contains(t, b.news(), "Service/ns/s: InProgress: no pod behind it is ready")
	require.NoError(t, unstructured.SetNestedSlice(slice.Object, []any{map[string]any{"conditions": map[string]any{}}}, "endpoints"))
	b.change(service, slice, false)
	done, newly, _ = b.progress()
	require.True(t, done)
	require.Equal(t, 1, newly)

	b.change(service, slice, true)
	gone := ready("a")
	b.change(pods, &gone, true)
	done, newly, _ = b.progress()
	require.False(t, done)
	require.Equal(t, -2, newly)
	require.Equal(t, "it was deleted", b.statuses()[0].Message)
	require.Nil(t, b.object(pods.objects[0]))

	b.replace(pods, []unstructured.Unstructured{*object(t, "{apiVersion: v1, kind: Pod, metadata: {namespace: ns, name: b}, status: {phase: Failed}}")})
	_, _, failed = b.progress()
	require.Equal(t, "b", failed.Object.Name)
}
