//go:build integration

package envs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/kfdev/kfdev/internal/fault"
)

func profileResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "profiles"}
}

// controller does what Kubeflow's Profile controller does with a profile: it
// makes its namespace, or takes over one that names the same owner, and not
// otherwise; then the owner's rights and the quota are its own.
func (p *places) controller(t *testing.T, place string) {
	t.Helper()
	client := p.clients[place]
	typed, err := kubernetes.NewForConfig(client.Config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w, err := client.Dynamic.Resource(profileResource()).Watch(ctx, metav1.ListOptions{})
			if err != nil {
				select { // the kind is not there yet, and nothing says when it is
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			for e := range w.ResultChan() {
				o, ok := e.Object.(*unstructured.Unstructured)
				if ok && e.Type == "DELETED" && len(o.GetOwnerReferences()) > 0 { // Kubernetes itself hears late of a kind that is new
					_ = typed.CoreV1().Namespaces().Delete(ctx, o.GetName(), metav1.DeleteOptions{})
				}
				if ok && o.GetDeletionTimestamp() == nil && e.Type != "DELETED" {
					_ = retry.OnError(retry.DefaultBackoff, func(error) bool { return ctx.Err() == nil }, func() error { return reconcileProfile(ctx, typed, o) })
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func reconcileProfile(ctx context.Context, client kubernetes.Interface, o *unstructured.Unstructured) error {
	owner, _, _ := unstructured.NestedString(o.Object, "spec", "owner", "name")
	yes := true
	owned := []metav1.OwnerReference{{APIVersion: "kubeflow.org/v1", Kind: "Profile", Name: o.GetName(), UID: o.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes}}
	ns, err := client.CoreV1().Namespaces().Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) && len(o.GetOwnerReferences()) > 0 { // a smoke test's: kfdev makes those of teams
		ns, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), OwnerReferences: owned, Annotations: map[string]string{"owner": owner}},
		}, metav1.CreateOptions{})
	}
	if err != nil || ns.Annotations["owner"] != owner {
		return err
	}
	editor := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default-editor", OwnerReferences: owned}}
	if _, err := client.CoreV1().ServiceAccounts(o.GetName()).Create(ctx, editor, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	bindings := client.RbacV1().RoleBindings(o.GetName())
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "namespaceAdmin", OwnerReferences: owned, Annotations: map[string]string{"user": owner, "role": "admin"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubeflow-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: owner}},
	}
	if _, err := bindings.Create(ctx, binding, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		if _, err := bindings.Update(ctx, binding, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	hard, _, _ := unstructured.NestedMap(o.Object, "spec", "resourceQuotaSpec", "hard")
	if len(hard) == 0 {
		return nil
	}
	list := corev1.ResourceList{}
	for name, amount := range hard {
		list[corev1.ResourceName(name)] = resource.MustParse(fmt.Sprint(amount))
	}
	object := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "kf-resource-quota", OwnerReferences: owned}, Spec: corev1.ResourceQuotaSpec{Hard: list}}
	if _, err := client.CoreV1().ResourceQuotas(o.GetName()).Create(ctx, object, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		_, err = client.CoreV1().ResourceQuotas(o.GetName()).Update(ctx, object, metav1.UpdateOptions{})
		return err
	}
	return nil
}

// namespace reads a namespace.
func (p *places) namespace(t *testing.T, place, name string) *corev1.Namespace {
	t.Helper()
	typed, err := kubernetes.NewForConfig(p.clients[place].Config)
	require.NoError(t, err)
	ns, err := typed.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return ns
}

