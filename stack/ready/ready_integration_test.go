//go:build integration

package ready_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/certs"
	"github.com/kfdev/kfdev/stack/ready"
	"github.com/kfdev/kfdev/stack/render"
	"github.com/kfdev/kfdev/stack/seed"
)

// cluster starts an API server with controllers, and pods that do as decide says.
func cluster(t *testing.T, decide func(*unstructured.Unstructured) map[string]any) *kube.Client {
	t.Helper()
	config := apiserver.Run(t, true)
	client, err := kube.Connect(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- apiserver.Kubelet(ctx, config, decide) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		client.Close()
	})
	return client
}

// stages is what brings a component up: what must be there, its objects, the wait.
type stages struct {
	seeder  *seed.Seeder
	applier *apply.Applier
	waiter  *ready.Waiter
}

func stagesOf(client *kube.Client, sink progress.Sink, within time.Duration) stages {
	waiter := ready.New(client, sink, within)
	return stages{seed.New(client, time.Now), apply.New(client, waiter, sink), waiter}
}

// up brings a component up and returns what changed.
func (s stages) up(ctx context.Context, c stack.Component, objects []*unstructured.Unstructured) (apply.ChangeSet, error) {
	seeded, err := s.seeder.Ensure(ctx, c)
	if err != nil {
		return nil, err
	}
	content := objects
	for i, certificate := range c.Certificates {
		if content, err = certs.Inject(content, certificate.Inject, seeded.Authorities[i]); err != nil {
			return nil, err
		}
	}
	applied, err := s.applier.Apply(ctx, apply.Set{Name: c.Name, Namespace: c.Namespace, Objects: content})
	if err != nil {
		return applied, err
	}
	return append(seeded.Changes, applied...), s.waiter.Wait(ctx, c.Name, objects)
}

func rendered(t *testing.T, name string) render.Rendered {
	t.Helper()
	c, err := catalog.Component(catalog.Files(), name)
	require.NoError(t, err)
	r, err := render.Render(c, nil, nil)
	require.NoError(t, err)
	return r
}

func TestIntegrationTheCatalogComesUp(t *testing.T) {
	t.Parallel()
	client := cluster(t, apiserver.Running())
	events := &progress.Recorder{}
	s := stagesOf(client, events, 2*time.Minute)
	names, err := catalog.Names(catalog.Files())
	require.NoError(t, err)
	for _, name := range names {
		r := rendered(t, name)
		started := time.Now()
		changes, err := s.up(t.Context(), r.Component, r.Objects)
		require.NoError(t, err, name)
		first := time.Since(started)
		require.True(t, changes.Changed())

		started = time.Now()
		changes, err = s.up(t.Context(), r.Component, r.Objects)
		require.NoError(t, err)
		require.False(t, changes.Changed(), "%v", changes)
		statuses, err := s.waiter.Look(t.Context(), name, r.Objects)
		require.NoError(t, err)
		require.NotEmpty(t, statuses)
		for _, status := range statuses {
			require.Equal(t, ready.Current, status.State, "%v", status)
		}
		t.Logf("%s: up in %s, again in %s", name, first, time.Since(started))
	}
	require.NotEmpty(t, events.Events())

	t.Run("removed, volumes and secrets stay, and are found again", func(t *testing.T) {
		planned, err := s.applier.PlanRemove(t.Context(), "jupyterhub")
		require.NoError(t, err)
		changes, err := s.applier.Remove(t.Context(), "jupyterhub")
		require.NoError(t, err)
		require.ElementsMatch(t, planned, changes)
		for _, e := range changes {
			kept := e.Object.Kind == "PersistentVolumeClaim" || e.Object.Kind == "Namespace"
			require.Equal(t, kept, e.Change == apply.Skipped, "%v", e)
		}
		r := rendered(t, "jupyterhub")
		changes, err = s.up(t.Context(), r.Component, r.Objects)
		require.NoError(t, err)
		for _, e := range changes {
			if e.Object.Kind == "Secret" || e.Object.Kind == "PersistentVolumeClaim" {
				require.Equal(t, apply.Unchanged, e.Change, "%v", e)
			}
		}
	})
}

func objects(t *testing.T, texts ...string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, text := range texts {
		data, err := yaml.YAMLToJSON([]byte(text))
		require.NoError(t, err)
		o := &unstructured.Unstructured{}
		require.NoError(t, o.UnmarshalJSON(data))
		all = append(all, o)
	}
	return all
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: main, image: nowhere.example/app}]}
`

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: nowhere.example/job}]}}
`

