package pod

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// change makes a pod of a test another one.
type change func(*corev1.Pod)

// newPod is a pod that runs and is ready, of one container called main.
func newPod(namespace, name string, changes ...change) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{}, Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: "node"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	containers("main")(p)
	age(0)(p)
	for _, c := range changes {
		c(p)
	}
	return p
}

func containers(names ...string) change {
	return func(p *corev1.Pod) {
		p.Spec.Containers, p.Status.ContainerStatuses = nil, nil
		for _, n := range names {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: n, Image: "image-of-" + n})
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: n, ContainerID: "containerd://" + p.Name + "-" + n, ImageID: "sha256:" + n,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			})
		}
	}
}

func labels(pairs ...string) change {
	return func(p *corev1.Pod) {
		for i := 0; i < len(pairs); i += 2 {
			p.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func annotations(pairs ...string) change {
	return func(p *corev1.Pod) {
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func age(d time.Duration) change {
	return func(p *corev1.Pod) {
		p.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-d))
	}
}

func owner(kind, name string) change {
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name}}
	}
}

func notReady(p *corev1.Pod) { p.Status.Conditions = nil }

func stuck(p *corev1.Pod) {
	notReady(p)
	p.Status.Phase = corev1.PodPending
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}
}

func deleting(p *corev1.Pod) {
	p.DeletionTimestamp = &metav1.Time{Time: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
}

// hub makes a pod a user's server.
func hub(user, server string) change {
	return func(p *corev1.Pod) {
		labels(hubUser, "escaped")(p)
		annotations(hubUser, user)(p)
		if server != "" {
			annotations(hubServer, server)(p)
		}
		containers("notebook", "istio-proxy")(p)
	}
}

// replica makes a pod part of a training job.
func replica(kind, job, replicaType, index string) change {
	return func(p *corev1.Pod) {
		labels(trainingJob, job, trainingType, replicaType, trainingIndex, index)(p)
		owner(kind, job)(p)
		containers("tensorflow", "logger")(p)
	}
}

func object(t *testing.T, o any) *unstructured.Unstructured {
	t.Helper()
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	require.NoError(t, err)
	return &unstructured.Unstructured{Object: raw}
}

// workload is a StatefulSet, Deployment or Job that selects app=name.
func workload(api, kind, namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": api, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": name}}},
	}}
}

func node(name, arch, system string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name},
		"status": map[string]any{"nodeInfo": map[string]any{"architecture": arch, "operatingSystem": system}},
	}}
}

// cluster is a client of objects in memory.
func cluster(t *testing.T, pods []*corev1.Pod, others ...runtime.Object) (*kube.Client, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	for _, p := range pods {
		others = append(others, object(t, p))
	}
	fake := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "pods"}:                        "PodList",
		{Version: "v1", Resource: "nodes"}:                       "NodeList",
		{Group: "apps", Version: "v1", Resource: "statefulsets"}: "StatefulSetList",
		{Group: "apps", Version: "v1", Resource: "deployments"}:  "DeploymentList",
		{Group: "batch", Version: "v1", Resource: "jobs"}:        "JobList",
	}, others...)
	return &kube.Client{Dynamic: fake}, fake
}

