//go:build integration

package drift_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// quiet is one thing that happens in an environment and is no drift.
type quiet struct {
	what string
	do   func(t *testing.T, c *cluster)
}

// by changes an object as a program does.
func by(manager, kind, name, text string, subresources ...string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		c.at(kind, name).patch(t, types.MergePatchType, manager, text, subresources...)
	}
}

// owned creates an object that a live one owns.
func owned(kind, name, text string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		x := c.at(kind, name)
		owner, err := c.resource(t, x.apiVersion, x.kind, x.namespace).Get(t.Context(), x.name, metav1.GetOptions{})
		require.NoError(t, err)
		c.create(t, strings.Replace(text, "OWNER", "ownerReferences: [{apiVersion: "+x.apiVersion+", kind: "+kind+", name: "+name+", uid: "+string(owner.GetUID())+", controller: true}]", 1))
	}
}

func nothing(*testing.T, *cluster) {}

const kcm = "kube-controller-manager"

func quiets() []quiet {
	return []quiet{
		{"fields that the API server fills in", nothing},
		{"addresses and node ports that a Service is given", nothing},
		{"a Job's selector and its labels with its own uid", nothing},
		{"claims that a StatefulSet's templates are filled in with", nothing},
		{"a namespace's own label and finalizer", nothing},
		{"quantities in another form (1000m is 1), an empty variable", nothing},
		{"a kind's names and conversion, filled in", nothing},
		{"the finalizer that protects a claim", nothing},
		{"defaults of a LimitRange that come of its maximum", nothing},
		{"the directions of a network policy that come of its rules", nothing},
		{"a pull policy that comes of an image's digest", nothing},
		{"kubectl rollout restart", by("kubectl-rollout", "Deployment", "web", `{spec: {template: {metadata: {annotations: {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}}}}}`)},
		{"an autoscaler scales its target", by(kcm, "Deployment", "scaled", "{spec: {replicas: 4}}", "scale")},
		{"kubectl scale of what an autoscaler scales", by("kubectl", "Deployment", "scaled", "{spec: {replicas: 3}}")},
		{"a CA bundle that an injector puts into a webhook", func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ValidatingWebhookConfiguration", "demo").patch(t, types.StrategicMergePatchType, "cainjector", "{webhooks: [{name: check.demo.example, clientConfig: {caBundle: "+bundle+"}}]}")
		}},
		{"a CA bundle that an injector changes after kfdev", func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ValidatingWebhookConfiguration", "signed").patch(t, types.StrategicMergePatchType, "cainjector", "{webhooks: [{name: check.signed.example, clientConfig: {caBundle: "+bundle+"}}]}")
		}},
		{"a pull policy that another writes just so", edit("Deployment", "web", "{spec: {template: {spec: {containers: [{name: web, imagePullPolicy: IfNotPresent}]}}}}")},
		{"the status of a workload", by(kcm, "Deployment", "web", "{status: {replicas: 2, observedGeneration: 1}}", "status")},
		{"the status of a custom resource", by("widget-controller", "Widget", "one", "{status: {phase: Ready}}", "status")},
		{"the status of a budget", by(kcm, "PodDisruptionBudget", "web", "{status: {currentHealthy: 2, desiredHealthy: 1, disruptionsAllowed: 1, expectedPods: 2}}", "status")},
		{"the status of an autoscaler", by(kcm, "HorizontalPodAutoscaler", "scaled", "{status: {currentReplicas: 1, desiredReplicas: 1}}", "status")},
		{"stored versions of a kind", by("apiextensions", "CustomResourceDefinition", "widgets.demo.example", "{status: {storedVersions: [v1]}}", "status")},
		{"kubectl apply's note of what it sent", by("kubectl-client-side-apply", "ConfigMap", "settings", `{metadata: {annotations: {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}`)},
		{"kubectl's note on a rollout", by("kubectl-annotate", "Deployment", "web", `{metadata: {annotations: {"kubernetes.io/change-cause": "image"}}}`)},
		{"a Deployment's revision", by(kcm, "Deployment", "web", `{metadata: {annotations: {"deployment.kubernetes.io/revision": "7"}}}`)},
		{"a DaemonSet's old count of templates", by(kcm, "DaemonSet", "agent", `{metadata: {annotations: {"deprecated.daemonset.template.generation": "1"}}}`)},
		{"another applies the same value beside kfdev", func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ConfigMap", "settings").as(t, "gitops", "{data: {mode: prod}}")
		}},
		{"the same value is written again", edit("ConfigMap", "settings", "{data: {mode: prod}}")},
		{"a claim is bound", by(kcm, "PersistentVolumeClaim", "models", `{metadata: {annotations: {"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/storage-provisioner": demo.example/disk}}, spec: {volumeName: pv-1}}`)},
		{"token and pull secrets of a service account", by("openshift-controller-manager", "ServiceAccount", "runner", "{secrets: [{name: runner-token}], imagePullSecrets: [{name: runner-pull}]}")},
		{"rules that an aggregated ClusterRole gets", func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ClusterRole", "demo-all").as(t, "clusterrole-aggregation-controller", `{rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]}`)
		}},
		{"the finalizer of a load balancer", by(kcm, "Service", "web", `{metadata: {finalizers: ["service.kubernetes.io/load-balancer-cleanup"]}}`)},
		{"endpoints of a Service", create(`{apiVersion: v1, kind: Endpoints, metadata: {name: web, namespace: demo}}`)},
		{"endpoint slices of a Service", create(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-abc, namespace: demo, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: []}`)},
		{"a lease", create(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: leader, namespace: demo}, spec: {holderIdentity: a}}`)},
		{"an event", create(`{apiVersion: v1, kind: Event, metadata: {name: e.1, namespace: demo}, involvedObject: {kind: Pod, name: x, namespace: demo}, reason: Seen, message: m, type: Normal}`)},
		{"the cluster's authority in a ConfigMap", create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: demo}, data: {ca.crt: x}}`)},
		{"the default service account", create(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: demo}}`)},
		{"a leader's ConfigMap", create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: old-leader, namespace: demo, annotations: {control-plane.alpha.kubernetes.io/leader: "{}"}}}`)},
		{"the token of a service account", create(`{apiVersion: v1, kind: Secret, metadata: {name: runner-token, namespace: demo, annotations: {kubernetes.io/service-account.name: runner, kubernetes.io/service-account.uid: "1"}}, type: kubernetes.io/service-account-token}`)},
		{"a hub user's server", create(`{apiVersion: v1, kind: Pod, metadata: {name: jupyter-ann, namespace: demo, labels: {hub.jupyter.org/username: ann}}, spec: {containers: [{name: notebook, image: "reg.example/notebook@sha256:4444444444444444444444444444444444444444444444444444444444444444"}]}}`)},
		{"a hub user's volume", create(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: claim-ann, namespace: demo, labels: {hub.jupyter.org/username: ann}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)},
		{"Helm's history", create(`{apiVersion: v1, kind: Secret, metadata: {name: sh.helm.release.v1.x.v1, namespace: demo}, type: helm.sh/release.v1}`)},
		{"what kfdev makes in the cluster", create(`{apiVersion: v1, kind: Secret, metadata: {name: web-tls, namespace: demo, labels: {kfdev.dev/component: demo}}}`)},
		{"a Deployment's ReplicaSet", owned("Deployment", "web", `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: demo, OWNER}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}}}`)},
		{"a StatefulSet's revision", owned("StatefulSet", "db", `{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: db-1, namespace: demo, OWNER}, revision: 1, data: {a: b}}`)},
		{"a StatefulSet's claim", create(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-0, namespace: demo}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)},
		{"a CronJob's Job", owned("CronJob", "nightly", `{apiVersion: batch/v1, kind: Job, metadata: {name: nightly-1, namespace: demo, OWNER}, spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}`)},
		{"a workload's pod", owned("StatefulSet", "db", `{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: demo, OWNER}, spec: {containers: [{name: db, image: "reg.example/db@sha256:3333333333333333333333333333333333333333333333333333333333333333"}]}}`)},
		{"what people make in a profile's namespace", create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: team-a}}`)},
	}
}

// TestIntegrationNoise: what is no drift is not reported, by a scan with a
// baseline and by one without.
func TestIntegrationNoise(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	_, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	cases := quiets()
	require.GreaterOrEqual(t, len(cases), 25)
	for _, tc := range cases {
		t.Run(strings.ReplaceAll(tc.what, " ", "-"), func(t *testing.T) {
			tc.do(t, c)
			require.Empty(t, texts(c.scan(t, false).Findings))
			require.Empty(t, texts(c.scan(t, true).Findings))
		})
	}
}
