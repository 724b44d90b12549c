package smoke

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/stack/ready"
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
	unwell := 0
	for _, pod := range pods.Items {
		if well(&pod) {
			continue
		}
		if unwell++; unwell > wordPods {
			continue
		}
		told = append(told, ready.Describe(&pod)...)
		told = append(told, tails(ctx, kube, &pod)...)
	}
	if unwell > wordPods {
		told = append(told, fmt.Sprintf("and %d more pods", unwell-wordPods))
	}
	return strings.Join(told, "\n")
}

func well(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// tails returns the last lines of the containers that failed, or that run and
// are not ready.
func tails(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) []string {
	var told []string
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		previous := s.State.Waiting != nil && s.LastTerminationState.Terminated != nil
		failed := s.State.Terminated != nil && s.State.Terminated.ExitCode != 0
		if previous || failed || s.State.Running != nil && !s.Ready {
			told = append(told, tail(ctx, kube, pod, s.Name, previous)...)
		}
	}
	return told
}

func tail(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod, container string, previous bool) []string {
	lines := int64(wordLines)
	log, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, TailLines: &lines, Previous: previous,
	}).Stream(ctx)
	if err != nil {
		return nil
	}
	defer log.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(log, wordBytes))
	if err != nil || len(text) == 0 {
		return nil
	}
	var told []string
	for line := range strings.Lines(string(text)) {
		told = append(told, container+"> "+strings.TrimRight(line, "\n"))
	}
	return told
}

// withWords puts the pods' last words behind an error.
func withWords(err error, words string) error {
	if words == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, words)
}
