//go:build integration

package envs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/policy"
)

// grant gives a user a role of stack/apply/rights.
func (p *places) grant(t *testing.T, place, user, role string) {
	t.Helper()
	text, err := os.ReadFile("../stack/apply/rights/" + role + ".yaml")
	require.NoError(t, err)
	var object rbacv1.ClusterRole
	require.NoError(t, yaml.Unmarshal(text, &object))
	typed, err := kubernetes.NewForConfig(p.clients[place].Config)
	require.NoError(t, err)
	_, err = typed.RbacV1().ClusterRoles().Create(t.Context(), &object, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	_, err = typed.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: object.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// grantWithout gives a user the promoter's role without a verb.
func (p *places) grantWithout(t *testing.T, place, user, verb string) {
	t.Helper()
	typed, err := kubernetes.NewForConfig(p.clients[place].Config)
	require.NoError(t, err)
	role, err := typed.RbacV1().ClusterRoles().Get(t.Context(), "kfdev-promoter", metav1.GetOptions{})
	require.NoError(t, err)
	role.ObjectMeta = metav1.ObjectMeta{Name: user}
	for i := range role.Rules {
		role.Rules[i].Verbs = slices.DeleteFunc(role.Rules[i].Verbs, func(v string) bool { return v == verb })
	}
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 })
	_, err = typed.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = typed.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// as is an engine that is somebody in every place.
func (p *places) as(t *testing.T, user string) *Engine {
	t.Helper()
	e := p.engine(t)
	e.world.Site = func(_ context.Context, name string) (*kube.Client, error) {
		config := rest.CopyConfig(p.clients[name].Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		return kube.Connect(config)
	}
	return e
}

// hooked writes teams, and a component that has certificates and Secrets.
func (p *places) hooked(t *testing.T) {
	t.Helper()
	p.teams(t)
	p.write(t, map[string]string{
		"hooked/component.yaml": `apiVersion: kfdev.dev/v1alpha1
kind: Component
name: hooked
version: v1
title: for tests
namespace: hooked
certificates: [{secret: serving, service: hooked, inject: [ValidatingWebhookConfiguration/hooked]}]
secrets: [{name: made, keys: [{name: token, bytes: 16}]}]
`,
		"hooked/kustomization.yaml": "resources: [all.yaml]\n",
		"hooked/all.yaml": `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooked}
webhooks:
  - name: a.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Ignore
    clientConfig: {url: "https://127.0.0.1:1/"}
    rules: [{apiGroups: [x.example.com], apiVersions: [v1], operations: [CREATE], resources: [ys]}]
`,
	})
}

// The two documented roles are enough: a promoter promotes a stack that has
// certificates, secrets and teams, and a reader plans, compares and looks for
// drift, though no Secret is told.
func TestIntegrationTwoRolesAreEnough(t *testing.T) {
	project := strings.NewReplacer("components: {", "components: {hooked: {folder: hooked}, ", ", after: [dev]", "", ", after: [staging]", "").Replace(twoTeams)
	p := newPlacesOf(t, project, "staging", "prod")
	p.hooked(t)
	for _, place := range []string{"staging", "prod"} {
		p.controller(t, place)
		p.grant(t, place, "reader", "reader")
		p.grant(t, place, "promoter", "promoter")
	}
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.grantWithout(t, "staging", "weak", "impersonate")
	_, err = p.as(t, "weak").Promote(t.Context(), "staging", PromoteOptions{})
	require.ErrorContains(t, err, "missing: impersonate users (to prove that profiles hold)")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Empty(t, snapshot(t, p.clients["staging"]), "nothing was written")
	first, err := p.as(t, "reader").PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.True(t, first.Changed())
	_, err = p.as(t, "promoter").Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, first)})
	require.NoError(t, err, "a promoter carries out what a reader planned")
	for _, place := range []string{"staging", "prod"} {
		_, err := p.as(t, "promoter").Promote(t.Context(), place, PromoteOptions{})
		require.NoError(t, err)
		_, err = p.as(t, "reader").Promote(t.Context(), place, PromoteOptions{})
		require.Error(t, err, "a reader promotes nothing")
	}
	plan, err := p.as(t, "reader").PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.False(t, plan.Changed(), "%+v", plan)
	for _, full := range []bool{false, true} {
		found, err := p.as(t, "reader").Drift(t.Context(), "staging", DriftOptions{Full: full})
		require.NoError(t, err)
		for _, f := range found.Findings { // nothing is known of Secrets, and that is said
			require.Equal(t, drift.Unknown, f.Class, "%s", f)
			require.Equal(t, "Secret", f.Object.Kind, "%s", f)
		}
		require.Len(t, found.Findings, 1)
	}
	parity, err := p.as(t, "reader").Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Equal(t, 2, parity.Budget.Declared, "what follows from one of them counts with it")
	for _, f := range parity.Environment {
		require.True(t, f.Unknown, "%s", f) // what nodes on paper do not say
	}

	// What a reader could not ask about is as it is when it is carried out.
	text, err := os.ReadFile(filepath.Join(p.dir, "hooked/all.yaml"))
	require.NoError(t, err)
	p.write(t, map[string]string{"hooked/all.yaml": strings.Replace(string(text), "failurePolicy: Ignore", "failurePolicy: Fail", 1) +
		"---\n{apiVersion: v1, kind: Secret, metadata: {name: filled, namespace: hooked}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: new, namespace: hooked}}\n"})
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	plan, err = p.as(t, "reader").PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	_, err = p.as(t, "promoter").Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
}

