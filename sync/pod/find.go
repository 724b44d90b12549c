package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// listed bounds how many candidates an error names.
const listed = 8

func podsOf(client *kube.Client, namespace string) dynamic.ResourceInterface {
	return client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace)
}

// Find returns the pod that the target names now: of several equal ones the
// newest that is ready, else the newest that runs. What does not run, or is not
// there, is a fault of kind NotFound; a target that fits several is one of kind
// Usage. Both name what there is.
func Find(ctx context.Context, client *kube.Client, t Target) (Pod, error) {
	fail := func(err error) (Pod, error) {
		return Pod{}, &fault.Error{Op: "finding the pod", Subject: t.String(), Err: err}
	}
	q, err := queryOf(ctx, client, t)
	if err != nil {
		return fail(err)
	}
	list, err := podsOf(client, q.namespace).List(ctx, q.options)
	if err != nil {
		return fail(reading(err, t))
	}
	pods, err := typed(list.Items)
	if err != nil {
		return fail(err)
	}
	found, err := choose(pods, t, q)
	if err != nil {
		return fail(err)
	}
	if found.Arch, err = architecture(ctx, client, found.Node); err != nil {
		return fail(err)
	}
	return found, nil
}

// Await is Find, but waits until there is such a pod and it runs. What waiting
// can't help is an error as in Find: a target that fits several, an object that
// has pods and is not there.
func Await(ctx context.Context, client *kube.Client, t Target) (Pod, error) {
	fail := func(err error) (Pod, error) {
		return Pod{}, &fault.Error{Op: "waiting for the pod", Subject: t.String(), Err: err}
	}
	q, err := queryOf(ctx, client, t)
	if err != nil {
		return fail(err)
	}
	there := map[string]*corev1.Pod{}
	var found Pod
	look := func() (bool, error) {
		pods := make([]*corev1.Pod, 0, len(there))
		for _, p := range there {
			pods = append(pods, p)
		}
		found, err = choose(pods, t, q)
		if errors.Is(err, errNotRunning) {
			return false, nil
		}
		return err == nil, err
	}
	err = kube.Follow(ctx, podsOf(client, q.namespace), q.options,
		func(items []unstructured.Unstructured) (bool, error) {
			clear(there)
			pods, err := typed(items)
			if err != nil {
				return false, err
			}
			for _, p := range pods {
				there[p.Namespace+"/"+p.Name] = p
			}
			return look()
		},
		func(o *unstructured.Unstructured, gone bool) (bool, error) {
			pods, err := typed([]unstructured.Unstructured{*o})
			if err != nil {
				return false, err
			}
			delete(there, o.GetNamespace()+"/"+o.GetName())
			if !gone {
				there[o.GetNamespace()+"/"+o.GetName()] = pods[0]
			}
			return look()
		})
	if err != nil {
		return fail(reading(err, t))
	}
	if found.Arch, err = architecture(ctx, client, found.Node); err != nil {
		return fail(err)
	}
	return found, nil
}

// Gone returns, with the reason, as soon as the container is no longer the one
// it was: its pod is being deleted, is another one, or the container has ended
// or been restarted.
func Gone(ctx context.Context, client *kube.Client, p Pod) (reason string, err error) {
	err = kube.Until(ctx, podsOf(client, p.Namespace), p.Name, func(o *unstructured.Unstructured) (bool, error) {
		if o == nil {
			reason = "the pod is gone"
			return true, nil
		}
		pods, err := typed([]unstructured.Unstructured{*o})
		if err != nil {
			return false, err
		}
		reason = changed(pods[0], p)
		return reason != "", nil
	})
	if err != nil {
		return "", &fault.Error{Op: "watching the pod", Subject: p.Namespace + "/" + p.Name, Err: err}
	}
	return reason, nil
}

// changed says in what a pod is no longer what it was, or nothing.
func changed(now *corev1.Pod, was Pod) string {
	if now.UID != was.ID {
		return "the pod was replaced"
	}
	if now.DeletionTimestamp != nil {
		return "the pod is being deleted"
	}
	for _, s := range now.Status.ContainerStatuses {
		switch {
		case s.Name != was.Container:
		case s.State.Running == nil:
			return "the container ended: " + stateOf(s.State, now)
		case s.ContainerID != was.ContainerID:
			return "the container was restarted"
		}
	}
	return ""
}

