//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// plainWorkloads are those whose controllers every cluster has, and a pod with
// two containers. CONTAINER stands for what a container runs. The Deployment's pod
// has a proxy, as a mesh puts it there.
const plainWorkloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: istio-proxy, CONTAINER}, {name: main, CONTAINER}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: batch}
spec:
  template:
    spec: {terminationGracePeriodSeconds: 0, restartPolicy: Never, containers: [{name: main, CONTAINER}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: first, CONTAINER}, {name: second, CONTAINER}]}
`

// A Notebook and a training job, and what their controllers make of them where
// the cluster has none (kubeflow/kubeflow,
// components/notebook-controller/controllers/notebook_controller.go;
// kubeflow/training-operator, pkg/common/util and pkg/controller.v1/common/pod.go).
// The Notebook's pod has another container beside that of its name.
const (
	notebookWorkload = `
apiVersion: kubeflow.org/v1
kind: Notebook
metadata: {name: fraud}
spec: {template: {spec: {containers: [{name: fraud, CONTAINER}]}}}
`
	notebookMade = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: fraud}
spec:
  serviceName: fraud
  selector: {matchLabels: {statefulset: fraud}}
  template:
    metadata: {labels: {statefulset: fraud, notebook-name: fraud}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: metrics, CONTAINER}, {name: fraud, CONTAINER}]}
`
	trainingWorkload = `
apiVersion: kubeflow.org/v1
kind: TFJob
metadata: {name: train}
spec:
  tfReplicaSpecs:
    Worker:
      replicas: 2
      restartPolicy: Never
      template: {spec: {terminationGracePeriodSeconds: 0, containers: [{name: tensorflow, CONTAINER}]}}
`
	trainingMade = `
apiVersion: v1
kind: Pod
metadata:
  name: train-worker-0
  labels:
    training.kubeflow.org/job-name: train
    training.kubeflow.org/job-role: master
    training.kubeflow.org/operator-name: tfjob-controller
    training.kubeflow.org/replica-type: worker
    training.kubeflow.org/replica-index: "0"
spec: {terminationGracePeriodSeconds: 0, containers: [{name: tensorflow, CONTAINER}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: train-worker-1
  labels:
    training.kubeflow.org/job-name: train
    training.kubeflow.org/operator-name: tfjob-controller
    training.kubeflow.org/replica-type: worker
    training.kubeflow.org/replica-index: "1"
spec: {terminationGracePeriodSeconds: 0, containers: [{name: tensorflow, CONTAINER}]}
`
)

// workloadMaker creates objects in the session's namespace.
type workloadMaker struct {
	dynamic   dynamic.Interface
	namespace string
	container string // what stands for CONTAINER
}

// makeWorkloads makes one workload of each kind.
func makeWorkloads(t *testing.T, d *bed) {
	t.Helper()
	client, err := dynamic.NewForConfig(d.bench.rest(t))
	require.NoError(t, err)
	m := &workloadMaker{
		dynamic: client, namespace: d.namespace,
		container: "image: '" + lockedBusybox(t, d.bench) + "', command: [/bin/sh, -c, 'while :; do sleep 3600; done']",
	}
	m.create(t, plainWorkloads, nil)
	m.controlled(t, "Notebook", notebookWorkload, notebookMade)
	m.controlled(t, "TFJob", trainingWorkload, trainingMade)
}

// controlled makes an object of a kind of Kubeflow's. Where the cluster does not
// know the kind, it learns it for as long as the test runs, and what the
// controller would make is made here, and is the object's.
func (m *workloadMaker) controlled(t *testing.T, kind, object, made string) {
	t.Helper()
	stranger := m.define(t, kind)
	owner := m.create(t, object, nil)[0]
	if stranger {
		yes := true
		m.create(t, made, []metav1.OwnerReference{{
			APIVersion: owner.GetAPIVersion(), Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes,
		}})
	}
}

// define makes a kind known that is not.
func (m *workloadMaker) define(t *testing.T, kind string) (made bool) {
	t.Helper()
	single := strings.ToLower(kind)
	definitions := m.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	definition := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal(fmt.Appendf(nil, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]ss.kubeflow.org}
spec:
  group: kubeflow.org
  scope: Namespaced
  names: {kind: %[2]s, listKind: %[2]sList, singular: %[1]s, plural: %[1]ss}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, single, kind), &definition.Object))
	there := false
	eventually(t, time.Minute, "the kind "+kind, func() (bool, string) {
		_, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			var old *unstructured.Unstructured
			old, err = definitions.Get(t.Context(), definition.GetName(), metav1.GetOptions{})
			there = err == nil && old.GetDeletionTimestamp() == nil // else an earlier run's, which is on its way out
			return there, fmt.Sprint("it is being deleted ", err)
		}
		return err == nil, fmt.Sprint(err)
	})
	if there {
		return false
	}
	t.Cleanup(func() { // and with it what is of the kind, and what that has
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		require.NoError(t, definitions.Delete(ctx, definition.GetName(), metav1.DeleteOptions{}))
	})
	return true
}

// create creates what a text has, once the API server knows the kinds of it and
// the webhooks of their controllers answer.
func (m *workloadMaker) create(t *testing.T, text string, owners []metav1.OwnerReference) (all []*unstructured.Unstructured) {
	t.Helper()
	for _, one := range strings.Split(strings.ReplaceAll(text, "CONTAINER", m.container), "\n---\n") {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(one), &o.Object))
		o.SetOwnerReferences(owners)
		kind := o.GroupVersionKind()
		resource := m.dynamic.Resource(kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")).Namespace(m.namespace)
		eventually(t, time.Minute, "a new "+kind.Kind, func() (bool, string) {
			made, err := resource.Create(t.Context(), o, metav1.CreateOptions{})
			if err == nil {
				all = append(all, made)
			}
			return err == nil, fmt.Sprint(err)
		})
	}
	return all
}
