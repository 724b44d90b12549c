//go:build integration

package envs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
)

// inform has the nodes of a place say what they are.
func (p *places) inform(t *testing.T, place, kernel string) {
	t.Helper()
	nodes := p.clients[place].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"})
	list, err := nodes.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, list.Items)
	info := fmt.Sprintf(`{"status":{"nodeInfo":{"kernelVersion":%q,"osImage":"Debian 12","containerRuntimeVersion":"containerd://2.1.0","kubeletVersion":"v1.36.1","architecture":"amd64","bootID":"b","machineID":"m","systemUUID":"s","kubeProxyVersion":"","operatingSystem":"linux"}}}`, kernel)
	for _, n := range list.Items {
		_, err := nodes.Patch(t.Context(), n.GetName(), types.MergePatchType, []byte(info), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
}

// Two environments with one release are equal but for what is declared; each
// thing that is then made different in one of them is found with its path.
func TestIntegrationParity(t *testing.T) {
	p := newPlaces(t)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "nothing is in force there yet")
	p.upDev(t)
	for _, name := range []string{"staging", "prod"} {
		_, err := p.engine(t).Promote(t.Context(), name, PromoteOptions{})
		require.NoError(t, err)
	}
	// A node that is there on paper only says nothing of itself, and what is
	// unknown equals nothing.
	parity, err := p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Equal(t, 5, parity.Budget.Unknown, "%+v", parity.Environment)
	require.Equal(t, 5, parity.Undeclared())
	for _, name := range []string{"staging", "prod"} {
		p.inform(t, name, "6.1.0")
	}
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.True(t, parity.Same)
	require.Zero(t, parity.Undeclared(), "%+v", parity)
	require.Equal(t, 1, parity.Budget.Declared)
	require.Equal(t, 2, parity.Budget.BuiltIn)
	require.Less(t, parity.Took, 10*time.Second)
	t.Logf("compared in %v: %+v", parity.Took, parity.Budget)

	for path, manifest := range map[string]string{
		"storage-classes.slow":           `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: slow}, provisioner: example.com/disk}`,
		"priority-classes.first":         `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: first}, value: 7}`,
		"runtime-classes.gvisor":         `{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: gvisor}, handler: runsc}`,
		"ingress-classes.nginx":          `{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: nginx}, spec: {controller: example.com/nginx}}`,
		"webhooks.":                      `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: ours}, webhooks: [{name: a.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Ignore, clientConfig: {url: "https://127.0.0.1:1/"}, rules: [{apiGroups: [x.example.com], apiVersions: [v1], operations: [CREATE], resources: [ys]}]}]}`,
		"namespaces.extra":               `{apiVersion: v1, kind: ResourceQuota, metadata: {name: few, namespace: extra}, spec: {hard: {pods: "9"}}}`,
		"admission-policies.":            `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: no-latest}, spec: {validations: [{expression: "true"}], matchConstraints: {resourceRules: [{apiGroups: [x.example.com], apiVersions: [v1], operations: [CREATE], resources: [ys]}]}}}`,
		"crds.things.parity.example.com": `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.parity.example.com}, spec: {group: parity.example.com, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`,
	} {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(manifest), &o.Object), path)
		mapping, err := p.clients["prod"].Mapper.Mapping(t.Context(), o.GroupVersionKind())
		require.NoError(t, err)
		resource := p.clients["prod"].Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())
		_, err = resource.Create(t.Context(), o, metav1.CreateOptions{})
		require.NoError(t, err, path)
		var found []string
		require.Eventually(t, func() bool {
			parity, err := p.engine(t).Diff(t.Context(), "staging", "prod")
			require.NoError(t, err)
			found = nil
			for _, f := range parity.Environment {
				if !f.Allowed {
					require.NotEmpty(t, f.Matters)
					found = append(found, f.Path())
				}
			}
			return len(found) > 0
		}, 20*time.Second, 100*time.Millisecond, path)
		require.Condition(t, func() bool {
			for _, f := range found {
				if strings.HasPrefix(f, path) {
					return true
				}
			}
			return false
		}, "%s: found %v", path, found)
		require.NoError(t, resource.Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}))
		require.Eventually(t, func() bool {
			parity, err := p.engine(t).Diff(t.Context(), "staging", "prod")
			require.NoError(t, err)
			return parity.Undeclared() == 0
		}, 30*time.Second, 100*time.Millisecond, path)
	}

	p.inform(t, "prod", "5.10.0")
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Len(t, parity.Environment, 1)
	require.Equal(t, "nodes.kernel", parity.Environment[0].Path())

	// A patch of the kernel is no difference, unless the project says so.
	file := filepath.Join(p.dir, "kfdev.yaml")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	p.inform(t, "prod", "6.1.9")
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Empty(t, parity.Environment)
	p.project(t, string(data)+"fingerprint: {nodes.kernel: {compare: exact}}\n")
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Len(t, parity.Environment, 1)
	require.Equal(t, "nodes.kernel", parity.Environment[0].Path())
	p.project(t, string(data))
	p.inform(t, "prod", "6.1.0")

	p.ownNoise(t, string(data))

	// An entry that was declared yesterday and has expired is no excuse.
	p.project(t, strings.Replace(string(data), "    owner: ana\n", "    owner: ana\n    expires: 2020-01-31\n", 1))
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err, "a plan can be looked at")
	require.NotEmpty(t, plan.Sets)
	require.Equal(t, []ExpiredDifference{{ID: "replicas", Owner: "ana", Expires: "2020-01-31"}}, plan.Expired)
	require.Equal(t, fault.Gate, fault.KindOf(plan.Closed()))
	require.ErrorContains(t, plan.Closed(), "the difference replicas has expired on 2020-01-31: ana is to renew it")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "the difference replicas has expired")
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Equal(t, 1, parity.Budget.Expired)
	require.NotZero(t, parity.Undeclared())
}

