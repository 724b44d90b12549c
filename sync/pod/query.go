package pod

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Labels and annotations that controllers put on the pods of what they run.
const (
	// KubeSpawner puts the user's name, as it is, into an annotation; the label
	// of the same name holds it escaped.
	hubUser   = "hub.jupyter.org/username"
	hubServer = "hub.jupyter.org/servername"
	// The Notebook controller's.
	notebookName = "notebook-name"
	// The Training Operator's.
	trainingJob   = "training.kubeflow.org/job-name"
	trainingRole  = "training.kubeflow.org/job-role"
	trainingType  = "training.kubeflow.org/replica-type"
	trainingIndex = "training.kubeflow.org/replica-index"
	// JobSet's, which Kubeflow Trainer runs its jobs with, and the index of a
	// Job's pod.
	jobSetName  = "jobset.sigs.k8s.io/jobset-name"
	jobSetStep  = "jobset.sigs.k8s.io/replicatedjob-name"
	jobPodIndex = "batch.kubernetes.io/job-completion-index"
)

// query selects the pods of a target.
type query struct {
	namespace string
	options   metav1.ListOptions
	keep      func(*corev1.Pod) bool
	// part is what tells a pod from the others of the target. Where it is nil,
	// any of them will do.
	part func(*corev1.Pod) string
}

// queryOf says how the target's pods are found. Of what has a selector of its
// own, that object is read.
func queryOf(ctx context.Context, client *kube.Client, t Target) (query, error) {
	q := query{namespace: t.Namespace, keep: func(*corev1.Pod) bool { return true }}
	switch t.Kind {
	case KindPod:
		q.options.FieldSelector = "metadata.name=" + t.Name
		q.keep = func(p *corev1.Pod) bool { return p.Name == t.Name }
	case KindJupyterHub:
		q.options.LabelSelector = hubUser
		q.keep = func(p *corev1.Pod) bool {
			user, server := hubServerOf(p)
			return user == t.Name && server == t.Part
		}
	case KindNotebook:
		q.options.LabelSelector = notebookName + "=" + t.Name
	case KindStatefulSet, KindDeployment, KindJob:
		return owned(ctx, client, t, q)
	case KindTrainJob:
		q.options.LabelSelector = jobSetName + "=" + t.Name
		q.part = func(p *corev1.Pod) string { return indexed(p.Labels[jobSetStep], p.Labels[jobPodIndex]) }
		q.keep = func(p *corev1.Pod) bool { return isPart(t.Part, q.part(p)) }
	default:
		q.options.LabelSelector = trainingJob + "=" + t.Name
		q.part = func(p *corev1.Pod) string { return indexed(p.Labels[trainingType], p.Labels[trainingIndex]) }
		q.keep = func(p *corev1.Pod) bool {
			return isPart(t.Part, q.part(p)) && slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool {
				return strings.EqualFold(o.Kind, string(t.Kind))
			})
		}
	}
	return q, nil
}

// hubServerOf returns the user and the server that a pod is. Hubs that are old
// have the labels alone.
func hubServerOf(p *corev1.Pod) (user, server string) {
	user, server = p.Annotations[hubUser], p.Annotations[hubServer]
	if user == "" {
		user, server = p.Labels[hubUser], p.Labels[hubServer]
	}
	return user, server
}

func indexed(name, index string) string {
	if index == "" {
		index = "0"
	}
	return strings.ToLower(name) + "-" + index
}

// isPart reports whether a pod is the part that is wanted: "worker-1", or
// "worker" for the first of them.
func isPart(wanted, part string) bool {
	return wanted == "" || wanted == part || wanted+"-0" == part
}

// owned reads the object whose pods are wanted, and its selector.
func owned(ctx context.Context, client *kube.Client, t Target, q query) (query, error) {
	resource := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: string(t.Kind) + "s"}
	if t.Kind == KindJob {
		resource.Group = "batch"
	}
	all, err := client.Dynamic.Resource(resource).Namespace(t.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + t.Name})
	if err != nil {
		return query{}, reading(err, t)
	}
	found := slices.DeleteFunc(all.Items, func(o unstructured.Unstructured) bool { return o.GetName() != t.Name })
	switch {
	case len(found) == 0:
		return query{}, &fault.Error{Kind: fault.NotFound, Err: fmt.Errorf("there is no %s %s%s", t.Kind, t.Name, in(t.Namespace))}
	case len(found) > 1:
		var namespaces []string
		for i := range found {
			namespaces = append(namespaces, found[i].GetNamespace())
		}
		return query{}, several(t, namespaces)
	}
	raw, _, err := unstructured.NestedMap(found[0].Object, "spec", "selector")
	var selector metav1.LabelSelector
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector)
	}
	if err != nil {
		return query{}, err
	}
	q.namespace = found[0].GetNamespace()
	q.options.LabelSelector = metav1.FormatLabelSelector(&selector)
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return query{}, &fault.Error{Kind: fault.NotFound, Err: fmt.Errorf("the %s %s selects no pods", t.Kind, t.Name)}
	}
	if t.Part != "" {
		q.keep = func(p *corev1.Pod) bool { return p.Name == t.Name+"-"+t.Part }
	}
	return q, nil
}

// several is the error of a name that is there in several namespaces.
func several(t Target, namespaces []string) error {
	slices.Sort(namespaces)
	return &fault.Error{
		Kind: fault.Usage, Hint: "name one with -n NAMESPACE",
		Err: fmt.Errorf("there is a %s %s in each of the namespaces %s", t.Kind, t.Name, strings.Join(namespaces, ", ")),
	}
}

// reading explains an error of the API server.
func reading(err error, t Target) error {
	if apierrors.IsForbidden(err) && t.Namespace == "" {
		return &fault.Error{Kind: fault.Preflight, Hint: "name the namespace with -n NAMESPACE", Err: fmt.Errorf("looking in all namespaces is not allowed: %w", err)}
	}
	return err
}

func in(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in " + namespace
}
