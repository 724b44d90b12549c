//go:build integration

package envs

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/smoke"
)

// places are three clusters with real API servers and controllers, whose pods
// run on paper, and a registry.
type places struct {
	*bench
	clients map[string]*kube.Client
	host    string
}

func newPlaces(t *testing.T) *places {
	t.Helper()
	return newPlacesOf(t, threePlaces, "dev", "staging", "prod")
}

// text is a project's, with the registry that is there.
func (p *places) text(project string) string {
	return strings.NewReplacer("registry.staging.example", p.host+"/staging", "registry.prod.example", p.host+"/prod").Replace(project)
}

// newPlacesOf are the places of another project; NAME@VERSION is one whose
// Kubernetes behaves as an older one.
func newPlacesOf(t *testing.T, text string, names ...string) *places {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	p := &places{clients: map[string]*kube.Client{}, host: strings.TrimPrefix(server.URL, "http://")}
	p.bench = newBench(t, p.text(text))
	for _, each := range names {
		name, version, old := strings.Cut(each, "@")
		var args []string
		if old {
			args = []string{"--emulated-version=" + version}
		}
		config := apiserver.Run(t, true, args...)
		client, err := kube.Connect(config)
		require.NoError(t, err)
		t.Cleanup(client.Close)
		p.clients[name] = client
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- apiserver.Kubelet(ctx, config, apiserver.Running()) }()
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	return p
}

func (p *places) engine(t *testing.T) *Engine {
	t.Helper()
	e := p.bench.engine(t)
	e.world.Site = func(_ context.Context, name string) (*kube.Client, error) {
		return kube.Connect(p.clients[name].Config)
	}
	return e
}

// upDev brings the stack up in dev, and verifies it.
func (p *places) upDev(t *testing.T) {
	t.Helper()
	e := p.engine(t)
	s, err := e.settled(t.Context())
	require.NoError(t, err)
	live := newLiveStack(p.clients["dev"], progress.Discard)
	for _, each := range s.parts {
		_, err := live.Apply(t.Context(), each)
		require.NoError(t, err)
		require.NoError(t, live.Ready(t.Context(), each))
		if each.Smoke != "" {
			_, err := e.smoke(t.Context(), each, live, smoke.PullSecret{})
			require.NoError(t, err)
		}
	}
	require.NoError(t, e.recordDev(t.Context(), s))
	require.NoError(t, e.recordVerified(t.Context(), s, nil))
}

func (p *places) ledger(t *testing.T, name string) ledger.Ledger {
	t.Helper()
	l, found, err := ledger.New(p.clients[name], progress.Discard).Read(t.Context())
	require.NoError(t, err)
	require.True(t, found)
	return l
}

func (p *places) get(t *testing.T, place, kind, namespace, name string) map[string]any {
	t.Helper()
	mapping, err := p.clients[place].Mapper.Mapping(t.Context(), schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind})
	require.NoError(t, err)
	o, err := p.clients[place].Dynamic.Resource(mapping.Resource).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return o.Object
}

// The story of a release: dev, staging, production, a change by hand on the way,
// and what holds when kfdev is gone.
func TestIntegrationPromotion(t *testing.T) {
	p := newPlaces(t)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)

	// Nothing is promoted that dev has not shown to work.
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "dev: no release is in force there")
	p.upDev(t)

	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.True(t, plan.Changed())
	require.Len(t, plan.Images, 2)
	promoted, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, plan.Release, promoted.Release)
	l := p.ledger(t, "staging")
	require.Equal(t, plan.Release, l.InForce.Release)
	require.Equal(t, plan.Release, l.Complete.Release)
	require.True(t, l.Verified.Passed())
	require.Empty(t, l.Failed)
	deployment := p.get(t, "staging", "Deployment", "extra", "extra")
	replicas, _, err := unstructured.NestedInt64(deployment, "spec", "replicas")
	require.NoError(t, err)
	require.EqualValues(t, 2, replicas)
	containers, _, err := unstructured.NestedSlice(deployment, "spec", "template", "spec", "containers")
	require.NoError(t, err)
	require.Contains(t, containers[0].(map[string]any)["image"], p.host+"/staging/kfdev/kfdev.internal/extra@sha256:")

	// Again is nothing.
	plan, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.False(t, plan.Changed(), "%+v", plan)
	again, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	for name, changes := range again.Changes {
		require.False(t, changes.Changed(), "%s: %+v", name, changes)
	}
	require.Zero(t, again.Copied.Blobs)

	// A sidecar is added by hand.
	sidecar := `{"spec":{"template":{"spec":{"containers":[{"name":"evil","image":"docker.io/library/evil:latest"}]}}}}`
	_, err = p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("extra").
		Patch(t.Context(), "extra", types.StrategicMergePatchType, []byte(sidecar), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	require.NoError(t, err)
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, found.Findings)
	require.Equal(t, drift.ForeignField, found.Findings[0].Class)
	require.Equal(t, "spec/template/spec/containers[name=evil]", found.Findings[0].Path)

	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "containers[name=evil]")
	fixed, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Fix: true})
	require.NoError(t, err)
	require.Len(t, fixed.Done, 1)
	require.Eventually(t, func() bool {
		found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
		require.NoError(t, err)
		return !found.Drifted()
	}, 30*time.Second, 200*time.Millisecond, "the pods of the change go")
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, promoted.Release, p.ledger(t, "prod").InForce.Release, "the same digest everywhere")

	// What holds without kfdev: an image that no release brought is denied.
	pod := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "foreign"},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "docker.io/library/evil@sha256:" + strings.Repeat("e", 64)}}},
	}}
	pods := p.clients["prod"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	_, err = pods.Namespace("extra").Create(t.Context(), pod, metav1.CreateOptions{})
	require.ErrorContains(t, err, "sha256:"+strings.Repeat("e", 64))
	require.ErrorContains(t, err, "denied")
}