func TestFind(t *testing.T) {
	t.Parallel()
	type found struct{ pod, container string }
	for name, tc := range map[string]struct {
		target string
		pods   []*corev1.Pod
		others []runtime.Object
		want   found
	}{
		"a pod":                     {"pod/a", []*corev1.Pod{newPod("x", "a"), newPod("x", "b")}, nil, found{"x/a", "main"}},
		"a pod in a namespace":      {"pod/a -n y", []*corev1.Pod{newPod("x", "a"), newPod("y", "a")}, nil, found{"y/a", "main"}},
		"one that runs elsewhere":   {"pod/a", []*corev1.Pod{newPod("x", "a"), newPod("y", "a", stuck)}, nil, found{"x/a", "main"}},
		"a user's server":           {"hub/ann", []*corev1.Pod{newPod("h", "j-1", hub("ann", "")), newPod("h", "j-2", hub("ann", "gpu")), newPod("h", "j-3", hub("bob", ""))}, nil, found{"h/j-1", "notebook"}},
		"a named server":            {"hub/ann/gpu", []*corev1.Pod{newPod("h", "j-1", hub("ann", "")), newPod("h", "j-2", hub("ann", "gpu"))}, nil, found{"h/j-2", "notebook"}},
		"a user of an old hub":      {"hub/ann", []*corev1.Pod{newPod("h", "j-1", labels(hubUser, "ann"), containers("notebook"))}, nil, found{"h/j-1", "notebook"}},
		"a user with signs":         {"hub/A@x.org", []*corev1.Pod{newPod("h", "j-1", hub("A@x.org", ""))}, nil, found{"h/j-1", "notebook"}},
		"a Kubeflow Notebook":       {"notebook/fraud", []*corev1.Pod{newPod("x", "fraud-0", labels(notebookName, "fraud"), containers("fraud", "helper"))}, nil, found{"x/fraud-0", "fraud"}},
		"a StatefulSet's newest":    {"sts/web", []*corev1.Pod{newPod("x", "web-0", labels("app", "web"), age(time.Hour)), newPod("x", "web-1", labels("app", "web")), newPod("x", "z", age(-time.Hour))}, []runtime.Object{workload("apps/v1", "StatefulSet", "x", "web")}, found{"x/web-1", "main"}},
		"an ordinal":                {"sts/web/0", []*corev1.Pod{newPod("x", "web-0", labels("app", "web"), age(time.Hour)), newPod("x", "web-1", labels("app", "web"))}, []runtime.Object{workload("apps/v1", "StatefulSet", "x", "web")}, found{"x/web-0", "main"}},
		"ready before newer":        {"deploy/web", []*corev1.Pod{newPod("x", "old", labels("app", "web"), age(time.Hour)), newPod("x", "new", labels("app", "web"), notReady)}, []runtime.Object{workload("apps/v1", "Deployment", "x", "web")}, found{"x/old", "main"}},
		"running where none is":     {"deploy/web", []*corev1.Pod{newPod("x", "old", labels("app", "web"), age(time.Hour), notReady), newPod("x", "new", labels("app", "web"), stuck)}, []runtime.Object{workload("apps/v1", "Deployment", "x", "web")}, found{"x/old", "main"}},
		"not one that goes":         {"deploy/web", []*corev1.Pod{newPod("x", "old", labels("app", "web"), age(time.Hour)), newPod("x", "new", labels("app", "web"), deleting)}, []runtime.Object{workload("apps/v1", "Deployment", "x", "web")}, found{"x/old", "main"}},
		"a Job":                     {"job/train", []*corev1.Pod{newPod("x", "train-a", labels("app", "train"))}, []runtime.Object{workload("batch/v1", "Job", "x", "train")}, found{"x/train-a", "main"}},
		"a training job's only one": {"tfjob/m", []*corev1.Pod{newPod("x", "m-w-0", replica("TFJob", "m", "worker", "0"))}, nil, found{"x/m-w-0", "tensorflow"}},
		"the one that leads":        {"tfjob/m", []*corev1.Pod{newPod("x", "m-w-0", replica("TFJob", "m", "worker", "0")), newPod("x", "m-c-0", replica("TFJob", "m", "chief", "0"), labels(trainingRole, "master"))}, nil, found{"x/m-c-0", "tensorflow"}},
		"a replica":                 {"tfjob/m/worker-1", []*corev1.Pod{newPod("x", "m-w-0", replica("TFJob", "m", "worker", "0")), newPod("x", "m-w-1", replica("TFJob", "m", "worker", "1"))}, nil, found{"x/m-w-1", "tensorflow"}},
		"the first replica":         {"tfjob/m/worker", []*corev1.Pod{newPod("x", "m-w-0", replica("TFJob", "m", "worker", "0")), newPod("x", "m-w-1", replica("TFJob", "m", "worker", "1"))}, nil, found{"x/m-w-0", "tensorflow"}},
		"not another kind's":        {"tfjob/m", []*corev1.Pod{newPod("x", "p", replica("PyTorchJob", "m", "master", "0")), newPod("x", "t", replica("TFJob", "m", "worker", "0"))}, nil, found{"x/t", "tensorflow"}},
		"a TrainJob":                {"trainjob/m/node-1", []*corev1.Pod{newPod("x", "a", labels(jobSetName, "m", jobSetStep, "node", jobPodIndex, "0")), newPod("x", "b", labels(jobSetName, "m", jobSetStep, "node", jobPodIndex, "1"))}, nil, found{"x/b", "main"}},
		"a container by name":       {"pod/a -c two", []*corev1.Pod{newPod("x", "a", containers("one", "two"))}, nil, found{"x/a", "two"}},
		"the default container":     {"pod/a", []*corev1.Pod{newPod("x", "a", containers("one", "two"), annotations(defaultContainer, "two"))}, nil, found{"x/a", "two"}},
		"no sidecar":                {"pod/a", []*corev1.Pod{newPod("x", "a", containers("istio-proxy", "app"))}, nil, found{"x/a", "app"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, err := ParseTarget(tc.target)
			require.NoError(t, err)
			client, _ := cluster(t, tc.pods, append(tc.others, node("node", "arm64", "linux"))...)
			p, err := Find(t.Context(), client, target)
			require.NoError(t, err)
			require.Equal(t, tc.want, found{p.Namespace + "/" + p.Name, p.Container})
			require.Equal(t, "arm64", p.Arch)
			require.Equal(t, "containerd://"+p.Name+"-"+p.Container, p.ContainerID)
			require.Equal(t, "image-of-"+p.Container, p.Image)
			require.Equal(t, "sha256:"+p.Container, p.ImageID)
			require.Equal(t, types.UID("uid-"+p.Name), p.ID)

			awaited, err := Await(t.Context(), client, target)
			require.NoError(t, err)
			require.Equal(t, p, awaited)
		})
	}
}

