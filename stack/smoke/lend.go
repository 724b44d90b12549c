package smoke

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// accountsWithin is how long Kubernetes may take to make a namespace's default
// account.
const accountsWithin = 30 * time.Second

// PullSecret names the Secret that nodes pull with; the zero one is for nodes
// that need none.
type PullSecret struct{ Namespace, Name string }

// needs are the rights to lend it in namespaces whose names nobody knows yet.
func (s PullSecret) needs() []apply.Missing {
	if s.Name == "" {
		return nil
	}
	const why = "to lend the pull secret to smoke tests"
	needs := apply.Need(why, "get", "secrets", s.Namespace)
	needs = append(needs, apply.Need(why, "create", "secrets", "")...)
	return append(needs, apply.Need(why, "list watch patch", "serviceaccounts", "")...)
}

// PullSecrets is what an account names that a test makes for its pods.
func (e Env) PullSecrets() []corev1.LocalObjectReference {
	if e.PullSecret.Name == "" {
		return nil
	}
	return []corev1.LocalObjectReference{{Name: e.PullSecret.Name}}
}

// Lend copies the pull secret into a namespace and lends it to the default
// account there, so that pods can be pulled. Run has done it for env.Namespace;
// a test does it for others that it has made. Where nodes need none, it does
// nothing.
func (e Env) Lend(ctx context.Context, namespace string) error {
	if e.PullSecret.Name == "" {
		return nil
	}
	err := e.copySecret(ctx, namespace)
	if err == nil {
		err = e.lendDefault(ctx, namespace)
	}
	if err != nil {
		return &fault.Error{Op: "lending the pull secret to the smoke test", Subject: namespace, Err: err}
	}
	return nil
}

func (e Env) copySecret(ctx context.Context, namespace string) error {
	from, err := e.Kube.CoreV1().Secrets(e.PullSecret.Namespace).Get(ctx, e.PullSecret.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = e.Kube.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: from.Name}, Type: from.Type, Data: from.Data,
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // some clusters copy it into every new namespace by themselves
	}
	return err
}

// lendDefault waits for the default account. A patch that comes too late is
// made again of the next state.
func (e Env) lendDefault(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, accountsWithin)
	defer cancel()
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	return Until(ctx, e.Dynamic, accounts, namespace, "default", func(o *unstructured.Unstructured) (bool, error) {
		have, _, err := unstructured.NestedSlice(o.Object, "imagePullSecrets")
		if err != nil {
			return false, fmt.Errorf("the default account: %w", err)
		}
		patch, err := json.Marshal(map[string]any{
			"metadata":         map[string]any{"resourceVersion": o.GetResourceVersion()},
			"imagePullSecrets": append(have, map[string]any{"name": e.PullSecret.Name}),
		})
		if err != nil {
			return false, err
		}
		_, err = e.Dynamic.Resource(accounts).Namespace(namespace).Patch(ctx, "default", types.MergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsConflict(err) {
			return false, nil
		}
		return err == nil, err
	})
}
