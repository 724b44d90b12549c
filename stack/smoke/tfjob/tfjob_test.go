package tfjob

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

// config returns what the operator writes into TF_CONFIG.
func config(kind string, index int, change func(*tfConfig)) string {
	var c tfConfig
	c.Cluster = map[string][]string{
		"ps":     {"digits-ps-0.mine.svc:2222"},
		"worker": {"digits-worker-0.mine.svc:2222", "digits-worker-1.mine.svc:2222"},
	}
	c.Task.Type, c.Task.Index = kind, index
	if change != nil {
		change(&c)
	}
	data, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func configs() map[string]string {
	return map[string]string{
		"digits-ps-0":     config("ps", 0, nil),
		"digits-worker-0": config("worker", 0, nil),
		"digits-worker-1": config("worker", 1, nil),
	}
}

func TestCheckConfigs(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkConfigs(configs(), "digits", "mine", 2))
	for _, tc := range []struct {
		name   string
		change func(map[string]string)
		want   string
	}{
		{"a pod is missing", func(m map[string]string) { delete(m, "digits-ps-0") }, "2 pods have a TF_CONFIG, not 3"},
		{"a pod too many", func(m map[string]string) { m["digits-chief-0"] = config("chief", 0, nil) }, "4 pods"},
		{"another pod", func(m map[string]string) { delete(m, "digits-ps-0"); m["digits-ps-1"] = config("ps", 0, nil) }, "pod digits-ps-1 is none of the job's"},
		{"two are the same worker", func(m map[string]string) { m["digits-worker-1"] = config("worker", 0, nil) }, "says it is worker 0"},
		{"another cluster", func(m map[string]string) {
			m["digits-worker-1"] = config("worker", 1, func(c *tfConfig) { c.Cluster["ps"] = []string{"digits-ps-0.other.svc:2222"} })
		}, "has the cluster map[ps:[digits-ps-0.other.svc:2222]"},
		{"workers in another order", func(m map[string]string) {
			m["digits-ps-0"] = config("ps", 0, func(c *tfConfig) {
				w := c.Cluster["worker"]
				c.Cluster["worker"] = []string{w[1], w[0]}
			})
		}, "TF_CONFIG of pod digits-ps-0 has the cluster"},
		{"no JSON", func(m map[string]string) { m["digits-ps-0"] = "{" }, "TF_CONFIG of pod digits-ps-0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := configs()
			tc.change(m)
			require.ErrorContains(t, checkConfigs(m, "digits", "mine", 2), tc.want)
		})
	}
}

// log returns what a worker prints.
func log(worker int) string {
	labels := []string{`{"0": 143, "2": 142, "4": 145, "6": 145, "8": 140}`, `{"1": 146, "3": 147, "5": 146, "7": 144, "9": 139}`}
	size := []int{715, 722}
	text := "2026-01-01 00:00:00.1: I tensorflow/core: something\n" +
		fmt.Sprintf(`{"event": "start", "job": "worker", "index": %d, "ps": 1, "workers": 2, "tensorflow": "2.21.0"}`+"\n", worker) +
		fmt.Sprintf(`{"event": "shard", "worker": %d, "workers": 2, "size": %d, "labels": %s}`+"\n", worker, size[worker], labels[worker])
	for epoch, loss := range []float64{2.1, 0.9, 0.2} {
		text += fmt.Sprintf(`{"event": "epoch", "worker": %d, "epoch": %d, "loss": %g}`+"\n", worker, epoch+1, loss)
	}
	if worker == 0 {
		text += `{"event": "result", "accuracy": 0.9556, "goal": 0.9, "held_out": 360, "first_loss": 2.1, "last_loss": 0.2, "weights_sha256": "ab", "passed": true}` + "\n"
	}
	return text + "{not an event\n"
}

func reports(t *testing.T) []report {
	t.Helper()
	list := make([]report, 2)
	for i := range list {
		var err error
		list[i], err = parse(strings.NewReader(log(i)))
		require.NoError(t, err)
	}
	return list
}

func TestParse(t *testing.T) {
	t.Parallel()
	r := reports(t)
	require.Equal(t, 715, r[0].shard.Size)
	require.Equal(t, 143, r[0].shard.Labels["0"])
	first, last := r[0].losses()
	require.InDelta(t, 2.1, first, 1e-9)
	require.InDelta(t, 0.2, last, 1e-9)
	require.InDelta(t, 0.9556, r[0].result.Accuracy, 1e-9)
	require.Nil(t, r[1].result)
	_, err := parse(strings.NewReader(strings.Repeat("x", lineLimit+1)))
	require.ErrorContains(t, err, "too long")
}