// A plan is carried out as it was made, or not at all; an earlier release is
// promoted again like any other.
func TestIntegrationPlansAreBinding(t *testing.T) {
	p := newPlaces(t)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	first, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, first)})
	require.NoError(t, err)

	file, err := os.ReadFile(filepath.Join(p.dir, "kfdev.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(file), "id: ", "the cluster is remembered")
	p.project(t, strings.Replace(string(file), "staging: 2", "staging: 3", 1))
	p.upDev(t)
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.NotEqual(t, first.Release, plan.Release)
	require.Equal(t, first.Release, plan.InForce)

	// Somebody is quicker.
	deployments := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("extra")
	edit := func(patch string) {
		_, err := deployments.Patch(t.Context(), "extra", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		require.NoError(t, err)
	}
	edit(`{"spec":{"paused":true}}`)
	before := p.ledger(t, "staging")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "Deployment/extra/extra")
	require.Equal(t, before.InForce, p.ledger(t, "staging").InForce)
	edit(`{"spec":{"paused":null}}`)
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{Plan: throughAFile(t, plan)})
	require.Equal(t, fault.Gate, fault.KindOf(err), "it is a plan for staging")

	plan, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	require.NoError(t, err)
	require.Equal(t, 1, done.Changes["extra"].Count("configured"))
	require.Equal(t, first.Release, done.Before)

	// Another cluster under the same name is refused.
	p.clients["staging"], p.clients["prod"] = p.clients["prod"], p.clients["staging"]
	_, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "the project knows")
	p.clients["staging"], p.clients["prod"] = p.clients["prod"], p.clients["staging"]

	// The same cluster behind another authority is warned of.
	written, err := os.ReadFile(filepath.Join(p.dir, project.FileName))
	require.NoError(t, err)
	authority := regexp.MustCompile(`authority: [0-9a-f]{64}`)
	require.Regexp(t, authority, string(written), "the first promotion has remembered it")
	_, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Empty(t, p.warnings("signed by another authority"))
	p.project(t, authority.ReplaceAllString(string(written), "authority: "+strings.Repeat("a", 64)))
	_, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Len(t, p.warnings("signed by another authority"), 1)

	// Back to the first one, read from the registry. Dev has another in force.
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{PlanOptions: PlanOptions{Release: first.Release}})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	p.project(t, string(file))
	p.upDev(t)
	back, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{PlanOptions: PlanOptions{Release: first.Release}})
	require.NoError(t, err)
	require.Equal(t, first.Release, back.Release)
	require.Empty(t, p.ledger(t, "staging").Kept)
}

// warnings are those with a text in them.
func (p *places) warnings(text string) (found []string) {
	for _, e := range p.events.Events() {
		if e.State == progress.Warning && strings.Contains(e.Text, text) {
			found = append(found, e.Text)
		}
	}
	return found
}

// throughAFile is a plan as it comes back from a file.
func throughAFile(t *testing.T, plan SitePlan) *SitePlan {
	t.Helper()
	data, err := json.Marshal(plan)
	require.NoError(t, err)
	var back SitePlan
	require.NoError(t, json.Unmarshal(data, &back))
	return &back
}