// Teams travel with the stack: their owner changes with the project, their
// rights and quotas are proven where they arrive, and what a team has made stays
// when the project has the team no more.
func TestIntegrationProfilesTravel(t *testing.T) {
	p := newPlacesOf(t, twoTeams, "dev", "staging", "prod")
	p.teams(t)
	for place := range p.clients {
		p.controller(t, place)
	}
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	promoted, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{profilesPart}, tested(promoted))
	require.Equal(t, "ana@example.com", p.namespace(t, "staging", "vision").Annotations["owner"])
	promoted, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, "zoe@example.com", p.namespace(t, "prod", "vision").Annotations["owner"])
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{Release: promoted.Release})
	require.NoError(t, err, "a release with profiles is read back")
	require.False(t, plan.Changed())

	// A quota that was raised by hand is drift, and is mended.
	quotas := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}).Namespace("vision")
	_, err = quotas.Patch(t.Context(), "kf-resource-quota", types.MergePatchType, []byte(`{"spec":{"hard":{"cpu":"400"}}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	require.NoError(t, err)
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.True(t, found.Drifted())
	require.Contains(t, found.Findings[0].String(), "kf-resource-quota")

	// Another owner: the namespace is patched too, or the controller would refuse.
	p.project(t, p.text(strings.ReplaceAll(twoTeams, "staging: ana@", "staging: max@")))
	p.upDev(t)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, "max@example.com", p.namespace(t, "staging", "vision").Annotations["owner"])

	// A team leaves. What is in its namespace stays, until the plan says otherwise.
	left := strings.Replace(twoTeams, "  - {name: speech, owner: eve@example.com}\n", "", 1)
	p.project(t, p.text(left))
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	kept, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Equal(t, "skipped a namespace goes with everything in it", fateOf(t, kept, "Namespace", "speech"))
	require.Contains(t, fateOf(t, kept, "Profile", "speech"), "deleted")
	gone, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{PruneNamespaces: true})
	require.NoError(t, err)
	require.Contains(t, fateOf(t, gone, "Namespace", "speech"), "deleted")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, gone)})
	require.Equal(t, fault.Gate, fault.KindOf(err), "the plan alone is not enough")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, gone), PlanOptions: PlanOptions{PruneNamespaces: true}})
	require.NoError(t, err)
	_, err = p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(t.Context(), "speech", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
	require.Len(t, p.ledger(t, "staging").Profiles, 1, "what was deleted is forgotten")

	// What was left is an orphan, and told, until a plan takes it along.
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{PlanOptions: PlanOptions{PruneNamespaces: true}})
	require.Equal(t, fault.Gate, fault.KindOf(err), "no plan has said so")
	require.ErrorContains(t, err, "deleting namespaces: speech")
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Nil(t, p.namespace(t, "prod", "speech").DeletionTimestamp)
	_, err = p.clients["prod"].Dynamic.Resource(profileResource()).Get(t.Context(), "speech", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
	kept, err = p.engine(t).PlanSite(t.Context(), "prod", PlanOptions{})
	require.NoError(t, err)
	require.False(t, kept.Changed())
	require.Len(t, kept.Orphaned, 1)
	require.Equal(t, "speech", kept.Orphaned[0].Namespace)
	gone, err = p.engine(t).PlanSite(t.Context(), "prod", PlanOptions{PruneNamespaces: true})
	require.NoError(t, err)
	require.Equal(t, "deleted", strings.TrimSpace(fateOf(t, gone, "Namespace", "speech")))
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{Plan: throughAFile(t, gone), PlanOptions: PlanOptions{PruneNamespaces: true}})
	require.NoError(t, err)
	_, err = p.clients["prod"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(t.Context(), "speech", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))
	require.Len(t, p.ledger(t, "prod").Profiles, 1)
}

func tested(r Promoted) []string {
	var all []string
	for _, t := range r.Tests {
		if t.OK {
			all = append(all, t.Component)
		}
	}
	return all
}

// fateOf is what a plan says of an object of the profiles.
func fateOf(t *testing.T, plan SitePlan, kind, name string) string {
	t.Helper()
	for _, s := range plan.Sets {
		for _, o := range s.Objects {
			if s.Set == profilesPart && o.Object.Kind == kind && o.Object.Name == name {
				return strings.TrimSpace(string(o.Change) + " " + o.Reason)
			}
		}
	}
	require.Fail(t, "the plan has no "+kind+" "+name)
	return ""
}
