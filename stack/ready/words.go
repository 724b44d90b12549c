package ready

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// Limits on what is told of one object.
const (
	wordPods   = 2
	wordLines  = 5
	wordEvents = 3
	wordBytes  = 4 << 10
)

// lastWords asks what stands between an object and its being ready: its events,
// its pods' containers, and the last lines of their logs. What cannot be found
// out is left out: the error that is being explained is another one.
func (w *Waiter) lastWords(ctx context.Context, o *unstructured.Unstructured, name apply.Object) []string {
	words := w.events(ctx, name.Kind, name.Namespace, name.Name)
	selector := podSelector(o)
	if selector == "" {
		return words
	}
	list, err := w.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(name.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return words
	}
	told := 0
	for i := range list.Items {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &pod); err != nil || isReady(&pod) {
			continue
		}
		if told++; told > wordPods {
			continue
		}
		words = append(words, Describe(&pod)...)
		words = append(words, w.logs(ctx, &pod)...)
		words = append(words, w.events(ctx, "Pod", pod.Namespace, pod.Name)...)
	}
	if told > wordPods {
		words = append(words, fmt.Sprintf("and %d more pods", told-wordPods))
	}
	return words
}

// podSelector returns the label selector of an object's pods, or "".
func podSelector(o *unstructured.Unstructured) string {
	if o == nil {
		return ""
	}
	path := []string{"spec", "selector", "matchLabels"}
	if o.GetKind() == "Service" {
		path = path[:2]
	}
	set, found, err := unstructured.NestedStringMap(o.Object, path...)
	if !found || err != nil || len(set) == 0 {
		return ""
	}
	return labels.Set(set).String()
}

func isReady(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// Describe says, line by line, what a pod that is not ready waits for: that it
// cannot be scheduled, that a container waits, ended or does not answer.
func Describe(pod *corev1.Pod) []string {
	var lines []string
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			lines = append(lines, fmt.Sprintf("pod %s: %s", pod.Name, join(c.Reason, c.Message)))
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if text := describe(s); text != "" {
			lines = append(lines, fmt.Sprintf("pod %s: container %s %s", pod.Name, s.Name, text))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("pod %s: %s", pod.Name, join(string(pod.Status.Phase), join(pod.Status.Reason, pod.Status.Message))))
	}
	return lines
}

func describe(s corev1.ContainerStatus) string {
	var text string
	switch {
	case s.State.Waiting != nil && s.State.Waiting.Reason == "PodInitializing":
		return ""
	case s.State.Waiting != nil:
		text = "waits: " + join(s.State.Waiting.Reason, s.State.Waiting.Message)
	case s.State.Terminated != nil && s.State.Terminated.ExitCode == 0:
		return ""
	case s.State.Terminated != nil:
		return ended(s.State.Terminated)
	case s.Ready:
		return ""
	default:
		text = "runs but is not ready"
	}
	if t := s.LastTerminationState.Terminated; t != nil {
		text += fmt.Sprintf("; before, it %s (%d restarts)", ended(t), s.RestartCount)
	}
	return text
}

func ended(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("ended with exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	return join(text, strings.TrimSpace(t.Message))
}

// logs returns the last lines of the containers that are not well.
func (w *Waiter) logs(ctx context.Context, pod *corev1.Pod) []string {
	var lines []string
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if describe(s) == "" {
			continue
		}
		// While a container waits to be started again, its last words are those
		// of its life before.
		previous := s.State.Waiting != nil && s.LastTerminationState.Terminated != nil
		log, err := w.client.Logs(ctx, pod.Namespace, pod.Name, kube.LogOptions{Container: s.Name, Tail: wordLines, Previous: previous})
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(io.LimitReader(log, wordBytes))
		_ = log.Close()
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			if line != "" {
				lines = append(lines, s.Name+"> "+line)
			}
		}
	}
	return lines
}

// events returns the last warnings about an object.
func (w *Waiter) events(ctx context.Context, kind, namespace, name string) []string {
	list, err := w.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(namespace).
		List(ctx, metav1.ListOptions{FieldSelector: fmt.Sprintf("involvedObject.kind=%s,involvedObject.name=%s,type=Warning", kind, name)})
	if err != nil {
		return nil
	}
	type event struct{ when, text string }
	var all []event
	for _, e := range list.Items {
		reason, _, _ := unstructured.NestedString(e.Object, "reason")
		message, _, _ := unstructured.NestedString(e.Object, "message")
		when, _, _ := unstructured.NestedString(e.Object, "lastTimestamp")
		if when == "" {
			when, _, _ = unstructured.NestedString(e.Object, "eventTime")
		}
		all = append(all, event{when, "event: " + join(reason, message)})
	}
	slices.SortStableFunc(all, func(a, b event) int { return strings.Compare(a.when, b.when) })
	var lines []string
	for _, e := range all[max(0, len(all)-wordEvents):] {
		lines = append(lines, e.text)
	}
	return lines
}
