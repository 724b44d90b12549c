package envs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
)

// pullWithin bounds the proof of a pull: a node has to be free, and the
// smallest image of the lock to come.
const pullWithin = 5 * time.Minute

// provePull has a node of the environment pull an image from its registry
// before anything is applied: that the registry has it proves nothing of the
// nodes' way there, their trust and their credentials.
func (p *promotion) provePull(ctx context.Context, lease *ledger.Lease, result *Promoted) (err error) {
	smallest, ok := smallestOf(p.lock)
	if !ok || p.idle && result.Copied.Blobs == 0 {
		return nil // nothing is applied that a node would have to pull
	}
	env, _ := p.Environment(p.name)
	relocation, err := difference.NewRelocation(env.Pull, p.repositories())
	if err != nil {
		return err
	}
	ref, _ := relocation.Ref(smallest)
	task := progress.Start(p.sink, "promote/pull", "having a node pull "+ref.String(), 0, progress.None)
	defer func() { task.End(err) }()
	if err := p.ensureSecrets(ctx, lease, result, p.isPullSecret); err != nil {
		return err
	}
	if err := lease.Fence(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pullWithin)
	defer cancel()
	pod := p.pullPod(ref)
	pods := p.live.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(pod.GetNamespace())
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: apply.Manager})
	if err != nil {
		return &fault.Error{Op: "proving a pull", Subject: p.name, Err: err}
	}
	defer func() {
		zero := int64(0)
		fresh, done := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer done()
		err = errors.Join(err, pods.Delete(fresh, made.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &zero}))
	}()
	var last string
	err = kube.Until(ctx, pods, made.GetName(), func(o *unstructured.Unstructured) (bool, error) {
		if o == nil {
			return false, errors.New("its pod was deleted")
		}
		var pulled bool
		pulled, last, err = pullState(o)
		return pulled, err
	})
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("after %s: %s", pullWithin, last)
	}
	return &fault.Error{Op: "proving a pull", Subject: ref.String(), Kind: fault.Preflight, Err: err,
		Hint: fmt.Sprintf("the nodes of %s must reach and trust its registry; registry.pull in kfdev.yaml is the address that they use", p.name)}
}

// pullState says whether an image was pulled, and what is known so far.
func pullState(pod *unstructured.Unstructured) (pulled bool, said string, err error) {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	said = "the pod is " + phase
	conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
	for _, each := range conditions {
		if c, ok := each.(map[string]any); ok && c["type"] == "PodScheduled" && c["status"] == "False" {
			said = fmt.Sprint(c["message"])
		}
	}
	statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
	for _, each := range statuses {
		status, ok := each.(map[string]any)
		if !ok {
			continue
		}
		if id, _ := status["imageID"].(string); id != "" {
			return true, said, nil
		}
		reason, _, _ := unstructured.NestedString(status, "state", "waiting", "reason")
		message, _, _ := unstructured.NestedString(status, "state", "waiting", "message")
		switch reason {
		case "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable":
			return false, said, fmt.Errorf("%s: %s", reason, message)
		}
	}
	return phase == "Running" || phase == "Succeeded", said, nil
}

// pullPod is a pod that does nothing but to have its image pulled. It runs
// where the policy does not look: the image is the lock's anyway.
func (p *promotion) pullPod(ref images.Ref) *unstructured.Unstructured {
	namespace := apply.SystemNamespace
	spec := map[string]any{
		"restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
		"tolerations": []any{map[string]any{"operator": "Exists"}},
		"containers": []any{map[string]any{
			"name": "pull", "image": ref.String(), "imagePullPolicy": "Always", "command": []any{"/kfdev-pulled-and-nothing-more"},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": int64(65534),
				"capabilities": map[string]any{"drop": []any{"ALL"}}, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
			},
		}},
	}
	if secret := p.file.Environments.Others[p.name].Registry.PullSecret; secret != nil {
		namespace = secret.Namespace
		spec["imagePullSecrets"] = []any{map[string]any{"name": secret.Name}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": spec,
		"metadata": map[string]any{"generateName": "kfdev-pull-", "namespace": namespace, "labels": map[string]any{"app.kubernetes.io/managed-by": "kfdev"}},
	}}
}

// How long an API server may take to heed a new policy, and how often it is
// tried: nothing says when it does.
const (
	heedWithin = 30 * time.Second
	heedEvery  = 100 * time.Millisecond
)

// proveDenial tries, and makes nothing, whether an image that no release has
// brought is denied. From then on that holds without kfdev.
func (p *promotion) proveDenial(ctx context.Context) error {
	namespaces := namespacesOf(p.parts)
	if len(namespaces) == 0 || p.name == project.DevName {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heedWithin)
	defer cancel()
	nothing := sha256.Sum256([]byte("kfdev: no image has this digest"))
	pod := p.pullPod(images.Ref{Repository: images.SourceHost + "/denied", Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(nothing[:])}})
	pod.SetNamespace(namespaces[0])
	pods := p.live.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespaces[0])
	tick := time.NewTicker(heedEvery)
	defer tick.Stop()
	for {
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: apply.Manager, DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), policy.Name) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &fault.Error{Op: "proving that foreign images are denied", Subject: p.name, Err: errors.Join(errors.New("one was not"), err, ctx.Err()),
				Hint: "see whether the API server enables ValidatingAdmissionPolicy (Kubernetes 1.30 or later does)"}
		}
	}
}

func smallestOf(l lock.Lock) (images.Ref, bool) {
	var best lock.Image
	for _, i := range l.Images {
		if best.Repository == "" || i.Size < best.Size {
			best = i
		}
	}
	return best.Ref(), best.Repository != ""
}
