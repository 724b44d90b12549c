package workflow

import (
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

// What a controller writes into the status of the two workflows, shortened.
const (
	diamondDone = `{"phase": "Succeeded", "nodes": {
		"diamond":   {"displayName": "diamond", "type": "DAG", "phase": "Succeeded", "outputs": {"parameters": [{"name": "value", "value": "63"}]}},
		"diamond-1": {"displayName": "draw", "type": "Pod", "phase": "Succeeded", "outputs": {"exitCode": "0", "parameters": [{"name": "value", "value": "7"}]}},
		"diamond-2": {"displayName": "double", "type": "Pod", "phase": "Succeeded", "outputs": {"parameters": [{"name": "value", "value": "14"}]}},
		"diamond-3": {"displayName": "square", "type": "Pod", "phase": "Succeeded", "outputs": {"parameters": [{"name": "value", "value": "49"}]}},
		"diamond-4": {"displayName": "add", "type": "Pod", "phase": "Succeeded", "outputs": {"parameters": [{"name": "value", "value": "63"}]}}}}`
	brokenDone = `{"phase": "Failed", "nodes": {
		"broken":   {"displayName": "broken", "type": "DAG", "phase": "Failed"},
		"broken-1": {"displayName": "fail", "type": "Pod", "phase": "Failed", "message": "Error (exit code 3)", "outputs": {"exitCode": "3"}},
		"broken-2": {"displayName": "after", "type": "Skipped", "phase": "Omitted"}}}`
)

// env has a cluster whose controller ends each workflow at once, with the
// status that statuses has for its name.
func env(t *testing.T, statuses map[string]string) smoke.Env {
	t.Helper()
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource(): "WorkflowList"})
	dyn.PrependReactor("create", "workflows", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := action.(clienttesting.CreateAction)
		require.True(t, ok)
		object, ok := create.GetObject().(*unstructured.Unstructured)
		require.True(t, ok)
		var status map[string]any
		require.NoError(t, json.Unmarshal([]byte(statuses[object.GetName()]), &status))
		object.Object["status"] = status
		object.SetNamespace(action.GetNamespace())
		return true, object, dyn.Tracker().Add(object)
	})
	hash, err := v1.NewHash("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	return smoke.Env{
		Kube: fake.NewClientset(), Dynamic: dyn, Namespace: "mine", Sink: progress.Discard,
		Images: map[string]images.Ref{"step": {Repository: "kfdev.internal/busybox", Digest: hash}},
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	e := env(t, map[string]string{"diamond": diamondDone, "broken": brokenDone})
	result, err := Test{}.Run(t.Context(), e)
	require.NoError(t, err)
	smoketest.Said(t, Test{}, e)
	require.Len(t, result.Steps, 3)
	require.Len(t, result.Facts, 2)
	binding, err := e.Kube.RbacV1().RoleBindings("mine").Get(t.Context(), "workflow", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "argo-workflow-executor", binding.RoleRef.Name)
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, diamond, broken, want string }{
		{"the graph fails", `{"phase": "Error", "message": "pods is forbidden"}`, brokenDone, "pass a parameter along a graph: the workflow is Error, not Succeeded: pods is forbidden"},
		{"a parameter is lost", `{"phase": "Succeeded", "nodes": {"a": {"displayName": "draw", "phase": "Succeeded"}}}`, brokenDone, "task draw (Succeeded) put out no parameter value"},
		{"a parameter is wrong", `{"phase": "Succeeded", "nodes": {"a": {"displayName": "draw", "outputs": {"parameters": [{"name": "value", "value": "8"}]}}}}`, brokenDone, `task draw put out "8", not "7"`},
		{"a task is missing", `{"phase": "Succeeded"}`, brokenDone, "there is no task draw"},
		{"failing succeeds", diamondDone, `{"phase": "Succeeded"}`, "fail as it should: the workflow is Succeeded, not Failed"},
		{"it fails for another reason", diamondDone, `{"phase": "Failed", "nodes": {"a": {"displayName": "fail", "phase": "Failed", "message": "OOMKilled", "outputs": {"exitCode": "137"}}}}`, "does not carry exit code 3: OOMKilled"},
		{"it fails before", diamondDone, `{"phase": "Failed", "message": "invalid spec"}`, "there is no task fail: invalid spec"},
		{"the task was not run", diamondDone, `{"phase": "Failed", "nodes": {"a": {"displayName": "fail", "phase": "Error", "message": "no image"}}}`, "task fail is Error, not Failed: no image"},
		{"it goes on after", diamondDone, `{"phase": "Failed", "nodes": {"a": {"displayName": "fail", "phase": "Failed", "outputs": {"exitCode": "3"}}, "b": {"displayName": "after", "phase": "Failed"}}}`, "task after is Failed, though the one before it failed"},
		{"a status of another shape", `{"phase": 3}`, brokenDone, "can't be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := Test{}.Run(t.Context(), env(t, map[string]string{"diamond": tc.diamond, "broken": tc.broken}))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestRunWithoutItsImage(t *testing.T) {
	t.Parallel()
	e := env(t, nil)
	e.Images = nil
	_, err := Test{}.Run(t.Context(), e)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// Every task names its command, since an image from source can't be asked for
// one at a registry, and its image by digest.
func TestEveryTaskNamesCommandAndImage(t *testing.T) {
	t.Parallel()
	e := env(t, nil)
	for _, text := range []string{diamond, broken} {
		object, err := manifest(e, text)
		require.NoError(t, err)
		templates, _, err := unstructured.NestedSlice(object.Object, "spec", "templates")
		require.NoError(t, err)
		containers := 0
		for _, each := range templates {
			template, ok := each.(map[string]any)
			require.True(t, ok)
			container, found, err := unstructured.NestedMap(template, "container")
			require.NoError(t, err)
			if !found {
				continue
			}
			containers++
			require.NotEmpty(t, container["command"])
			require.Equal(t, e.Images["step"].String(), container["image"])
		}
		require.Equal(t, 1, containers)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(diamondDone))
	f.Add([]byte(brokenDone))
	f.Fuzz(func(t *testing.T, status []byte) {
		var decoded any
		if json.Unmarshal(status, &decoded) != nil {
			return
		}
		s, err := read(&unstructured.Unstructured{Object: map[string]any{"status": decoded}})
		if err == nil && checkDiamond(s) == nil {
			require.True(t, s.over())
			require.Error(t, checkBroken(s), "a workflow can't be both")
		}
	})
}
