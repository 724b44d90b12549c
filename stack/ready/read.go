// Package ready says whether objects are ready, waits until they are, and
// explains why they are not. Its words are kstatus's; where kstatus is wrong
// for what kfdev runs (a Job, a failed Pod, a volume that waits for its first
// user, a custom resource that its controller has not seen yet) it reads for
// itself. A wait watches what it waits for; it never polls.
package ready

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// State is kstatus's word for an object.
type State = status.Status

// The states.
const (
	Current     = status.CurrentStatus
	InProgress  = status.InProgressStatus
	Failed      = status.FailedStatus
	Terminating = status.TerminatingStatus
	NotFound    = status.NotFoundStatus
	Unknown     = status.UnknownStatus
)

// Reading is what an object's own status says.
type Reading struct {
	State   State  `json:"state"`
	Message string `json:"message,omitempty"` // for people; why it is not Current
}

// Read reads an object's status. Reports says whether a controller writes a
// status for every object of this kind; where one does, an object without any
// is InProgress.
func Read(o *unstructured.Unstructured, reports bool) Reading {
	if o.GetDeletionTimestamp() != nil {
		return Reading{Terminating, "it is being deleted"}
	}
	kind := o.GroupVersionKind().GroupKind()
	switch kind.String() {
	case "Job.batch":
		return job(o)
	case "Pod":
		return pod(o)
	case "PersistentVolumeClaim":
		return claim(o)
	case "Namespace":
		return phase(o, "Active")
	case "Service", "CronJob.batch":
		return Reading{State: Current}
	case "Profile.kubeflow.org", "PodDefault.kubeflow.org":
		// The Profile controller reports failures only, and takes none back;
		// whether a profile's people have their rights, its smoke test proves.
		return Reading{State: Current}
	case "APIService.apiregistration.k8s.io":
		return conditioned(o, "Available")
	case "Workflow.argoproj.io":
		return workflow(o)
	case "TFJob.kubeflow.org", "PyTorchJob.kubeflow.org", "XGBoostJob.kubeflow.org", "PaddleJob.kubeflow.org", "JAXJob.kubeflow.org", "MPIJob.kubeflow.org":
		return trainingJob(o)
	}
	if content, found, _ := unstructured.NestedMap(o.Object, "status"); reports && (!found || len(content) == 0) {
		return Reading{InProgress, "its controller has not reported on it yet"}
	}
	result, err := status.Compute(o)
	if err != nil {
		return Reading{Unknown, err.Error()}
	}
	return Reading{result.Status, result.Message}
}

func job(o *unstructured.Unstructured) Reading {
	if c := conditionOf(o, "Failed"); c.holds() {
		return Reading{Failed, c.text()}
	}
	if conditionOf(o, "Complete").holds() {
		return Reading{State: Current}
	}
	active, _, _ := unstructured.NestedInt64(o.Object, "status", "active")
	failed, _, _ := unstructured.NestedInt64(o.Object, "status", "failed")
	return Reading{InProgress, fmt.Sprintf("the job has not completed (%d pods active, %d failed)", active, failed)}
}

func pod(o *unstructured.Unstructured) Reading {
	state, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	switch state {
	case "Succeeded":
		return Reading{State: Current}
	case "Failed":
		message, _, _ := unstructured.NestedString(o.Object, "status", "message")
		return Reading{Failed, join("the pod failed", message)}
	}
	if conditionOf(o, "Ready").holds() {
		return Reading{State: Current}
	}
	return Reading{InProgress, join("the pod is not ready", state)}
}

// claim reads a volume claim. One that is bound only when a pod first uses it
// is Current before: the pod will say what is wrong.
func claim(o *unstructured.Unstructured) Reading {
	state, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	switch state {
	case "Lost":
		return Reading{Failed, "its volume is gone"}
	case "Bound":
		return Reading{State: Current}
	}
	return Reading{Current, "it waits for its first pod"}
}

func phase(o *unstructured.Unstructured, want string) Reading {
	state, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	if state == want {
		return Reading{State: Current}
	}
	return Reading{InProgress, join("it is not "+want, state)}
}

func conditioned(o *unstructured.Unstructured, name string) Reading {
	c := conditionOf(o, name)
	if c.holds() {
		return Reading{State: Current}
	}
	return Reading{InProgress, join("it is not "+name, c.text())}
}

func workflow(o *unstructured.Unstructured) Reading {
	state, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	message, _, _ := unstructured.NestedString(o.Object, "status", "message")
	switch state {
	case "Succeeded":
		return Reading{State: Current}
	case "Failed", "Error":
		return Reading{Failed, join(state, message)}
	}
	return Reading{InProgress, join("the workflow has not ended", message)}
}

func trainingJob(o *unstructured.Unstructured) Reading {
	if c := conditionOf(o, "Failed"); c.holds() {
		return Reading{Failed, c.text()}
	}
	if conditionOf(o, "Succeeded").holds() {
		return Reading{State: Current}
	}
	return Reading{InProgress, join("the job has not succeeded", conditionOf(o, "Running").Message)}
}

// condition is one of an object's conditions; the zero condition is none.
type condition struct{ Status, Reason, Message string }

func (c condition) holds() bool { return c.Status == "True" }

func (c condition) text() string { return join(c.Reason, c.Message) }

func conditionOf(o *unstructured.Unstructured, name string) condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, each := range list {
		m, ok := each.(map[string]any)
		if !ok || m["type"] != name {
			continue
		}
		var c condition
		c.Status, _ = m["status"].(string)
		c.Reason, _ = m["reason"].(string)
		c.Message, _ = m["message"].(string)
		return c
	}
	return condition{}
}

// join joins two texts with a colon where both say something.
func join(a, b string) string {
	switch {
	case b == "":
		return a
	case a == "":
		return b
	}
	return a + ": " + b
}
