package pod

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
)

// Pod is one container of one pod, as it is now.
type Pod struct {
	Namespace   string
	Name        string
	ID          types.UID
	Container   string
	ContainerID string // "containerd://…"; another one after a restart
	Image       string // as the pod names it
	ImageID     string // as the node resolved it: the digest that runs
	Node        string
	Arch        string // amd64, arm64; empty where the node may not be looked at
	RunAs       RunAs
}

// RunAs is the user that a container's first process runs as, where the cluster
// says so.
type RunAs struct {
	Known    bool
	UID, GID int64
}

// String says which container it is, for people.
func (p Pod) String() string {
	return fmt.Sprintf("pod %s in %s, container %s", p.Name, p.Namespace, p.Container)
}

// Place is what the container's own files live in: another one after every
// restart.
func (p Pod) Place() string { return string(p.ID) + "/" + p.ContainerID }

// defaultContainer is the annotation that names a pod's main container.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// container returns the name of the container that is meant.
func container(p *corev1.Pod, t Target) (string, error) {
	names := make([]string, 0, len(p.Spec.Containers))
	for i := range p.Spec.Containers {
		names = append(names, p.Spec.Containers[i].Name)
	}
	all := strings.Join(names, ", ")
	if t.Container != "" {
		if slices.Contains(names, t.Container) {
			return t.Container, nil
		}
		return "", &fault.Error{Kind: fault.NotFound, Err: fmt.Errorf("the pod %s has no container %s; it has %s", p.Name, t.Container, all)}
	}
	if len(names) == 1 {
		return names[0], nil
	}
	for _, likely := range []string{p.Annotations[defaultContainer], usual(t)} {
		if slices.Contains(names, likely) {
			return likely, nil
		}
	}
	names = slices.DeleteFunc(names, sidecar)
	if len(names) == 1 {
		return names[0], nil
	}
	return "", &fault.Error{
		Kind: fault.Usage, Hint: "name one with -c CONTAINER",
		Err: fmt.Errorf("the pod %s has the containers %s", p.Name, all),
	}
}

// usual returns the name that the kind's controller gives, or wants, the
// container that does the work.
func usual(t Target) string {
	switch t.Kind {
	case KindJupyterHub:
		return "notebook"
	case KindNotebook:
		return t.Name
	case KindTFJob:
		return "tensorflow"
	case KindPyTorchJob:
		return "pytorch"
	case KindMPIJob:
		return "mpi"
	case KindXGBoostJob:
		return "xgboost"
	case KindPaddleJob:
		return "paddle"
	case KindJAXJob:
		return "jax"
	case KindTrainJob:
		return "node"
	default:
		return ""
	}
}

// sidecar knows containers that others put into pods.
func sidecar(name string) bool {
	switch name {
	case "istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane", "envoy", "vault-agent", "cloud-sql-proxy",
		"gke-gcsfuse-sidecar", "kube-rbac-proxy", "oauth-proxy", "wait":
		return true
	}
	return false
}

// errNotRunning is in the chain of every error about a container that may run
// later.
var errNotRunning = errors.New("is not running")

// running returns the container as it runs.
func running(p *corev1.Pod, t Target) (Pod, error) {
	name, err := container(p, t)
	if err != nil {
		return Pod{}, err
	}
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	switch {
	case p.DeletionTimestamp != nil:
		return Pod{}, fmt.Errorf("%s %w: it is being deleted", p.Name, errNotRunning)
	case i < 0:
		return Pod{}, fmt.Errorf("%s %w: %s", p.Name, errNotRunning, waiting(p))
	}
	status := p.Status.ContainerStatuses[i]
	if status.State.Running == nil {
		return Pod{}, fmt.Errorf("%s %w: %s", p.Name, errNotRunning, stateOf(status.State, p))
	}
	found := Pod{
		Namespace: p.Namespace, Name: p.Name, ID: p.UID, Node: p.Spec.NodeName,
		Container: name, ContainerID: status.ContainerID, ImageID: status.ImageID, Image: status.Image,
		RunAs: runAs(p, name, status),
	}
	if spec := find(p, name); spec != nil {
		found.Image = spec.Image
	}
	return found, nil
}

func find(p *corev1.Pod, name string) *corev1.Container {
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == name {
			return &p.Spec.Containers[i]
		}
	}
	return nil
}

// runAs says which user a container has: what the node reports, else what its
// specification says.
func runAs(p *corev1.Pod, name string, status corev1.ContainerStatus) RunAs {
	if status.User != nil && status.User.Linux != nil {
		return RunAs{Known: true, UID: status.User.Linux.UID, GID: status.User.Linux.GID}
	}
	var uid, gid *int64
	if s := p.Spec.SecurityContext; s != nil {
		uid, gid = s.RunAsUser, s.RunAsGroup
	}
	if c := find(p, name); c != nil && c.SecurityContext != nil {
		if c.SecurityContext.RunAsUser != nil {
			uid = c.SecurityContext.RunAsUser
		}
		if c.SecurityContext.RunAsGroup != nil {
			gid = c.SecurityContext.RunAsGroup
		}
	}
	if uid == nil || gid == nil {
		return RunAs{}
	}
	return RunAs{Known: true, UID: *uid, GID: *gid}
}

// waiting says why a pod has no containers yet.
func waiting(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	if p.Status.Message != "" {
		return p.Status.Message
	}
	return "it is " + string(p.Status.Phase)
}

// stateOf says in which state a container is that does not run.
func stateOf(s corev1.ContainerState, p *corev1.Pod) string {
	switch {
	case s.Terminated != nil:
		return fmt.Sprintf("it has ended (%s, exit code %d)", s.Terminated.Reason, s.Terminated.ExitCode)
	case s.Waiting != nil && s.Waiting.Message != "":
		return s.Waiting.Reason + ": " + s.Waiting.Message
	case s.Waiting != nil && s.Waiting.Reason != "":
		return s.Waiting.Reason
	default:
		return waiting(p)
	}
}

// isReady reports the pod's Ready condition.
func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
