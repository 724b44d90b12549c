//go:build integration

package drift_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admission "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
)

// injector is a mutating webhook that puts a sidecar into every Deployment that
// has none yet, and rewrites its first variable.
func injector(t *testing.T) (address, authority string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admission.AdmissionReview
		if !assert.NoError(t, json.NewDecoder(r.Body).Decode(&review)) {
			return
		}
		patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/env/0/value","value":"rewritten"}`
		if !bytes.Contains(review.Request.Object.Raw, []byte(`"injected"`)) {
			patch += `,{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"injected","image":"evil:latest"}}`
		}
		patch += "]"
		how := admission.PatchTypeJSONPatch
		review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &how, Patch: []byte(patch)}
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(review))
	}))
	t.Cleanup(server.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.URL, base64.StdEncoding.EncodeToString(certificate)
}

// TestIntegrationWhatAdmissionPutsIn: a sidecar that a webhook injects, and that
// nobody owns, is found, while a server-side dry run calls the object unchanged;
// so is a value that it changes, which the dry run changes too.
func TestIntegrationWhatAdmissionPutsIn(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	_, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	address, authority := injector(t)
	c.create(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: injector}, webhooks: [{name: inject.example.com,
		admissionReviewVersions: [v1], sideEffects: None, clientConfig: {url: "`+address+`", caBundle: `+authority+`}, rules: [{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}],
		objectSelector: {matchLabels: {app: web}}}]}`)
	web := c.at("Deployment", "web")
	want := []string{"changed " + template + "containers[name=web]/env[name=MODE]/value", "foreign-field " + template + "containers[name=injected]"}
	require.Eventually(t, func() bool { // the server takes a moment to hear of a webhook
		web.edit(t, `{metadata: {annotations: {"kubernetes.io/change-cause": "`+t.Name()+`"}}}`)
		web.edit(t, `{metadata: {annotations: {"kubernetes.io/change-cause": null}}}`)
		return len(c.scan(t, false).Findings) > 0
	}, waitFor, tick)
	for _, full := range []bool{false, true} {
		report := c.scan(t, full)
		require.Equal(t, sorted(want), sorted(lines(report.Findings)))
		for _, f := range report.Findings {
			if f.Class == drift.ForeignField {
				require.Empty(t, f.Who)
				require.Contains(t, f.Why, "nobody owns it")
			}
		}
	}
	// Without the injector it can be mended.
	target{c, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", "injector"}.delete(t)
	require.Eventually(t, func() bool {
		_, err := c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(c.scan(t, false)), open{}.fence)
		return err == nil && len(c.scan(t, true).Findings) == 0
	}, waitFor, tick)
}

// TestIntegrationMendingIsExact: what changed since the look is not touched, a
// field that no finding is about is not taken, and foreign objects stay unless
// they are named.
func TestIntegrationMendingIsExact(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	c.at("Deployment", "web").edit(t, `{spec: {replicas: 7, template: {spec: {containers: [{name: evil, image: "evil:latest"}]}}}}`)
	c.at("ConfigMap", "settings").edit(t, "{data: {mode: dev}}")
	c.create(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: stray, namespace: demo}}")
	report := c.scan(t, false)
	require.Len(t, report.Findings, 4)
	plan := drift.PlanFix(report)
	require.Len(t, plan.Steps, 2)
	require.Equal(t, []string{"foreign-object ConfigMap/demo/stray"}, lines(plan.Left))

	// Somebody goes on meanwhile: that object is left as it is, the other is mended.
	c.at("Deployment", "web").edit(t, "{spec: {paused: true}}")
	before := read(t, c, "Deployment", "web")
	done, err := c.detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	require.ErrorContains(t, err, "Deployment/demo/web")
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.Len(t, done, 1)
	require.Equal(t, before.GetResourceVersion(), read(t, c, "Deployment", "web").GetResourceVersion())
	require.Equal(t, []string{"foreign-field " + template[:len(template)-len(" spec/template/spec/")] + " spec/paused", "changed Deployment/demo/web spec/replicas",
		"foreign-field " + template + "containers[name=evil]", "foreign-object ConfigMap/demo/stray"}, reorder(lines(c.scan(t, false).Findings)))

	// A plan that speaks of one field takes no other by force.
	c.at("ConfigMap", "settings").as(t, "somebody", `{data: {mode: dev, app.yaml: "level: debug\n"}}`)
	report = c.scan(t, false)
	var one drift.Report
	for _, f := range report.Findings {
		if f.Path == "data/mode" {
			one.Findings = append(one.Findings, f)
		}
	}
	require.Len(t, one.Findings, 1)
	_, err = c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(one), open{}.fence)
	require.ErrorContains(t, err, "fields that no finding is about are held by others too")
	data, _, _ := unstructured.NestedString(read(t, c, "ConfigMap", "settings").Object, "data", "app.yaml")
	require.Equal(t, "level: debug\n", data)

	// What another made meanwhile is not written over.
	c.at("ServiceAccount", "runner").delete(t)
	plan = drift.PlanFix(drift.Report{Findings: slices.DeleteFunc(c.scan(t, false).Findings, func(f drift.Finding) bool { return f.Class != drift.Deleted })})
	require.Len(t, plan.Steps, 1)
	c.create(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: runner, namespace: demo, labels: {theirs: indeed}}}")
	_, err = c.detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.Equal(t, map[string]string{"theirs": "indeed"}, read(t, c, "ServiceAccount", "runner").GetLabels())

	report = c.scan(t, false)
	_, err = c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(report, apply.Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "demo", Name: "stray"}), open{}.fence)
	require.NoError(t, err)
	require.Empty(t, texts(c.scan(t, false).Findings))
}

func read(t *testing.T, c *cluster, kind, name string) *unstructured.Unstructured {
	t.Helper()
	x := c.at(kind, name)
	o, err := c.resource(t, x.apiVersion, x.kind, x.namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return o
}

// reorder puts the stray object last, whatever it is called.
func reorder(lines []string) []string {
	return append(append([]string{}, lines[1], lines[2], lines[3]), lines[0])
}

// TestIntegrationWhatMayNotBeReadIsUnknown: no rights are a finding, and never
// "no drift".
func TestIntegrationWhatMayNotBeReadIsUnknown(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	_, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	c.create(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: half}, rules: [{apiGroups: ["", apps], resources: [deployments, statefulsets, daemonsets, configmaps, services], verbs: [get, list]}]}`)
	c.create(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: half}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: half}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: half}]}`)
	c.at("ConfigMap", "settings").edit(t, "{data: {mode: dev}}")
	config := rest.CopyConfig(c.client.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "half", Groups: []string{"system:authenticated"}}
	client, err := kube.Connect(config)
	require.NoError(t, err)
	defer client.Close()
	report, err := drift.New(client, noise.Default(), progress.Discard).Scan(t.Context(), c.wanted, drift.Options{})
	require.NoError(t, err)
	found := map[string]int{}
	changed := 0
	for _, f := range report.Findings {
		if f.Class == drift.Unknown {
			found[f.Object.Kind] += f.Count
		} else {
			changed++
			require.Equal(t, "data/mode", f.Path)
		}
	}
	require.Equal(t, 1, changed)
	require.Equal(t, 1, found["Role"])
	require.Equal(t, 3, found["RoleBinding"], "two of the release, and one that comes of a profile")
	require.Contains(t, found, "Pod")
	require.Contains(t, found, "CustomResourceDefinition")
	require.NotContains(t, found, "Deployment")
	require.True(t, report.Drifted())
}

// TestIntegrationImages: pods that controllers make run what the lock names; a
// debugging container does not.
func TestIntegrationImages(t *testing.T) {
	t.Parallel()
	c := demo(t, true)
	pods := c.resource(t, "v1", "Pod", "demo")
	var name string
	require.Eventually(t, func() bool {
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		require.NoError(t, err)
		if len(list.Items) > 0 {
			name = list.Items[0].GetName()
		}
		return name != ""
	}, waitFor, tick)
	_, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	require.Empty(t, texts(c.scan(t, false).Findings), "with Kubernetes' own controllers at work")
	c.at("Pod", name).patch(t, types.StrategicMergePatchType, "kubectl-debug", `{spec: {ephemeralContainers: [{name: debug, image: "busybox:latest"}]}}`, "ephemeralcontainers")
	report := c.scan(t, false)
	require.Equal(t, []string{"foreign-image Pod/demo/" + name + " spec/ephemeralContainers[name=debug]/image"}, lines(report.Findings))
	require.Equal(t, "busybox:latest", report.Findings[0].Live)
	require.Len(t, drift.PlanFix(report).Left, 1)

	c.at("Deployment", "scaled").delete(t)
	require.Contains(t, lines(c.scan(t, false).Findings), "deleted Deployment/demo/scaled")
	_, err = c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(c.scan(t, false)), open{}.fence)
	require.NoError(t, err)
	require.Equal(t, lines(report.Findings), lines(c.scan(t, true).Findings))
}

// TestIntegrationSetsShareANamespace: each says something of it, and both count.
func TestIntegrationSetsShareANamespace(t *testing.T) {
	t.Parallel()
	c := environment(t, true)
	c.wanted.Release = "sha256:shared"
	for _, name := range []string{"left", "right"} {
		c.wanted.Sets = append(c.wanted.Sets, apply.Set{Name: name, Namespace: "shared", Objects: []*unstructured.Unstructured{
			object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: shared, labels: {of-"+name+": indeed}}}"),
			object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}}"),
		}})
	}
	c.apply(t)
	require.Empty(t, texts(c.scan(t, true).Findings))
	c.at("Namespace", "shared").edit(t, "{metadata: {labels: {of-left: other, foreign: indeed}}}")
	require.Equal(t, []string{"foreign-field Namespace/shared metadata/labels/foreign", "changed Namespace/shared metadata/labels/of-left"}, lines(c.scan(t, true).Findings))

	// Mending gives each set its own back.
	owned := func() (all []string) {
		o, err := c.resource(t, "v1", "Namespace", "").Get(t.Context(), "shared", metav1.GetOptions{})
		require.NoError(t, err)
		for _, e := range o.GetManagedFields() {
			for _, label := range []string{"app.kubernetes.io/managed-by", "of-left", "of-right"} {
				if strings.Contains(string(e.FieldsV1.GetRawBytes()), `"f:`+label+`"`) {
					all = append(all, e.Manager+" "+label)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	mend := func() {
		t.Helper()
		_, err := c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(c.scan(t, true)), open{}.fence)
		require.NoError(t, err)
		require.Empty(t, texts(c.scan(t, true).Findings))
		require.Equal(t, []string{"kfdev-left app.kubernetes.io/managed-by", "kfdev-left of-left", "kfdev-right app.kubernetes.io/managed-by", "kfdev-right of-right"}, owned())
	}
	mend()
	c.at("Namespace", "shared").edit(t, `{metadata: {labels: {of-right: null, of-left: null, app.kubernetes.io/managed-by: me}}}`)
	require.Len(t, c.scan(t, true).Findings, 3)
	mend()

	c.at("Namespace", "shared").delete(t)
	require.Eventually(t, func() bool {
		_, err := c.resource(t, "v1", "Namespace", "").Get(t.Context(), "shared", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, time.Minute, 100*time.Millisecond)
	mend()
}

// TestIntegrationABaselineOfAnotherRelease counts for nothing.
func TestIntegrationABaselineOfAnotherRelease(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	_, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	require.Zero(t, c.scan(t, false).Read)
	c.wanted.Release = "sha256:two"
	objects := c.wanted.Sets[0].Objects
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" {
			require.NoError(t, unstructured.SetNestedField(o.Object, "new", "data", "mode"))
		}
	}
	report := c.scan(t, false)
	require.Equal(t, []string{"changed ConfigMap/demo/settings data/mode"}, lines(report.Findings))
	require.Contains(t, report.Baseline, "of another release")

	// What drifted when the baseline was taken is never settled.
	_, err = c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	for range 2 {
		report = c.scan(t, false)
		require.Equal(t, "used", report.Baseline)
		require.Equal(t, 1, report.Read)
		require.Len(t, report.Findings, 1)
	}
	_, err = c.detector.Settle(t.Context(), drift.Wanted{})
	require.ErrorContains(t, err, "no digest")
	c.detector = drift.New(c.client, noise.Default().And(noise.Rules{}), progress.Discard)
	require.Equal(t, "used", c.scan(t, false).Baseline)
	more, err := noise.Parse("f", []byte("fields: [{name: mode, reason: r, kinds: [core/ConfigMap], applied: true, paths: {data/mode: ''}}]"))
	require.NoError(t, err)
	c.detector = drift.New(c.client, noise.Default().And(more), progress.Discard)
	report = c.scan(t, false)
	require.Contains(t, report.Baseline, "other rules")
	require.Empty(t, texts(report.Findings))
}