// What is suggested is written with free ids, is refused until somebody answers
// for it, and then allows all that it was suggested for.
func TestIntegrationSuggestedDifferences(t *testing.T) {
	p := newPlaces(t)
	file := filepath.Join(p.dir, "kfdev.yaml")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	p.project(t, string(data)+`  - id: storage-classes-slow
    paths: [fingerprint/storage-classes.none-of-this-name]
    allow: {type: presence}
    reason: its id is taken
    owner: ana
`)
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	for _, name := range []string{"staging", "prod"} {
		_, err := p.engine(t).Promote(t.Context(), name, PromoteOptions{})
		require.NoError(t, err)
		p.inform(t, name, map[string]string{"staging": "6.1.0", "prod": "5.10.0"}[name])
	}
	var slow unstructured.Unstructured
	require.NoError(t, yaml.Unmarshal([]byte(`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: slow}, provisioner: example.com/disk}`), &slow.Object))
	_, err = p.clients["prod"].Dynamic.Resource(schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}).Create(t.Context(), &slow, metav1.CreateOptions{})
	require.NoError(t, err)

	parity, err := p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Equal(t, 2, parity.Undeclared(), "%+v", parity)
	require.Len(t, parity.Suggested, 2)
	require.Equal(t, "nodes-kernel", parity.Suggested[0].ID)
	require.Equal(t, "storage-classes-slow-2", parity.Suggested[1].ID)
	require.NoError(t, p.engine(t).WriteSuggested(parity.Suggested))
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = project.Load(p.dir)
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, "a reason is missing")
	require.ErrorContains(t, err, "an owner is missing")
	p.project(t, strings.NewReplacer(`reason: ""`, "reason: it is older", `owner: ""`, "owner: ben").Replace(string(written)))
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Zero(t, parity.Undeclared(), "%+v", parity)
	require.Empty(t, parity.Suggested)
	require.Equal(t, 3, parity.Budget.Declared)

	// What an entry says of an environment is what that must be.
	p.inform(t, "prod", "4.19.0")
	parity, err = p.engine(t).Diff(t.Context(), "prod", "staging")
	require.NoError(t, err)
	require.Equal(t, 1, parity.Undeclared())
	require.Empty(t, parity.Suggested, "an entry speaks of it already")
}

// ownNoise has a program of the project's own label a workload: that is drift
// until the project says whose label it is.
func (p *places) ownNoise(t *testing.T, project string) {
	t.Helper()
	label := func(manager, patch string) {
		_, err := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("extra").
			Patch(t.Context(), "extra", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
		require.NoError(t, err)
	}
	label("billing-controller", `{"metadata":{"labels":{"billing.example.com/team":"vision"}}}`)
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.True(t, found.Drifted())

	p.project(t, project+"noise: noise.yaml\n")
	_, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.Equal(t, fault.Usage, fault.KindOf(err), "there is no such file")
	p.write(t, map[string]string{"noise.yaml": "fields:\n  - {name: ours}\n"})
	_, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.ErrorContains(t, err, "noise.yaml:2:5: ")
	page, err := os.ReadFile("../docs/drift.md")
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)```yaml\n(fields:.*?)```").FindSubmatch(page)
	require.NotNil(t, example)
	p.write(t, map[string]string{"noise.yaml": string(example[1])})
	found, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.Empty(t, found.Findings)

	// It says whose, and reaches no further.
	label("kubectl-label", `{"metadata":{"labels":{"billing.example.com/by-hand":"x"}}}`)
	found, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.Len(t, found.Findings, 1)
	label("kubectl-label", `{"metadata":{"labels":{"billing.example.com/by-hand":null,"billing.example.com/team":null}}}`)
	p.project(t, project)
}
