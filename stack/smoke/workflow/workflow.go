// Package workflow is the smoke test of Argo Workflows: a graph that passes a
// parameter from task to task, and one that fails as it should.
package workflow

import (
	"context"
	_ "embed" // the workflows
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

//go:embed diamond.yaml
var diamond string

//go:embed broken.yaml
var broken string

const (
	account      = "workflow"               // the service account in the workflows
	executorRole = "argo-workflow-executor" // the component's ClusterRole
	stepImage    = "step"                   // the component's name for the image of the tasks
	placeholder  = "STEP_IMAGE"
)

// resource returns what a Workflow is called in the API.
func resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "workflows"}
}

// Test is the smoke test.
type Test struct{}

// Name returns "workflow".
func (Test) Name() string { return "workflow" }

// Needs are the rights to run workflows, and to let them report.
func (Test) Needs(string) []apply.Missing {
	const why = "for the smoke test workflow"
	needs := apply.Need(why, "create", "serviceaccounts", "")
	needs = append(needs, apply.Need(why, "create", "rolebindings."+rbacv1.GroupName, "")...)
	needs = append(needs, apply.Missing{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles", Name: executorRole, Why: why})
	return append(needs, apply.Need(why, "create list watch", resource().GroupResource().String(), "")...)
}

// Run runs both workflows.
func (t Test) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	record := smoke.Record(t.Name(), env.Sink)
	if err := record.Step(ctx, "let workflows run in the namespace", func(ctx context.Context) error { return allow(ctx, env) }); err != nil {
		return record.Result(), err
	}
	err := record.Step(ctx, "pass a parameter along a graph", func(ctx context.Context) error {
		s, err := run(ctx, env, diamond)
		if err != nil {
			return err
		}
		if err := checkDiamond(s); err != nil {
			return err
		}
		record.Fact("draw, double and square, add", "7, 14 and 49, 63")
		return nil
	})
	if err != nil {
		return record.Result(), err
	}
	err = record.Step(ctx, "fail as it should", func(ctx context.Context) error {
		s, err := run(ctx, env, broken)
		if err != nil {
			return err
		}
		if err := checkBroken(s); err != nil {
			return err
		}
		record.Fact("exit code of the failing task", 3)
		return nil
	})
	return record.Result(), err
}

// allow makes the service account that the workflows' pods report with.
func allow(ctx context.Context, env smoke.Env) error {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}, ImagePullSecrets: env.PullSecrets()}
	if _, err := env.Kube.CoreV1().ServiceAccounts(env.Namespace).Create(ctx, sa, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: executorRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: env.Namespace}},
	}
	_, err := env.Kube.RbacV1().RoleBindings(env.Namespace).Create(ctx, binding, metav1.CreateOptions{})
	return err
}

// run creates a workflow and returns its status when it has ended.
func run(ctx context.Context, env smoke.Env, text string) (state, error) {
	object, err := manifest(env, text)
	if err != nil {
		return state{}, err
	}
	if _, err := env.Dynamic.Resource(resource()).Namespace(env.Namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return state{}, fmt.Errorf("creating workflow %s: %w", object.GetName(), err)
	}
	var last state
	err = smoke.Until(ctx, env.Dynamic, resource(), env.Namespace, object.GetName(), func(o *unstructured.Unstructured) (bool, error) {
		last, err = read(o)
		return last.over(), err
	})
	return last, err
}

// manifest puts the image of the tasks into a workflow's text.
func manifest(env smoke.Env, text string) (*unstructured.Unstructured, error) {
	image, err := env.Image(stepImage)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, placeholder, image)), &object.Object); err != nil {
		return nil, fmt.Errorf("reading a workflow of the smoke test: %w", err)
	}
	return object, nil
}
