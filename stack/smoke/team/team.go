// Package team proves of every profile of a project that its owner and its
// contributors may do what their roles say in its namespace, that a stranger
// may not, and that nobody may take more than its quota. Pods are only asked
// for, with the server's dry run: none is made, and nothing of a team's work is
// touched.
package team

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

const (
	stranger = "smoke-stranger@kfdev.internal"
	podImage = "pause" // the component's name for the image of the pods
)

// Test is the smoke test of all profiles of the component.
type Test struct{}

// Name returns "profiles".
func (Test) Name() string { return "profiles" }

// Needs are the rights to ask as others, and to see what the controller made.
func (Test) Needs(string) []apply.Missing {
	needs := apply.Need("to prove that profiles hold", "impersonate", "users", "")
	for _, made := range []string{"rolebindings.rbac.authorization.k8s.io", "resourcequotas", "serviceaccounts"} {
		needs = append(needs, apply.Need("to prove that profiles hold", "list watch", made, "")...)
	}
	return needs
}

// MakesNothing says that it only asks.
func (Test) MakesNothing() {}

// Run asks, for every profile, for pods as each of its people.
func (t Test) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	image, err := env.Image(podImage)
	if err != nil {
		return smoke.Result{}, err
	}
	var steps []smoke.Do
	for _, o := range env.Objects {
		if o.GetKind() != "Profile" {
			continue
		}
		p, err := profileOf(o, env.Objects)
		if err != nil {
			return smoke.Result{}, err
		}
		c := &check{env: env, profile: p, image: image}
		steps = append(steps, smoke.Do{Name: p.name + ": wait for its rights and quota", Func: c.settled},
			smoke.Do{Name: p.name + ": ask as its people and as a stranger", Func: c.roles})
		if len(p.quota) > 0 {
			steps = append(steps, smoke.Do{Name: p.name + ": ask for more than its quota", Func: c.limited})
		}
	}
	return smoke.Record(t.Name(), env.Sink).Steps(ctx, steps)
}

// profile is what a profile says, as far as it can be proven.
type profile struct {
	name, owner string
	quota       amounts
	people      []person // contributors
}

// person is a contributor with what they may do.
type person struct {
	user  string
	edits bool
}

func profileOf(o *unstructured.Unstructured, all []*unstructured.Unstructured) (profile, error) {
	p := profile{name: o.GetName()}
	var err error
	if p.owner, _, err = unstructured.NestedString(o.Object, "spec", "owner", "name"); err != nil {
		return p, err
	}
	hard, _, err := unstructured.NestedMap(o.Object, "spec", "resourceQuotaSpec", "hard")
	if err == nil {
		p.quota, err = amountsOf(hard)
	}
	for _, b := range all {
		if b.GetKind() != "RoleBinding" || b.GetNamespace() != p.name || b.GetAnnotations()["user"] == "" {
			continue
		}
		p.people = append(p.people, person{user: b.GetAnnotations()["user"], edits: b.GetAnnotations()["role"] == "edit"})
	}
	return p, err
}

// check is the proof of one profile.
type check struct {
	env     smoke.Env
	profile profile
	image   string
}

// settled waits until the controller has made of the profile what it says.
func (c *check) settled(ctx context.Context) error {
	bindings := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	err := smoke.Until(ctx, c.env.Dynamic, bindings, c.profile.name, profiles.OwnerBinding, func(o *unstructured.Unstructured) (bool, error) {
		subjects, _, err := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			if of, ok := s.(map[string]any); ok && of["name"] == c.profile.owner {
				return true, err
			}
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("waiting until %s has the rights of the owner: %w", c.profile.owner, err)
	}
	if len(c.profile.quota) > 0 {
		quotas := schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
		err = smoke.Until(ctx, c.env.Dynamic, quotas, c.profile.name, profiles.QuotaName, func(o *unstructured.Unstructured) (bool, error) {
			counted, _, err := unstructured.NestedMap(o.Object, "status", "hard")
			if err != nil {
				return false, err
			}
			now, err := amountsOf(counted)
			return err == nil && now.equal(c.profile.quota), err
		})
		if err != nil {
			return fmt.Errorf("waiting until the quota is counted: %w", err)
		}
	}
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	return smoke.Until(ctx, c.env.Dynamic, accounts, c.profile.name, "default", func(*unstructured.Unstructured) (bool, error) { return true, nil })
}

// roles asks as everybody.
func (c *check) roles(ctx context.Context) error {
	var problems []error
	may := func(user string, want bool) {
		err := c.ask(ctx, user, c.profile.quota.small())
		switch {
		case want && err != nil && !overQuota(err): // a team that has used its quota up may still ask
			problems = append(problems, fmt.Errorf("%s may not make a pod: %w", user, err))
		case !want && err == nil:
			problems = append(problems, fmt.Errorf("%s may make a pod", user))
		case !want && !apierrors.IsForbidden(err):
			problems = append(problems, err)
		case !want && overQuota(err):
			problems = append(problems, fmt.Errorf("%s was stopped by the quota only: %w", user, err))
		}
	}
	may(c.profile.owner, true)
	may(stranger, false)
	for _, p := range c.profile.people {
		may(p.user, p.edits)
		if err := c.looks(ctx, p.user); err != nil {
			problems = append(problems, fmt.Errorf("%s may not look at pods: %w", p.user, err))
		}
	}
	return errors.Join(problems...)
}

// limited asks for more than the quota of everything that one pod can ask too
// much of. What only counts objects is counted: settled has seen that.
func (c *check) limited(ctx context.Context) error {
	var problems []error
	for name, wants := range c.profile.quota.above() {
		switch err := c.ask(ctx, c.profile.owner, wants); {
		case err == nil:
			problems = append(problems, fmt.Errorf("a pod with more %s than the quota of %s was admitted", name, c.profile.quota.text(name)))
		case !overQuota(err):
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func overQuota(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// ask asks for a pod as a user, and makes none.
func (c *check) ask(ctx context.Context, user string, wants corev1.ResourceRequirements) error {
	client, err := c.env.As(user)
	if err != nil {
		return err
	}
	yes, no := true, false
	_, err = client.CoreV1().Pods(c.profile.name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "kfdev-asks-"},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "pause", Image: c.image, Resources: wants,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
		},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func (c *check) looks(ctx context.Context, user string) error {
	client, err := c.env.As(user)
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Pods(c.profile.name).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}