// TestIntegrationAStatusThatNobodyWrites: a mesh's kind that was there before is
// not waited for; the same kind, brought by a set of kfdev's, is.
func TestIntegrationAStatusThatNobodyWrites(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, false))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	definition := func(group string) string {
		return "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: policies." + group + "}, spec: {group: " + group + ", scope: Namespaced, names: {plural: policies, kind: Policy}, versions: [{name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}"
	}
	policy := func(group string) string {
		return "{apiVersion: " + group + "/v1, kind: Policy, metadata: {name: mine, namespace: default}}"
	}
	theirs := objects(t, definition("mesh.example.com"))[0]
	definitions := client.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err = definitions.Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := client.Dynamic.Resource(schema.GroupVersionResource{Group: "mesh.example.com", Version: "v1", Resource: "policies"}).List(t.Context(), metav1.ListOptions{})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	component := func(name string) stack.Component { return stack.Component{Name: name, Namespace: "default"} }
	s := stagesOf(client, progress.Discard, 3*time.Second)
	_, err = s.up(t.Context(), component("mesh"), objects(t, policy("mesh.example.com")))
	require.NoError(t, err)
	_, err = s.up(t.Context(), component("ours"), objects(t, definition("ours.example.com"), policy("ours.example.com")))
	require.Equal(t, fault.Timeout, fault.KindOf(err))
	require.ErrorContains(t, err, "Policy/default/mine: InProgress: its controller has not reported on it yet")
}

func TestIntegrationWhatIsNotReadyIsNamed(t *testing.T) {
	t.Parallel()
	now := metav1.Now().UTC().Format("2006-01-02T15:04:05Z")
	client := cluster(t, func(pod *unstructured.Unstructured) map[string]any {
		if pod.GetLabels()["app"] == "app" {
			return map[string]any{"phase": "Pending", "containerStatuses": []any{map[string]any{
				"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": int64(0),
				"state": map[string]any{"waiting": map[string]any{"reason": "ImagePullBackOff", "message": "nowhere.example does not answer"}},
			}}}
		}
		return map[string]any{"phase": "Failed", "startTime": now, "containerStatuses": []any{map[string]any{
			"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": int64(0),
			"state": map[string]any{"terminated": map[string]any{"exitCode": int64(3), "reason": "Error", "message": "no data set"}},
		}}}
	})
	component := func(name string) stack.Component { return stack.Component{Name: name, Namespace: "default"} }

	t.Run("a deployment, when the time is over", func(t *testing.T) {
		t.Parallel()
		s := stagesOf(client, progress.Discard, 5*time.Second)
		_, err := s.up(t.Context(), component("app"), objects(t, deployment))
		require.Equal(t, fault.Timeout, fault.KindOf(err))
		require.ErrorContains(t, err, "not ready after 5s")
		require.ErrorContains(t, err, "Deployment/default/app: InProgress")
		require.ErrorContains(t, err, "container main waits: ImagePullBackOff: nowhere.example does not answer")
		status, err := s.waiter.Look(t.Context(), "app", objects(t, deployment))
		require.NoError(t, err)
		require.Len(t, status, 1)
		require.Equal(t, ready.InProgress, status[0].State)
	})
	t.Run("a job, at once", func(t *testing.T) {
		t.Parallel()
		s := stagesOf(client, progress.Discard, time.Minute)
		started := time.Now()
		_, err := s.up(t.Context(), component("once"), objects(t, job))
		require.ErrorContains(t, err, "Job/default/once: Failed: BackoffLimitExceeded")
		require.ErrorContains(t, err, "container main ended with exit code 3: no data set")
		require.Equal(t, fault.Failure, fault.KindOf(err))
		require.Less(t, time.Since(started), 40*time.Second)
	})
	t.Run("a webhook whose service nobody serves is not let in", func(t *testing.T) {
		t.Parallel()
		s := stagesOf(client, progress.Discard, 3*time.Second)
		hook := "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: hook}, webhooks: [{name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {name: nobody, namespace: default}}}]}"
		_, err := s.up(t.Context(), component("hook"), objects(t, hook))
		require.ErrorContains(t, err, "Service/default/nobody: InProgress: no pod behind it is ready")
		list, err := client.Dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		require.Empty(t, list.Items)
	})
	t.Run("a person who interrupts", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		canceled, stop := context.WithCancel(ctx)
		time.AfterFunc(time.Second, stop)
		defer stop()
		_, err := stagesOf(client, progress.Discard, time.Minute).up(canceled, component("late"), objects(t, "{apiVersion: v1, kind: Pod, metadata: {name: late, labels: {app: app}}, spec: {containers: [{name: main, image: x}]}}"))
		require.Equal(t, fault.Canceled, fault.KindOf(err))
	})
}
