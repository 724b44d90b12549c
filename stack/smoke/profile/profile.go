// Package profile is the smoke test of the Profile controller: a team gets a
// namespace in which its owner may work, a stranger may not, and nobody may
// take more than the team's quota.
package profile

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

const (
	owner    = "smoke-owner@kfdev.internal"
	stranger = "smoke-stranger@kfdev.internal"
	quota    = "kf-resource-quota" // the controller's name for a team's quota
	pods     = 1                   // that the quota allows
	podImage = "pause"             // the component's name for the image of the pods
)

// Test is the smoke test.
type Test struct{}

// Name returns "profile".
func (Test) Name() string { return "profile" }

// Needs are the rights to make a profile, to see what the controller made of
// it, and to ask as others.
func (Test) Needs(string) []apply.Missing {
	needs := apply.Need("to prove that profiles hold", "impersonate", "users", "")
	needs = append(needs, apply.Need("to prove that profiles hold", "create delete", "profiles.kubeflow.org", "")...)
	for _, made := range []string{"namespaces", "resourcequotas", "serviceaccounts", "pods"} {
		needs = append(needs, apply.Need("to prove that profiles hold", "list watch", made, "")...)
	}
	return needs
}

// Run makes a profile, works in it, and removes it.
func (t Test) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	team := &team{env: env, name: env.Namespace + "-team"}
	return smoke.Record(t.Name(), env.Sink).Steps(ctx, []smoke.Do{
		{Name: "make a profile", Func: team.create},
		{Name: "wait for its namespace, roles and quota", Func: team.settled},
		{Name: "let a stranger try to work in it", Func: team.strangerIsRefused},
		{Name: "let its owner work in it", Func: team.ownerWorks},
		{Name: "let its owner ask for more than the quota", Func: team.quotaHolds},
		{Name: "remove the profile with its namespace", Func: team.remove},
	})
}

// team is the profile under test.
type team struct {
	env  smoke.Env
	name string
}

func profiles() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "profiles"}
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

// create makes the profile. The test's own namespace owns it, so that it goes
// with that also where the test was killed.
func (t *team) create(ctx context.Context) error {
	own, err := t.env.Kube.CoreV1().Namespaces().Get(ctx, t.env.Namespace, metav1.GetOptions{})
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubeflow.org/v1", "kind": "Profile",
		"metadata": map[string]any{"name": t.name, "ownerReferences": []any{map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "name": own.Name, "uid": string(own.UID),
		}}},
		"spec": map[string]any{
			"owner":             map[string]any{"kind": "User", "name": owner},
			"resourceQuotaSpec": map[string]any{"hard": map[string]any{"pods": fmt.Sprint(pods)}},
		},
	}}
	_, err = t.env.Dynamic.Resource(profiles()).Create(ctx, object, metav1.CreateOptions{})
	return err
}

// settled waits for what the controller makes last of what the test needs, and
// until Kubernetes counts by the quota.
func (t *team) settled(ctx context.Context) error {
	err := smoke.Until(ctx, t.env.Dynamic, core("resourcequotas"), t.name, quota, func(o *unstructured.Unstructured) (bool, error) {
		hard, _, err := unstructured.NestedString(o.Object, "status", "hard", "pods")
		return hard != "", err
	})
	if err != nil {
		return err
	}
	for _, account := range []string{"default", "default-editor"} {
		err := smoke.Until(ctx, t.env.Dynamic, core("serviceaccounts"), t.name, account, func(*unstructured.Unstructured) (bool, error) { return true, nil })
		if err != nil {
			return err
		}
	}
	ns, err := t.env.Kube.CoreV1().Namespaces().Get(ctx, t.name, metav1.GetOptions{})
	if err == nil && ns.Annotations["owner"] != owner {
		err = fmt.Errorf("the namespace's owner is %q, not %q", ns.Annotations["owner"], owner)
	}
	if err != nil {
		return err
	}
	return t.env.Lend(ctx, t.name)
}

func (t *team) strangerIsRefused(ctx context.Context) error {
	client, err := t.env.As(stranger)
	if err != nil {
		return err
	}
	err = t.run(ctx, client, "stranger")
	if err == nil {
		return errors.New("a stranger made a pod in the team's namespace")
	}
	if !apierrors.IsForbidden(err) {
		return err
	}
	return nil
}

// ownerWorks has the owner make a pod, read it, and pass a role on.
func (t *team) ownerWorks(ctx context.Context) error {
	client, err := t.env.As(owner)
	if err != nil {
		return err
	}
	if err := t.run(ctx, client, "first"); err != nil {
		return err
	}
	if _, err := client.CoreV1().Pods(t.name).Get(ctx, "first", metav1.GetOptions{}); err != nil {
		return err
	}
	return smoke.Until(ctx, t.env.Dynamic, core("pods"), t.name, "first", func(o *unstructured.Unstructured) (bool, error) {
		phase, _, err := unstructured.NestedString(o.Object, "status", "phase")
		return phase == string(corev1.PodRunning), err
	})
}

func (t *team) quotaHolds(ctx context.Context) error {
	client, err := t.env.As(owner)
	if err != nil {
		return err
	}
	err = t.run(ctx, client, "second")
	if err == nil {
		return fmt.Errorf("a second pod was admitted, where the quota allows %d", pods)
	}
	if !apierrors.IsForbidden(err) {
		return err
	}
	return nil
}

func (t *team) remove(ctx context.Context) error {
	if err := t.env.Dynamic.Resource(profiles()).Delete(ctx, t.name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return smoke.Gone(ctx, t.env.Dynamic, core("namespaces"), "", "kubernetes.io/metadata.name="+t.name)
}

// run makes a pod as the client's user.
func (t *team) run(ctx context.Context, client kubernetes.Interface, name string) error {
	image, err := t.env.Image(podImage)
	if err != nil {
		return err
	}
	zero := int64(0)
	yes, no := true, false
	_, err = client.CoreV1().Pods(t.name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &zero, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "pause", Image: image,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Mi")}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					RunAsUser: new(int64(65534)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
		},
	}, metav1.CreateOptions{})
	return err
}