func typed(items []unstructured.Unstructured) ([]*corev1.Pod, error) {
	pods := make([]*corev1.Pod, 0, len(items))
	for i := range items {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(items[i].Object, &p); err != nil {
			return nil, err
		}
		pods = append(pods, &p)
	}
	return pods, nil
}

// choose returns the one of the pods that the target means.
func choose(pods []*corev1.Pod, t Target, q query) (Pod, error) {
	all := pods
	pods = slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return !q.keep(p) })
	if len(pods) == 0 {
		return Pod{}, none(all, t, q)
	}
	slices.SortFunc(pods, before)
	var fits []*corev1.Pod
	var problems []error
	namespaces, parts := map[string]bool{}, map[string]bool{}
	for _, p := range pods {
		if _, err := running(p, t); err != nil {
			problems = append(problems, err)
			continue
		}
		fits = append(fits, p)
		namespaces[p.Namespace] = true
		if q.part != nil {
			parts[q.part(p)] = true
		}
	}
	switch {
	case len(fits) == 0:
		return Pod{}, notRunning(problems)
	case len(namespaces) > 1:
		return Pod{}, several(t, keys(namespaces))
	case len(parts) > 1:
		lead := slices.IndexFunc(fits, func(p *corev1.Pod) bool { return p.Labels[trainingRole] == "master" })
		if lead < 0 {
			return Pod{}, &fault.Error{
				Kind: fault.Usage, Hint: fmt.Sprintf("name one: %s/%s/%s", t.Kind, t.Name, keys(parts)[0]),
				Err: fmt.Errorf("the %s %s has the replicas %s", t.Kind, t.Name, strings.Join(keys(parts), ", ")),
			}
		}
		return running(fits[lead], t)
	}
	return running(fits[0], t)
}

// before sorts the pods that are ready first, then the newer ones.
func before(a, b *corev1.Pod) int {
	switch {
	case isReady(a) != isReady(b):
		if isReady(a) {
			return -1
		}
		return 1
	case !a.CreationTimestamp.Equal(&b.CreationTimestamp):
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	default:
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	}
}

// notRunning is the error of a target whose pods don't run: an error that no
// wait helps comes before one that a wait may.
func notRunning(problems []error) error {
	for _, err := range problems {
		if !errors.Is(err, errNotRunning) {
			return err
		}
	}
	return &fault.Error{Kind: fault.NotFound, Err: errors.Join(problems[:min(len(problems), listed)]...)}
}

// none is the error of a target that has no pods. It names those of the kind
// that there are.
func none(all []*corev1.Pod, t Target, q query) error {
	var have []string
	for _, p := range all {
		switch user, server := hubServerOf(p); {
		case t.Kind == KindJupyterHub && server != "":
			have = append(have, user+"/"+server)
		case t.Kind == KindJupyterHub:
			have = append(have, user)
		case q.part != nil && t.Part != "":
			have = append(have, t.Name+"/"+q.part(p))
		}
	}
	what, hint := "a pod", ""
	if t.Kind == KindJupyterHub {
		what, hint = "a server", "start the server in the hub first"
	}
	err := fmt.Errorf("%s of %s/%s%s %w: there is none", what, t.Kind, t.Name, in(t.Namespace), errNotRunning)
	if len(have) > 0 {
		slices.Sort(have)
		err = fmt.Errorf("%w; there are %s", err, strings.Join(have[:min(len(have), listed)], ", "))
	}
	return &fault.Error{Kind: fault.NotFound, Hint: hint, Err: err}
}

func keys(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// architecture returns what a node's processor is. Whoever may not look at
// nodes learns it from the container itself.
func architecture(ctx context.Context, client *kube.Client, node string) (string, error) {
	o, err := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", ctx.Err()
	}
	system, _, _ := unstructured.NestedString(o.Object, "status", "nodeInfo", "operatingSystem")
	if system != "" && system != "linux" {
		return "", &fault.Error{Kind: fault.Preflight, Err: fmt.Errorf("the pod runs on %s; only Linux is known", system)}
	}
	arch, _, _ := unstructured.NestedString(o.Object, "status", "nodeInfo", "architecture")
	return arch, nil
}