func TestFindSaysWhatThereIs(t *testing.T) {
	t.Parallel()
	web := workload("apps/v1", "Deployment", "x", "web")
	for name, tc := range map[string]struct {
		target string
		pods   []*corev1.Pod
		others []runtime.Object
		kind   fault.Kind
		says   string
	}{
		"no pod":                   {"pod/a", []*corev1.Pod{newPod("x", "b")}, nil, fault.NotFound, "a pod of pod/a is not running: there is none"},
		"in several namespaces":    {"pod/a", []*corev1.Pod{newPod("y", "a"), newPod("x", "a")}, nil, fault.Usage, "in each of the namespaces x, y"},
		"no server":                {"hub/eve", []*corev1.Pod{newPod("h", "1", hub("bob", "gpu")), newPod("h", "2", hub("ann", ""))}, nil, fault.NotFound, "there is none; there are ann, bob/gpu"},
		"no deployment":            {"deploy/app -n x", nil, []runtime.Object{web}, fault.NotFound, "there is no deployment app in x"},
		"two deployments":          {"deploy/web", nil, []runtime.Object{web, workload("apps/v1", "Deployment", "y", "web")}, fault.Usage, "in each of the namespaces x, y"},
		"a deployment of nothing":  {"deploy/web", nil, []runtime.Object{web}, fault.NotFound, "is not running: there is none"},
		"what it waits for":        {"deploy/web", []*corev1.Pod{newPod("x", "p", labels("app", "web"), stuck)}, []runtime.Object{web}, fault.NotFound, "p is not running: ImagePullBackOff: no such image"},
		"what goes":                {"pod/a", []*corev1.Pod{newPod("x", "a", deleting)}, nil, fault.NotFound, "a is not running: it is being deleted"},
		"what ended":               {"pod/a", []*corev1.Pod{newPod("x", "a", ended)}, nil, fault.NotFound, "it has ended (OOMKilled, exit code 137)"},
		"several replicas":         {"tfjob/m", []*corev1.Pod{newPod("x", "0", replica("TFJob", "m", "worker", "0")), newPod("x", "1", replica("TFJob", "m", "worker", "1"))}, nil, fault.Usage, "has the replicas worker-0, worker-1"},
		"a replica that isn't":     {"tfjob/m/ps-0", []*corev1.Pod{newPod("x", "0", replica("TFJob", "m", "worker", "0"))}, nil, fault.NotFound, "there are m/worker-0"},
		"several containers":       {"pod/a", []*corev1.Pod{newPod("x", "a", containers("one", "two"))}, nil, fault.Usage, "has the containers one, two"},
		"a container that isn't":   {"pod/a -c main", []*corev1.Pod{newPod("x", "a", containers("one", "two"))}, nil, fault.NotFound, "it has one, two"},
		"a selector of nothing":    {"job/j", nil, []runtime.Object{&unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"namespace": "x", "name": "j"}}}}, fault.NotFound, "selects no pods"},
		"a node of another system": {"pod/a", []*corev1.Pod{newPod("x", "a", func(p *corev1.Pod) { p.Spec.NodeName = "w" })}, []runtime.Object{node("w", "amd64", "windows")}, fault.Preflight, "runs on windows"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, err := ParseTarget(tc.target)
			require.NoError(t, err)
			client, _ := cluster(t, tc.pods, tc.others...)
			_, err = Find(t.Context(), client, target)
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, tc.kind, fault.KindOf(err))
		})
	}
}

func ended(p *corev1.Pod) {
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}
}

