package logs

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// container is what a pod's status says of one of its containers. A container
// that restarts lives more than once, each time under another ID.
type container struct {
	name    string
	life    string // that the kubelet has a log of; empty before the first
	before  string // the life before that; empty where there was none
	running bool
	why     string // it has not started, in the kubelet's words
}

// containersOf returns all containers of a pod in the order they start in: init
// containers (sidecars among them), containers, ephemeral ones.
func containersOf(pod corev1.Pod) []container {
	var all []container
	add := func(names []string, statuses []corev1.ContainerStatus) {
		for _, name := range names {
			c := container{name: name, why: string(pod.Status.Phase)}
			for _, s := range statuses {
				if s.Name == name {
					c = containerOf(s)
				}
			}
			all = append(all, c)
		}
	}
	add(names(pod.Spec.InitContainers, func(c corev1.Container) string { return c.Name }), pod.Status.InitContainerStatuses)
	add(names(pod.Spec.Containers, func(c corev1.Container) string { return c.Name }), pod.Status.ContainerStatuses)
	add(names(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) string { return c.Name }), pod.Status.EphemeralContainerStatuses)
	return all
}

func names[C any](all []C, name func(C) string) []string {
	out := make([]string, 0, len(all))
	for _, c := range all {
		out = append(out, name(c))
	}
	return out
}

// containerOf tells which life's log the kubelet would give now, as it decides
// that itself (validateContainerLogStatus in its kubelet_pods.go): of the one
// that runs or has ended, else of the last that ended.
func containerOf(s corev1.ContainerStatus) container {
	c := container{name: s.Name}
	if last := s.LastTerminationState.Terminated; last != nil {
		c.before = last.ContainerID
	}
	switch {
	case s.State.Running != nil:
		c.life, c.running = s.ContainerID, true
	case s.State.Terminated != nil && s.State.Terminated.ContainerID != "":
		c.life = s.State.Terminated.ContainerID
	default:
		c.life = c.before
	}
	if waits := s.State.Waiting; c.life == "" && waits != nil {
		c.why = strings.TrimSuffix(waits.Reason+": "+waits.Message, ": ")
	}
	return c
}
