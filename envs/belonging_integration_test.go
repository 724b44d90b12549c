//go:build integration

package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// A context that leads to another project's cluster does no harm there, and a
// project that was renamed goes on when that is said.
func TestIntegrationAnotherProjectsCluster(t *testing.T) {
	text := strings.Replace(threePlaces, "after: [dev]", "", 1)
	p := newPlacesOf(t, text, "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	first, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	before, ledgerBefore := snapshot(t, p.clients["staging"]), p.ledger(t, "staging")

	other := strings.NewReplacer("name: demo", "name: vision", ", components: {extra: {enabled: true}}", "").Replace(text)
	other, _, _ = strings.Cut(other, "differences:")
	p.project(t, p.text(other))
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	for what, err := range map[string]error{
		"plan":    func() error { _, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{}); return err }(),
		"promote": func() error { _, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{}); return err }(),
		"drift":   func() error { _, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Fix: true}); return err }(),
		"another": func() error {
			_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{PlanOptions: PlanOptions{FromProject: "third"}})
			return err
		}(),
	} {
		require.Equal(t, fault.Gate, fault.KindOf(err), "%s: %v", what, err)
		require.ErrorContains(t, err, "has the stack of the project demo, not of vision", what)
	}
	require.Equal(t, before, snapshot(t, p.clients["staging"]))
	require.Equal(t, ledgerBefore.InForce, p.ledger(t, "staging").InForce)

	renamed, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{PlanOptions: PlanOptions{FromProject: "demo"}})
	require.NoError(t, err)
	require.NotEqual(t, first.Release, renamed.Release)
	require.Equal(t, "vision", p.ledger(t, "staging").Project)
	_, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
}

// A refusal is not written down as the failure of an attempt of another release
// that was cut off.
func TestIntegrationARefusalIsNobodysFailure(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(threePlaces, "after: [dev]", "", 1), "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	store := ledger.New(p.clients["staging"], progress.Discard)
	lease, err := store.Acquire(t.Context(), "somebody", leaseDuration)
	require.NoError(t, err)
	cut := "sha256:" + strings.Repeat("c", 64)
	_, err = lease.Update(t.Context(), func(l *ledger.Ledger) error {
		l.Begin(ledger.Entry{Release: cut})
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, lease.Release(t.Context()))
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	plan.Sets = plan.Sets[1:]
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	l := p.ledger(t, "staging")
	require.True(t, l.Underway)
	require.Equal(t, cut, l.Attempted.Release)
	require.Empty(t, l.Failed)
	require.Empty(t, l.History)
}

// A checkout that cannot be written to makes no promotion fail.
func TestIntegrationTheClusterIsRememberedLast(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(threePlaces, "after: [dev]", "", 1), "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	e := p.engine(t)
	file := filepath.Join(p.dir, project.FileName)
	require.NoError(t, os.Rename(file, file+".away"))
	done, err := e.Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, done.Release, p.ledger(t, "staging").Complete.Release)
	require.Len(t, p.warnings("remembering the cluster"), 1)
	require.Contains(t, p.warnings("remembering the cluster")[0], "under environments.staging.cluster by hand")
}

// What an autoscaler does between a plan and its promotion makes it no other.
func TestIntegrationAnAutoscalerBetweenPlanAndPromotion(t *testing.T) {
	p := newPlacesOf(t, strings.Replace(bothComponents, "extra: {enabled: true}", "scaled: {folder: scaled}", 1)+`environments:
  staging: {cluster: {context: staging}, registry: registry.staging.example/kfdev}
`, "staging")
	write := func(label string) {
		p.write(t, map[string]string{
			"scaled/component.yaml": `apiVersion: kfdev.dev/v1alpha1
kind: Component
name: scaled
version: v1
title: for tests
namespace: scaled
images: [{name: main, published: "registry.example/extra:v1", recipe: extra}]
`,
			"scaled/kustomization.yaml": "resources: [all.yaml]\n",
			"scaled/all.yaml":           strings.NewReplacer("  replicas: 1\n", "", "labels: {app: scaled}", "labels: {app: scaled, of: "+label+"}").Replace(deployment("scaled", "registry.example/extra:v1")),
		})
		_, err := p.lock(t, LockOptions{})
		require.NoError(t, err)
	}
	write("first")
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	typed, err := kubernetes.NewForConfig(p.clients["staging"].Config)
	require.NoError(t, err)
	_, err = typed.AutoscalingV1().HorizontalPodAutoscalers("scaled").Create(t.Context(), &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "scaled"}, Spec: autoscalingv1.HorizontalPodAutoscalerSpec{MaxReplicas: 9,
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "scaled"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	write("second")
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)

	_, err = typed.AppsV1().Deployments("scaled").UpdateScale(t.Context(), "scaled", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "scaled", Namespace: "scaled"}, Spec: autoscalingv1.ScaleSpec{Replicas: 4},
	}, metav1.UpdateOptions{FieldManager: "kube-controller-manager"})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	live, err := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("scaled").Get(t.Context(), "scaled", metav1.GetOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 4, live.Object["spec"].(map[string]any)["replicas"])
}
