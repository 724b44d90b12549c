package pod

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/exec"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// ephemeralPrefix begins the names of the ephemeral containers that are kfdev's.
const ephemeralPrefix = "kfdev-sync-"

// pulledWithin bounds how long an ephemeral container may take to run.
const pulledWithin = 2 * time.Minute

// rights is what a person has to be allowed, for the hint.
const rights = "it takes the rights to patch pods/ephemeralcontainers and to create pods/exec in the namespace, and a pod security level that allows the container what the target has"

// ephemeral gets in through a container of the helper's own, which is put into
// the pod beside the target, sees the target's processes, and runs as its user.
// It can't be taken out again: it stays, idle, until the pod ends, and is used
// by every later session. Why says what is wrong with the container itself.
func (c connector) ephemeral(ctx context.Context, why error) (io.ReadWriteCloser, How, error) {
	fail := func(err error) (io.ReadWriteCloser, How, error) {
		return nil, How{}, fmt.Errorf("%w, and a container of the helper's own does not help: %w", why, err)
	}
	now, err := c.read(ctx)
	if err != nil {
		return fail(err)
	}
	name, there := c.beside(now)
	if !there {
		if name, err = c.add(ctx, now); err != nil {
			return fail(err)
		}
	}
	if err := c.await(ctx, name); err != nil {
		return fail(err)
	}
	stream, how, err := c.enter(ctx, name, now.Spec.ShareProcessNamespace != nil && *now.Spec.ShareProcessNamespace)
	if err != nil {
		return fail(err)
	}
	return stream, how, nil
}

// enter starts the helper in the container of its own.
func (c connector) enter(ctx context.Context, name string, shared bool) (io.ReadWriteCloser, How, error) {
	mark, err := randomWord()
	if err != nil {
		return nil, How{}, err
	}
	stream, err := c.client.Stream(ctx, kube.Exec{
		Namespace: c.pod.Namespace, Pod: c.pod.Name, Container: name,
		Command: []string{program.Path, "serve", "-mark", mark, "-container", bareID(c.pod.ContainerID), "-shared=" + strconv.FormatBool(shared)},
	})
	if err != nil {
		return nil, How{}, err
	}
	entered, err := talk(ctx, stream, func(in *bufio.Reader) error {
		word, _, err := answer(in, mark)
		if err == nil && word != "start" {
			err = fmt.Errorf("the helper answered %q", word)
		}
		return err
	})
	var exit exec.CodeExitError
	if errors.As(err, &exit) { // it says itself why it can't
		err = &fault.Error{Kind: fault.Preflight, Err: err}
	}
	if err != nil {
		return nil, How{}, err
	}
	return entered, How{Container: name, File: program.Path}, nil
}

// read gets the pod, which must still be the one.
func (c connector) read(ctx context.Context) (*corev1.Pod, error) {
	o, err := podsOf(c.client, c.pod.Namespace).Get(ctx, c.pod.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pods, err := typed([]unstructured.Unstructured{*o})
	if err != nil {
		return nil, err
	}
	if reason := changed(pods[0], c.pod); reason != "" {
		return nil, errors.New(reason)
	}
	return pods[0], nil
}

// beside returns the name of a container of the helper's that is beside the
// target already and runs, or may soon.
func (c connector) beside(p *corev1.Pod) (string, bool) {
	for _, e := range p.Spec.EphemeralContainers {
		if !strings.HasPrefix(e.Name, ephemeralPrefix) || e.TargetContainerName != c.pod.Container || e.Image != c.o.EphemeralImage {
			continue
		}
		i := slices.IndexFunc(p.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == e.Name })
		if i < 0 || p.Status.EphemeralContainerStatuses[i].State.Terminated == nil {
			return e.Name, true
		}
	}
	return "", false
}

// add puts a container of the helper's beside the target.
func (c connector) add(ctx context.Context, p *corev1.Pod) (string, error) {
	used := map[string]bool{}
	for _, e := range p.Spec.EphemeralContainers {
		used[e.Name] = true
	}
	n := 1
	for used[ephemeralPrefix+strconv.Itoa(n)] {
		n++
	}
	name := ephemeralPrefix + strconv.Itoa(n)
	progress.Warn(c.o.Sink, fmt.Sprintf("the container %s has no shell to get in by: a container of kfdev's own, %s, is put into the pod beside it, as its user; it stays there, idle, until the pod ends", c.pod.Container, name))
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: name, Image: c.o.EphemeralImage, Command: []string{program.Path, "idle"},
			ImagePullPolicy: corev1.PullIfNotPresent, SecurityContext: c.security(p),
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		},
		TargetContainerName: c.pod.Container,
	}}}})
	if err != nil {
		return "", err
	}
	_, err = podsOf(c.client, p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		err = &fault.Error{Kind: fault.Preflight, Hint: rights, Err: err}
	}
	return name, err
}

// security returns the target's own rights, no more and no fewer: with fewer it
// may not look into the target's files, with more it would be let do what the
// target may not.
func (c connector) security(p *corev1.Pod) *corev1.SecurityContext {
	context := &corev1.SecurityContext{}
	if target := find(p, c.pod.Container); target != nil && target.SecurityContext != nil {
		context = target.SecurityContext.DeepCopy()
	}
	if c.pod.RunAs.Known {
		context.RunAsUser, context.RunAsGroup = &c.pod.RunAs.UID, &c.pod.RunAs.GID
	}
	closed := true
	context.ReadOnlyRootFilesystem = &closed
	return context
}

// await waits until the container runs.
func (c connector) await(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, pulledWithin)
	defer cancel()
	state := "nothing is known of it yet"
	err := kube.Until(ctx, podsOf(c.client, c.pod.Namespace), c.pod.Name, func(o *unstructured.Unstructured) (bool, error) {
		if o == nil {
			return false, errors.New("the pod is gone")
		}
		pods, err := typed([]unstructured.Unstructured{*o})
		if err != nil {
			return false, err
		}
		for _, s := range pods[0].Status.EphemeralContainerStatuses {
			if s.Name != name {
				continue
			}
			if s.State.Running != nil {
				return true, nil
			}
			state = stateOf(s.State, pods[0])
			if hopeless(s.State) {
				return false, &fault.Error{Kind: fault.Preflight, Err: fmt.Errorf("%s does not run: %s", name, state)}
			}
		}
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Err: fmt.Errorf("%s does not run: %s", name, state)}
	}
	return err
}

// hopeless reports a state of a container that will not pass by itself.
func hopeless(s corev1.ContainerState) bool {
	if s.Waiting == nil {
		return s.Terminated != nil
	}
	switch s.Waiting.Reason {
	case "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return true
	}
	return false
}

// bareID is a container's ID without the runtime's name before it.
func bareID(id string) string {
	_, bare, found := strings.Cut(id, "://")
	if !found {
		return id
	}
	return bare
}