// Who may only read staging promotes prod after it: what Secrets were when
// staging settled is taken from its own record, and told. Anything else that is
// not as the release says closes the gate as ever.
func TestIntegrationTheGateOfAReader(t *testing.T) {
	project := strings.NewReplacer("components: {", "components: {hooked: {folder: hooked}, ", ", after: [dev]", "").Replace(twoTeams)
	p := newPlacesOf(t, project, "staging", "prod")
	p.hooked(t)
	for _, place := range []string{"staging", "prod"} {
		p.controller(t, place)
		p.grant(t, place, "promoter", "promoter")
	}
	p.grant(t, "staging", "ci", "reader")
	p.grant(t, "prod", "ci", "promoter")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.as(t, "promoter").Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)

	// Without the record nothing speaks for the Secrets.
	maps := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	require.NoError(t, maps.Namespace("kfdev-system").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "kfdev.dev/drift-baseline"}))
	_, err = p.as(t, "ci").Promote(t.Context(), "prod", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "unknown: Secret/*")
	_, err = p.as(t, "promoter").Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)

	// A field that is not as the release says is seen with these rights, too.
	hook := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"})
	patch := func(policy string) {
		_, err := hook.Patch(t.Context(), "hooked", types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"`+policy+`"}]`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
	}
	patch("Fail")
	_, err = p.as(t, "ci").Promote(t.Context(), "prod", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "ValidatingWebhookConfiguration/hooked webhooks[name=a.example.com]/failurePolicy")
	require.NotContains(t, err.Error(), "Secret/*")
	_, err = p.as(t, "promoter").Drift(t.Context(), "staging", DriftOptions{Fix: true})
	require.NoError(t, err)

	_, err = p.as(t, "ci").Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Contains(t, p.said(t), "staging: Secrets can't be read with these rights; the record there is taken instead, which nobody signed")
	_, err = p.as(t, "ci").Promote(t.Context(), "staging", PromoteOptions{})
	require.Error(t, err, "a reader of staging promotes nothing there")
}

// A reader whose role names not every kind that there is plans all the same, and
// takes every image of before to be named still; a promoter may not.
func TestIntegrationAReaderOfNotEverything(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(threePlaces, "after: [dev]", "", 1), "staging")
	p.grant(t, "staging", "reader", "reader")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	client := p.clients["staging"].Dynamic
	before := strings.Repeat("ab", 32)
	_, err = client.Resource(policy.Resource()).Patch(t.Context(), policy.Name, types.MergePatchType, []byte(`{"spec":{"digests":{"`+before+`":""}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	var kind unstructured.Unstructured
	require.NoError(t, yaml.Unmarshal([]byte(strings.NewReplacer("kubeflow.org", "own.example.com", "Profile", "Own", "profiles", "owns").Replace(profileKind)), &kind.Object))
	_, err = client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(t.Context(), &kind, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := client.Resource(schema.GroupVersionResource{Group: "own.example.com", Version: "v1", Resource: "owns"}).List(t.Context(), metav1.ListOptions{})
		return err == nil
	}, 20*time.Second, 100*time.Millisecond)

	_, err = p.as(t, "reader").PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Contains(t, p.said(t), "not everything may be read that can name images of before")
}