func TestFindWhereLookingEverywhereIsForbidden(t *testing.T) {
	t.Parallel()
	client, fake := cluster(t, []*corev1.Pod{newPod("x", "a")})
	fake.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == "" {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
		}
		return false, nil, nil
	})
	_, err := Find(t.Context(), client, Target{Kind: KindPod, Name: "a"})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Contains(t, fault.Hint(err), "name the namespace with -n NAMESPACE")
	p, err := Find(t.Context(), client, Target{Kind: KindPod, Name: "a", Namespace: "x"})
	require.NoError(t, err)
	require.Empty(t, p.Arch) // no node to be looked at
}

func TestWhoAContainerRunsAs(t *testing.T) {
	t.Parallel()
	id := func(n int64) *int64 { return &n }
	for name, tc := range map[string]struct {
		change change
		want   RunAs
	}{
		"nothing known": {func(*corev1.Pod) {}, RunAs{}},
		"the node says": {func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: id(1), RunAsGroup: id(1)}
			p.Status.ContainerStatuses[0].User = &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: 7, GID: 8}}
		}, RunAs{true, 7, 8}},
		"the pod says": {func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: id(1), RunAsGroup: id(2)}
		}, RunAs{true, 1, 2}},
		"the container says": {func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: id(1), RunAsGroup: id(2)}
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: id(3)}
		}, RunAs{true, 3, 2}},
		"half of it": {func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: id(1)} }, RunAs{}},
	} {
		p, err := running(newPod("x", "a", tc.change), Target{})
		require.NoError(t, err, name)
		require.Equal(t, tc.want, p.RunAs, name)
	}
}

// put writes a pod's new state.
func put(t *testing.T, fake *dynamicfake.FakeDynamicClient, p *corev1.Pod) {
	t.Helper()
	pods := fake.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(p.Namespace)
	_, err := pods.Update(t.Context(), object(t, p), metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = pods.Create(t.Context(), object(t, p), metav1.CreateOptions{})
	}
	require.NoError(t, err)
}

// watched returns a channel that is closed once a watch has begun.
func watched(fake *dynamicfake.FakeDynamicClient) <-chan struct{} {
	begun := make(chan struct{})
	once := false
	fake.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := fake.Tracker().Watch(a.GetResource(), a.GetNamespace())
		if !once {
			once = true
			close(begun)
		}
		return true, w, err
	})
	return begun
}

func TestAwaitWaits(t *testing.T) {
	t.Parallel()
	client, fake := cluster(t, []*corev1.Pod{newPod("x", "a", stuck)})
	begun := watched(fake)
	type result struct {
		pod Pod
		err error
	}
	got := make(chan result, 1)
	go func() {
		p, err := Await(t.Context(), client, Target{Kind: KindPod, Name: "a", Namespace: "x"})
		got <- result{p, err}
	}()
	<-begun
	put(t, fake, newPod("x", "b"))
	put(t, fake, newPod("x", "a"))
	r := <-got
	require.NoError(t, r.err)
	require.Equal(t, "a", r.pod.Name)
}

func TestAwaitDoesNotWaitForWhatNoWaitHelps(t *testing.T) {
	t.Parallel()
	client, _ := cluster(t, []*corev1.Pod{newPod("x", "a", containers("one", "two"))})
	_, err := Await(t.Context(), client, Target{Kind: KindPod, Name: "a"})
	require.Equal(t, fault.Usage, fault.KindOf(err))
	_, err = Await(t.Context(), client, Target{Kind: KindDeployment, Name: "a"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		then *corev1.Pod // nil: it is deleted
		says string
	}{
		"deleted":   {nil, "the pod is gone"},
		"goes":      {newPod("x", "a", deleting), "the pod is being deleted"},
		"replaced":  {newPod("x", "a", func(p *corev1.Pod) { p.UID = "another" }), "the pod was replaced"},
		"ended":     {newPod("x", "a", ended), "the container ended: it has ended (OOMKilled, exit code 137)"},
		"restarted": {newPod("x", "a", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ContainerID = "containerd://new" }), "the container was restarted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, fake := cluster(t, []*corev1.Pod{newPod("x", "a")})
			p, err := Find(t.Context(), client, Target{Kind: KindPod, Name: "a"})
			require.NoError(t, err)
			begun := watched(fake)
			got := make(chan string, 1)
			go func() {
				reason, err := Gone(t.Context(), client, p)
				if err != nil {
					reason = err.Error()
				}
				got <- reason
			}()
			<-begun
			put(t, fake, newPod("x", "a", labels("still", "the same"), notReady))
			if tc.then == nil {
				require.NoError(t, podsOf(client, "x").Delete(t.Context(), "a", metav1.DeleteOptions{}))
			} else {
				put(t, fake, tc.then)
			}
			require.Equal(t, tc.says, <-got)
		})
	}
}