func TestCheckReports(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkReports(reports(t)))
	for _, tc := range []struct {
		name   string
		change func([]report)
		want   string
	}{
		{"a worker said nothing", func(r []report) { r[1] = report{} }, "worker 1 did not tell its shard"},
		{"a worker thought it was alone", func(r []report) { r[0].shard.Workers = 1 }, "worker 0 trained as 0 of 1"},
		{"both were the same worker", func(r []report) { r[1] = r[0] }, "worker 1 trained as 0 of 2"},
		{"the shards overlap", func(r []report) { r[1].shard.Labels["0"] = 5; r[1].shard.Size += 5 }, "digit 0 is in the shards of workers 0 and 1"},
		{"a digit is in no shard", func(r []report) { r[1].shard.Size -= r[1].shard.Labels["9"]; delete(r[1].shard.Labels, "9") }, "9 of 10 digits"},
		{"rows without a digit", func(r []report) { r[0].shard.Size = 1437 }, "has 1437 rows, and its digits 715"},
		{"one epoch", func(r []report) { r[0].epochs = r[0].epochs[:1] }, "the loss of 1 epochs"},
		{"an epoch is missing", func(r []report) { r[1].epochs = r[1].epochs[1:] }, "in the place of epoch 1, worker 1 told epoch 2"},
		{"a worker stopped early", func(r []report) { r[1].epochs = r[1].epochs[:2] }, "worker 1 trained 2 epochs and worker 0 3"},
		{"the loss did not fall", func(r []report) { r[1].epochs[2].Loss = 2 }, "the loss of worker 1 went from 2.1 to 2"},
		{"the loss is no number", func(r []report) { r[0].epochs[2].Loss = math.NaN() }, "to NaN"},
		{"no result", func(r []report) { r[0].result = nil }, "worker 0 told no result"},
		{"half the digits were learned", func(r []report) { r[0].result.Accuracy = 0.5 }, "the accuracy is 0.5"},
		{"an impossible accuracy", func(r []report) { r[0].result.Accuracy = 95 }, "the accuracy is 95"},
		{"too few rows", func(r []report) { r[0].result.HeldOut = 3 }, "on 3 rows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := reports(t)
			tc.change(r)
			require.ErrorContains(t, checkReports(r), tc.want)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(log(0))
	f.Add(log(1))
	f.Add(`{"event": "shard", "labels": null}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(strings.NewReader(text))
		if err == nil && checkReports([]report{r}) == nil {
			require.Len(t, r.shard.Labels, digits)
			require.NotNil(t, r.result)
		}
	})
}

// operator is how the fake cluster's operator behaves.
type operator struct {
	condition string // that the TFJob comes to
	lax       bool   // its webhook lets everything in
	worker    corev1.PodPhase
}

func works() operator { return operator{condition: "Succeeded", worker: corev1.PodSucceeded} }

// env has a cluster whose operator places and ends each job at once.
func (o operator) env(t *testing.T) smoke.Env {
	t.Helper()
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		jobs(): "TFJobList", pytorchJobs(): "PyTorchJobList", pods(): "PodList",
	})
	kube := fake.NewClientset()
	placed := func(p corev1.Pod) {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p)
		require.NoError(t, err)
		require.NoError(t, dyn.Tracker().Add(&unstructured.Unstructured{Object: content}))
		require.NoError(t, kube.Tracker().Add(&p))
	}
	created := func(action clienttesting.Action) *unstructured.Unstructured {
		create, ok := action.(clienttesting.CreateAction)
		require.True(t, ok)
		object, ok := create.GetObject().(*unstructured.Unstructured)
		require.True(t, ok)
		object.SetNamespace(action.GetNamespace())
		return object
	}
	dyn.PrependReactor("create", "pytorchjobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		object := created(action)
		placed(podOf(object.GetName(), "held-worker-0", "", o.worker))
		return true, object, dyn.Tracker().Add(object)
	})
	dyn.PrependReactor("create", "tfjobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		object := created(action)
		if object.GetName() == "refused" && !o.lax {
			return true, nil, apierrors.NewForbidden(jobs().GroupResource(), "refused", errors.New(`admission webhook "validator.tfjob.training-operator.kubeflow.org" denied the request`))
		}
		require.NoError(t, unstructured.SetNestedSlice(object.Object, []any{
			map[string]any{"type": "Created", "status": "True"},
			map[string]any{"type": o.condition, "status": "True", "reason": "TFJob" + o.condition, "message": "so it is"},
		}, "status", "conditions"))
		for name, text := range configs() {
			placed(podOf(object.GetName(), name, text, corev1.PodRunning))
		}
		return true, object, dyn.Tracker().Add(object)
	})
	hash, err := v1.NewHash("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	return smoke.Env{
		Kube: kube, Dynamic: dyn, Namespace: "mine", Sink: progress.Discard,
		Images: map[string]images.Ref{
			"tensorflow":   {Repository: "kfdev.internal/tensorflow", Digest: hash},
			"pytorch-init": {Repository: "kfdev.internal/busybox", Digest: hash},
		},
	}
}

func podOf(job, name, config string, phase corev1.PodPhase) corev1.Pod {
	return corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "mine", Labels: map[string]string{jobLabel: job}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: container, Env: []corev1.EnvVar{{Name: "TF_CONFIG", Value: config}}}}},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

// The fake cluster's pods have no log of a training, and that is found out
// after everything else went well.
func TestRunNeedsTheWorkersLogs(t *testing.T) {
	t.Parallel()
	e := works().env(t)
	result, err := Test{Program: []byte("print()")}.Run(t.Context(), e)
	require.ErrorContains(t, err, "read what the workers did: worker 0 did not tell its shard")
	require.Len(t, result.Steps, 6)
	smoketest.Said(t, Test{}, e)
	source, err := e.Kube.CoreV1().ConfigMaps("mine").Get(t.Context(), "program", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"train.py": "print()"}, source.Data)
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*operator, *Test, *smoke.Env)
		want   string
	}{
		{"the job fails", func(o *operator, _ *Test, _ *smoke.Env) { o.condition = "Failed" }, "train: the job failed: TFJobFailed: so it is"},
		{"the webhook is not asked", func(o *operator, _ *Test, _ *smoke.Env) { o.lax = true }, "the webhook is not asked"},
		{"the held worker fails", func(o *operator, _ *Test, _ *smoke.Env) { o.worker = corev1.PodFailed }, "pod held-worker-0 failed"},
		{"there is no program", func(_ *operator, test *Test, _ *smoke.Env) { test.Program = nil }, "there is no training program"},
		{"there is no image", func(_ *operator, _ *Test, e *smoke.Env) { e.Images = nil }, "the lock has none of that name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o, test := works(), Test{Program: []byte("x")}
			tc.change(&o, &test, &smoke.Env{})
			e := o.env(t)
			tc.change(&operator{}, &test, &e)
			_, err := test.Run(t.Context(), e)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// The fake cluster's logs end at once, so that no epoch is seen in them.
func TestLostWorkerNeedsAnEpoch(t *testing.T) {
	t.Parallel()
	e := works().env(t)
	_, err := LostWorker{Program: []byte("x")}.Run(t.Context(), e)
	smoketest.Said(t, LostWorker{}, e)
	require.ErrorContains(t, err, "train an epoch: digits-worker-1 ended before its first epoch did")
	object, err := e.Dynamic.Resource(jobs()).Namespace("mine").Get(t.Context(), jobName, metav1.GetOptions{})
	require.NoError(t, err)
	data, err := object.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(data), `"name":"EPOCHS"`))
}

func TestLostWorkerWantsAFailure(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ condition, want string }{
		{"Failed", ""},
		{"Succeeded", "the job succeeded without its second worker"},
	} {
		o := works()
		o.condition = tc.condition
		trial := &trial{env: o.env(t), program: "x", record: smoke.Record("x", progress.Discard)}
		require.NoError(t, trial.create(t.Context()))
		err := trial.fail(t.Context())
		if tc.want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, tc.want)
	}
}

func TestTheJobs(t *testing.T) {
	t.Parallel()
	trial := &trial{env: works().env(t), program: "x"}
	object, err := trial.manifest(job)
	require.NoError(t, err)
	for kind, want := range map[string]any{"PS": int64(1), "Worker": int64(workers)} {
		replicas, _, err := unstructured.NestedFieldNoCopy(object.Object, "spec", "tfReplicaSpecs", kind, "replicas")
		require.NoError(t, err)
		require.EqualValues(t, want, replicas)
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "tfReplicaSpecs", kind, "template", "spec", "containers")
		require.NoError(t, err)
		require.Len(t, containers, 1)
		c, ok := containers[0].(map[string]any)
		require.True(t, ok)
		require.Equal(t, container, c["name"])
		require.Equal(t, trial.env.Images["tensorflow"].String(), c["image"])
	}
	object, err = trial.manifest(held)
	require.NoError(t, err)
	data, err := object.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(data), trial.env.Images["pytorch-init"].String()))
}
