package smoke

import (
	"context"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// How much of a failing pod is told.
const (
	wordLines = 15
	wordBytes = 4 << 10
	wordPods  = 5
)

// LastWords tells why the pods of a namespace have failed or do not start:
// reasons, exit codes and the last lines of their logs. It is best effort:
// what can't be read is left out.
func LastWords(ctx context.Context, kube kubernetes.Interface, namespace string) string {
	pods, err := kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	var told []string
	for _, pod := range pods.Items {
		if words := podWords(ctx, kube, &pod); words != "" {
			told = append(told, words)
		}
	}
	if len(told) > wordPods {
		told = append(told[:wordPods], fmt.Sprintf("and %d more pods", len(told)-wordPods))
	}
	return strings.Join(told, "\n")
}

func podWords(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) string {
	var told []string
	if pod.Status.Phase == corev1.PodPending {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				told = append(told, fmt.Sprintf("pod %s: %s: %s", pod.Name, c.Reason, c.Message))
			}
		}
	}
	statuses := append(append([]corev1.ContainerStatus(nil), pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	for _, s := range statuses {
		why := containerWords(s)
		if why == "" {
			continue
		}
		told = append(told, fmt.Sprintf("pod %s, container %s: %s", pod.Name, s.Name, why))
		if s.State.Waiting == nil || s.RestartCount > 0 {
			told = append(told, tail(ctx, kube, pod, s))
		}
	}
	return strings.TrimRight(strings.Join(told, "\n"), "\n")
}

// containerWords says what is wrong with a container, or nothing when nothing is.
func containerWords(s corev1.ContainerStatus) string {
	switch {
	case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
		t := s.State.Terminated
		return strings.TrimSpace(fmt.Sprintf("%s, exit code %d %s", t.Reason, t.ExitCode, t.Message))
	case s.State.Waiting != nil && s.State.Waiting.Reason != "PodInitializing" && s.State.Waiting.Reason != "ContainerCreating":
		return strings.TrimSpace(s.State.Waiting.Reason + " " + s.State.Waiting.Message)
	case s.State.Running != nil && !s.Ready:
		return "runs, but is not ready"
	}
	return ""
}

func tail(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod, s corev1.ContainerStatus) string {
	lines := int64(wordLines)
	log, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: s.Name, TailLines: &lines, Previous: s.State.Waiting != nil,
	}).Stream(ctx)
	if err != nil {
		return ""
	}
	defer log.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(log, wordBytes))
	if err != nil || len(text) == 0 {
		return ""
	}
	return "  | " + strings.ReplaceAll(strings.TrimRight(string(text), "\n"), "\n", "\n  | ")
}

// withWords puts the pods' last words behind an error.
func withWords(err error, words string) error {
	if words == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, words)
}
