package noise_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack/noise"
)

func object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(tb, err)
	o := &unstructured.Unstructured{}
	require.NoError(tb, o.UnmarshalJSON(data))
	return o
}

// by says that a manager owns fields, as the server writes it.
func by(manager, operation, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation), APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
}

// strip is one case: what is live, who owns what of it, and what is left.
type strip struct {
	live  string
	owned []metav1.ManagedFieldsEntry
	left  string
	scale bool
	plan  bool // by the rules for plans
}

func head(kind, rest string) string {
	version, kind, _ := strings.Cut(kind, " ")
	return "{apiVersion: " + version + ", kind: " + kind + ", metadata: {name: a" + rest
}

func cases() map[string]strip {
	const deployment, service, configMap = "apps/v1 Deployment", "v1 Service", "v1 ConfigMap"
	kcm := func(fields string) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{by("kube-controller-manager", "Update", fields)}
	}
	ours := func(fields string) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{by("kfdev", "Apply", fields)}
	}
	return map[string]strip{
		"status":                                    {live: head(deployment, "}, status: {replicas: 1}}"), left: head(deployment, "}}")},
		"the server's metadata":                     {live: head(configMap, `, uid: u, resourceVersion: "1", generation: 3, creationTimestamp: "2026-01-01T00:00:00Z", selfLink: /x}}`), left: head(configMap, "}}")},
		"the server's metadata, under any owner":    {live: head(configMap, ", uid: u}}"), owned: ours(`{"f:metadata":{"f:uid":{}}}`), left: head(configMap, "}}")},
		"rollout restart":                           {live: head(deployment, `}, spec: {template: {metadata: {annotations: {"kubectl.kubernetes.io/restartedAt": x, mine: w}}}}}`), left: head(deployment, "}, spec: {template: {metadata: {annotations: {mine: w}}}}}")},
		"rollout restart alone leaves no empty map": {live: head(deployment, `}, spec: {template: {metadata: {annotations: {"kubectl.kubernetes.io/restartedAt": x}, labels: {a: b}}}}}`), left: head(deployment, "}, spec: {template: {metadata: {labels: {a: b}}}}}")},
		"a restart that kfdev applied stays": {live: head(deployment, `}, spec: {template: {metadata: {annotations: {"kubectl.kubernetes.io/restartedAt": x}}}}}`),
			owned: ours(`{"f:spec":{"f:template":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/restartedAt":{}}}}}}`), left: head(deployment, `}, spec: {template: {metadata: {annotations: {"kubectl.kubernetes.io/restartedAt": x}}}}}`)},
		"last applied": {live: head(configMap, `, annotations: {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}`), left: head(configMap, "}}")},
		"autoscaled replicas, though kfdev applied them": {live: head(deployment, "}, spec: {replicas: 4, paused: true}}"), owned: ours(`{"f:spec":{"f:replicas":{}}}`), left: head(deployment, "}, spec: {paused: true}}"), scale: true},
		"replicas that nothing scales":                   {live: head(deployment, "}, spec: {replicas: 4}}"), left: head(deployment, "}, spec: {replicas: 4}}")},
		"a CA bundle of an injector": {live: head("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "}, webhooks: [{name: w, clientConfig: {caBundle: Zm9v, url: u}}]}"),
			owned: []metav1.ManagedFieldsEntry{by("cainjector", "Update", `{"f:webhooks":{"k:{\"name\":\"w\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)},
			left:  head("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "}, webhooks: [{name: w, clientConfig: {url: u}}]}")},
		"a CA bundle by hand stays": {live: head("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "}, webhooks: [{name: w, clientConfig: {caBundle: Zm9v}}]}"),
			owned: []metav1.ManagedFieldsEntry{by("kubectl-edit", "Update", `{"f:webhooks":{"k:{\"name\":\"w\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)},
			left:  head("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "}, webhooks: [{name: w, clientConfig: {caBundle: Zm9v}}]}")},
		"a CA bundle of kfdev's own in a plan": {plan: true, live: head("apiextensions.k8s.io/v1 CustomResourceDefinition", "}, spec: {group: g, conversion: {strategy: Webhook, webhook: {clientConfig: {caBundle: Zm9v}}}}}"), owned: ours(`{"f:spec":{"f:conversion":{"f:webhook":{"f:clientConfig":{"f:caBundle":{}}}}}}`),
			left: head("apiextensions.k8s.io/v1 CustomResourceDefinition", "}, spec: {group: g, conversion: {strategy: Webhook}}}")},
		"a CA bundle of an API in a plan":      {plan: true, live: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g, caBundle: Zm9v}}"), owned: ours(`{"f:spec":{"f:caBundle":{}}}`), left: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g}}")},
		"a CA bundle under kfdev's name stays": {live: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g, caBundle: Zm9v}}"), owned: ours(`{"f:spec":{"f:caBundle":{}}}`), left: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g, caBundle: Zm9v}}")},
		"a CA bundle of an API":                {live: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g, caBundle: Zm9v}}"), owned: kcm(`{"f:spec":{"f:caBundle":{}}}`), left: head("apiregistration.k8s.io/v1 APIService", "}, spec: {group: g}}")},
		"addresses of a Service":               {live: head(service, "}, spec: {selector: {a: b}, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, ports: [{port: 80, nodePort: 30001, protocol: TCP, targetPort: 80}], type: ClusterIP, sessionAffinity: None, internalTrafficPolicy: Cluster}}"), left: head(service, "}, spec: {selector: {a: b}, ports: [{port: 80}]}}")},
		"a node port that kfdev applied stays": {live: head(service, "}, spec: {ports: [{port: 80, protocol: TCP, nodePort: 30001}]}}"), owned: ours(`{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:nodePort":{}}}}}`),
			left: head(service, "}, spec: {ports: [{port: 80, nodePort: 30001}]}}")},
		"a node port by hand stays": {live: head(service, "}, spec: {ports: [{port: 80, protocol: TCP, nodePort: 30001}]}}"), owned: []metav1.ManagedFieldsEntry{by("kubectl-edit", "Update", `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:nodePort":{}}}}}`)},
			left: head(service, "}, spec: {ports: [{port: 80, nodePort: 30001}]}}")},
		"a health check's port":                            {live: head(service, "}, spec: {selector: {a: b}, healthCheckNodePort: 30002}}"), left: head(service, "}, spec: {selector: {a: b}}}")},
		"a balancer's finalizer":                           {live: head(service, `, finalizers: ["service.kubernetes.io/load-balancer-cleanup", mine]}}`), owned: kcm(`{"f:metadata":{"f:finalizers":{"v:\"service.kubernetes.io/load-balancer-cleanup\"":{}}}}`), left: head(service, ", finalizers: [mine]}}")},
		"a Deployment's revision":                          {live: head(deployment, `, annotations: {"deployment.kubernetes.io/revision": "3"}}}`), left: head(deployment, "}}")},
		"a bound claim":                                    {live: head("v1 PersistentVolumeClaim", `, finalizers: [kubernetes.io/pvc-protection], annotations: {"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": node}}, spec: {volumeName: v, storageClassName: s, volumeMode: Filesystem, accessModes: [x]}}`), left: head("v1 PersistentVolumeClaim", "}, spec: {accessModes: [x]}}")},
		"a claim that gets the default class late":         {live: head("v1 PersistentVolumeClaim", "}, spec: {storageClassName: s, accessModes: [x]}}"), owned: kcm(`{"f:spec":{"f:storageClassName":{}}}`), left: head("v1 PersistentVolumeClaim", "}, spec: {accessModes: [x]}}")},
		"a bound volume":                                   {live: head("v1 PersistentVolume", `, finalizers: [kubernetes.io/pv-protection], annotations: {"pv.kubernetes.io/provisioned-by": d}}, spec: {claimRef: {name: c}, csi: {driver: d}}}`), left: head("v1 PersistentVolume", "}, spec: {csi: {driver: d}}}")},
		"an account's tokens":                              {live: head("v1 ServiceAccount", "}, secrets: [{name: t}], imagePullSecrets: [{name: p}]}"), owned: kcm(`{"f:secrets":{".":{},"k:{\"name\":\"t\"}":{}},"f:imagePullSecrets":{}}`), left: head("v1 ServiceAccount", "}}")},
		"an account's pull secrets by hand stay":           {live: head("v1 ServiceAccount", "}, imagePullSecrets: [{name: p}]}"), owned: []metav1.ManagedFieldsEntry{by("kubectl-patch", "Update", `{"f:imagePullSecrets":{}}`)}, left: head("v1 ServiceAccount", "}, imagePullSecrets: [{name: p}]}")},
		"a namespace's own":                                {live: head("v1 Namespace", `, labels: {"kubernetes.io/metadata.name": a, x: w}}, spec: {finalizers: [kubernetes]}}`), left: head("v1 Namespace", ", labels: {x: w}}}")},
		"a profile's namespace":                            {live: head("v1 Namespace", `, annotations: {owner: ann}, labels: {"istio-injection": enabled}}}`), owned: []metav1.ManagedFieldsEntry{by("manager", "Update", `{"f:metadata":{"f:annotations":{"f:owner":{}},"f:labels":{"f:istio-injection":{}}}}`)}, left: head("v1 Namespace", "}}")},
		"a profile's namespace with another owner by hand": {live: head("v1 Namespace", `, annotations: {owner: eve}}}`), owned: []metav1.ManagedFieldsEntry{by("kubectl-edit", "Update", `{"f:metadata":{"f:annotations":{"f:owner":{}}}}`)}, left: head("v1 Namespace", ", annotations: {owner: eve}}}")},
		"a Job's identity":                                 {live: head("batch/v1 Job", `, labels: {"batch.kubernetes.io/job-name": a}}, spec: {backoffLimit: 6, suspend: false, selector: {matchLabels: {"batch.kubernetes.io/controller-uid": u}}, template: {metadata: {labels: {"controller-uid": u, "job-name": a, mine: x}}}}}`), left: head("batch/v1 Job", "}, spec: {template: {metadata: {labels: {mine: x}}}}}")},
		"claim templates":                                  {live: head("apps/v1 StatefulSet", "}, spec: {serviceName: s, volumeClaimTemplates: [{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d, creationTimestamp: null}, spec: {accessModes: [x], volumeMode: Filesystem}, status: {phase: Pending}}]}}"), left: head("apps/v1 StatefulSet", "}, spec: {serviceName: s, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [x]}}]}}")},
		"aggregated rules":                                 {live: head("rbac.authorization.k8s.io/v1 ClusterRole", "}, aggregationRule: {x: w}, rules: [{verbs: [get]}]}"), owned: []metav1.ManagedFieldsEntry{by("clusterrole-aggregation-controller", "Apply", `{"f:rules":{}}`)}, left: head("rbac.authorization.k8s.io/v1 ClusterRole", "}, aggregationRule: {x: w}}")},
		"rules by hand stay":                               {live: head("rbac.authorization.k8s.io/v1 ClusterRole", "}, rules: [{verbs: [get]}]}"), owned: []metav1.ManagedFieldsEntry{by("kubectl-edit", "Update", `{"f:rules":{}}`)}, left: head("rbac.authorization.k8s.io/v1 ClusterRole", "}, rules: [{verbs: [get]}]}")},
		"endpoints":                                        {live: head("v1 Endpoints", "}, subsets: [{addresses: [{ip: 10.0.0.2}]}]}"), owned: kcm(`{"f:subsets":{}}`), left: head("v1 Endpoints", "}}")},
		"endpoint slices":                                  {live: head("discovery.k8s.io/v1 EndpointSlice", "}, addressType: IPv4, endpoints: [{addresses: [10.0.0.2]}]}"), owned: kcm(`{"f:addressType":{},"f:endpoints":{}}`), left: head("discovery.k8s.io/v1 EndpointSlice", "}}")},
		"a lease's holder":                                 {live: head("coordination.k8s.io/v1 Lease", "}, spec: {holderIdentity: x, renewTime: t, acquireTime: t, leaseTransitions: 3, leaseDurationSeconds: 15}}"), left: head("coordination.k8s.io/v1 Lease", "}}")},
		"a leader's note":                                  {live: head(configMap, `, annotations: {"control-plane.alpha.kubernetes.io/leader": "{}"}}}`), left: head(configMap, "}}")},
		"a node's state":                                   {live: head("v1 Node", "}, spec: {podCIDR: 10.0.0.0/24, providerID: kind://x, taints: [{key: node.kubernetes.io/not-ready, effect: NoSchedule}, {key: mine, effect: NoSchedule}]}}"), left: head("v1 Node", "}, spec: {taints: [{key: mine, effect: NoSchedule}]}}")},
		"a kind's defaults":                                {live: head("apiextensions.k8s.io/v1 CustomResourceDefinition", "}, spec: {group: g, conversion: {strategy: None}, names: {kind: K, plural: ks, singular: k, listKind: KList}}, status: {storedVersions: [v1]}}"), left: head("apiextensions.k8s.io/v1 CustomResourceDefinition", "}, spec: {group: g, names: {kind: K, plural: ks}}}")},
		"a budget's status":                                {live: head("policy/v1 PodDisruptionBudget", "}, spec: {minAvailable: 1, unhealthyPodEvictionPolicy: IfHealthyBudget}, status: {currentHealthy: 1}}"), left: head("policy/v1 PodDisruptionBudget", "}, spec: {minAvailable: 1}}")},
		"an autoscaler's old notes":                        {live: head("autoscaling/v2 HorizontalPodAutoscaler", `, annotations: {"autoscaling.alpha.kubernetes.io/conditions": "[]"}}, spec: {maxReplicas: 3, minReplicas: 1}}`), left: head("autoscaling/v2 HorizontalPodAutoscaler", "}, spec: {maxReplicas: 3}}")},
		"a deletion's finalizer":                           {live: head(configMap, ", finalizers: [foregroundDeletion]}}"), left: head(configMap, "}}")},
		"another finalizer stays":                          {live: head(configMap, ", finalizers: [example.com/x]}}"), left: head(configMap, ", finalizers: [example.com/x]}}")},
		"defaults of pods": {live: head(deployment, `}, spec: {progressDeadlineSeconds: 600, revisionHistoryLimit: 10, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}, template: {spec: {restartPolicy: Always, dnsPolicy: ClusterFirst, schedulerName: default-scheduler, securityContext: {}, terminationGracePeriodSeconds: 30, serviceAccount: s, serviceAccountName: s, volumes: [{name: v, configMap: {name: c, defaultMode: 420}}],
			containers: [{name: c, image: "i:1", imagePullPolicy: IfNotPresent, resources: {}, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File, livenessProbe: {failureThreshold: 3, periodSeconds: 5, successThreshold: 1, timeoutSeconds: 1, httpGet: {port: 80, scheme: HTTP}}}]}}}}`),
			left: head(deployment, `}, spec: {template: {spec: {serviceAccountName: s, volumes: [{name: v, configMap: {name: c}}], containers: [{name: c, image: "i:1", livenessProbe: {periodSeconds: 5, httpGet: {port: 80}}}]}}}}`)},
		"another value than the default stays": {live: head(deployment, "}, spec: {template: {spec: {dnsPolicy: Default, terminationGracePeriodSeconds: 5, containers: [{name: c, terminationMessagePolicy: FallbackToLogsOnError}]}}}}"), left: head(deployment, "}, spec: {template: {spec: {dnsPolicy: Default, terminationGracePeriodSeconds: 5, containers: [{name: c, terminationMessagePolicy: FallbackToLogsOnError}]}}}}")},
		"defaults of webhooks":                 {live: head("admissionregistration.k8s.io/v1 MutatingWebhookConfiguration", "}, webhooks: [{name: w, failurePolicy: Fail, matchPolicy: Equivalent, namespaceSelector: {}, objectSelector: {}, timeoutSeconds: 10, reinvocationPolicy: Never, rules: [{apiGroups: [g], scope: '*'}]}]}"), left: head("admissionregistration.k8s.io/v1 MutatingWebhookConfiguration", "}, webhooks: [{name: w, rules: [{apiGroups: [g]}]}]}")},
		"where a pod runs":                     {live: head("v1 Pod", "}, spec: {nodeName: node, priority: 0, volumes: [{name: kube-api-access-x, projected: {}}, {name: mine, emptyDir: {sizeLimit: 1Gi}}], containers: [{name: c, volumeMounts: [{name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}, {name: mine, mountPath: /m}]}]}}"), left: head("v1 Pod", "}, spec: {volumes: [{name: mine, emptyDir: {sizeLimit: 1Gi}}], containers: [{name: c, volumeMounts: [{name: mine, mountPath: /m}]}]}}")},
		"pull policies of tags":                {live: head(deployment, `}, spec: {template: {spec: {containers: [{image: i, imagePullPolicy: Always}, {image: "r:5000/i", imagePullPolicy: Always}, {image: "i:latest", imagePullPolicy: Always}, {image: "r:5000/i@sha256:1", imagePullPolicy: IfNotPresent}], volumes: [{image: {reference: "i:1", pullPolicy: IfNotPresent}}]}}}}`), left: head(deployment, `}, spec: {template: {spec: {containers: [{image: i}, {image: "r:5000/i"}, {image: "i:latest"}, {image: "r:5000/i@sha256:1"}], volumes: [{image: {reference: "i:1"}}]}}}}`)},
		"other pull policies stay":             {live: head(deployment, `}, spec: {template: {spec: {containers: [{image: i, imagePullPolicy: IfNotPresent}, {image: "i:1", imagePullPolicy: Always}, {image: "i@sha256:1", imagePullPolicy: Never}], volumes: [{image: {reference: "i:1", pullPolicy: Always}}]}}}}`), left: head(deployment, `}, spec: {template: {spec: {containers: [{image: i, imagePullPolicy: IfNotPresent}, {image: "i:1", imagePullPolicy: Always}, {image: "i@sha256:1", imagePullPolicy: Never}], volumes: [{image: {reference: "i:1", pullPolicy: Always}}]}}}}`)},
		"directions of what comes in":          {live: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {podSelector: {a: b}, policyTypes: [Ingress]}}"), left: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {podSelector: {a: b}}}")},
		"directions of what goes out":          {live: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {egress: [{to: x}], policyTypes: [Ingress, Egress]}}"), left: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {egress: [{to: x}]}}")},
		"another direction stays":              {live: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {egress: [{to: x}], policyTypes: [Ingress]}}"), left: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {egress: [{to: x}], policyTypes: [Ingress]}}")},
		"a direction more stays":               {live: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {podSelector: {a: b}, policyTypes: [Ingress, Egress]}}"), left: head("networking.k8s.io/v1 NetworkPolicy", "}, spec: {podSelector: {a: b}, policyTypes: [Ingress, Egress]}}")},
		"what pods a Job replaces":             {live: head("batch/v1 Job", "}, spec: {podFailurePolicy: {a: b}, podReplacementPolicy: Failed}}"), left: head("batch/v1 Job", "}, spec: {podFailurePolicy: {a: b}}}")},
		"what other pods a Job replaces stays": {live: head("batch/v1 Job", "}, spec: {podReplacementPolicy: Failed}}"), left: head("batch/v1 Job", "}, spec: {podReplacementPolicy: Failed}}")},
		"limits that come of others":           {live: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8", memory: 8Gi}, min: {disk: "1"}, default: {cpu: "8", memory: 2Gi}, defaultRequest: {cpu: 8000m, memory: 2Gi, disk: "1"}}]}}`), left: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8", memory: 8Gi}, min: {disk: "1"}, default: {memory: 2Gi}}]}}`)},
		"another limit stays":                  {live: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8"}, default: {cpu: "4"}, defaultRequest: {cpu: "4"}}, {type: Pod, max: {cpu: "8"}, default: {cpu: "8"}}]}}`), left: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8"}, default: {cpu: "4"}}, {type: Pod, max: {cpu: "8"}, default: {cpu: "8"}}]}}`)},
		"a limit's defaults":                   {live: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8"}, default: {cpu: "8"}}]}}`), left: head("v1 LimitRange", `}, spec: {limits: [{type: Container, max: {cpu: "8"}}]}}`)},
	}
}

func TestStrip(t *testing.T) {
	t.Parallel()
	all := cases()
	require.GreaterOrEqual(t, len(all), 25)
	for name, tc := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := noise.Default()
			if tc.plan {
				rules = noise.Plans()
			}
			if tc.scale {
				rules = rules.With(noise.Facts{Autoscaled: noise.Autoscaled([]*unstructured.Unstructured{
					object(t, "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}}")})})
			}
			live := object(t, tc.live)
			live.SetManagedFields(tc.owned)
			before := live.DeepCopy()
			got := rules.Strip(live)
			require.Equal(t, before.Object, live.Object, "what was given is not touched")
			want := object(t, tc.left)
			require.Equal(t, want.Object, got.Object)
			require.Equal(t, noise.Hash(want), noise.Hash(got))

			// Find tells of the very places that Strip takes out.
			for _, n := range rules.Find(live) {
				require.NotEmpty(t, n.Rule)
				require.NotEmpty(t, n.At)
			}
			require.Equal(t, before.Object, live.Object)
			if len(tc.owned) == 0 {
				require.Empty(t, rules.Find(got), "nothing is left to be taken out")
			}
		})
	}
}

// TestWhatWasAppliedSaysWhatIsDerived: what others have made of the object
// beside a value does not make the value another.
func TestWhatWasAppliedSaysWhatIsDerived(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ applied, live, left string }{
		"rules for what goes out, by hand": {"}, spec: {}}", "}, spec: {egress: [{to: x}], policyTypes: [Ingress]}}", "}, spec: {egress: [{to: x}]}}"},
		"and the direction, by hand":       {"}, spec: {}}", "}, spec: {egress: [{to: x}], policyTypes: [Ingress, Egress]}}", "}, spec: {egress: [{to: x}], policyTypes: [Ingress, Egress]}}"},
		"rules taken out":                  {"}, spec: {egress: [{to: x}]}}", "}, spec: {podSelector: {a: b}, policyTypes: [Ingress, Egress]}}", "}, spec: {podSelector: {a: b}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const kind = "networking.k8s.io/v1 NetworkPolicy"
			rules := noise.Default().Against(object(t, head(kind, tc.applied)))
			require.Equal(t, object(t, head(kind, tc.left)).Object, rules.Strip(object(t, head(kind, tc.live))).Object)
		})
	}
	rules := noise.Default().Against(object(t, head("apps/v1 Deployment", `}, spec: {template: {spec: {containers: [{name: a, image: "i:1"}]}}}}`)))
	got := rules.Strip(object(t, head("apps/v1 Deployment", `}, spec: {template: {spec: {containers: [{name: sidecar, image: evil, imagePullPolicy: Always}, {name: a, image: evil, imagePullPolicy: IfNotPresent}]}}}}`)))
	require.Equal(t, object(t, head("apps/v1 Deployment", `}, spec: {template: {spec: {containers: [{name: sidecar, image: evil}, {name: a, image: evil}]}}}}`)).Object, got.Object)
}

func TestHashIsOfTheContentOnly(t *testing.T) {
	t.Parallel()
	a := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: w, z: w}}")
	b := object(t, "{kind: ConfigMap, data: {z: w, x: w}, metadata: {name: a}, apiVersion: v1}")
	require.Equal(t, noise.Hash(a), noise.Hash(b))
	require.Len(t, noise.Hash(a), 64)
	require.NoError(t, unstructured.SetNestedField(b.Object, "other", "data", "x"))
	require.NotEqual(t, noise.Hash(a), noise.Hash(b))
	require.Empty(t, noise.Hash(nil))
}

func TestObjectsThatAreKnown(t *testing.T) {
	t.Parallel()
	rules := noise.Default()
	owner := func(version, kind string) string {
		return ", ownerReferences: [{apiVersion: " + version + ", kind: " + kind + ", name: o, uid: u, controller: true}]"
	}
	for text, rule := range map[string]string{
		head("v1 Event", "}}"):     "events",
		head("v1 ConfigMap", "}}"): "",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt}}":                "root-certificates",
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}":                    "default-accounts",
		head("v1 ServiceAccount", "}}"):                                                        "",
		head("apps/v1 ReplicaSet", owner("apps/v1", "Deployment")+"}}"):                        "replica-sets",
		head("apps/v1 ReplicaSet", "}}"):                                                       "",
		head("v1 Pod", owner("apps/v1", "ReplicaSet")+"}}"):                                    "pods-of-owners",
		head("v1 Pod", owner("example.com/v1", "Thing")+"}}"):                                  "",
		head("v1 Secret", `, annotations: {"kubernetes.io/service-account.uid": u}}}`):         "token-secrets",
		head("v1 Secret", "}}"):                                                                "",
		"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-db-0}}":           "stored-volumes",
		"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}}":                "",
		"{apiVersion: v1, kind: Secret, metadata: {name: sh.helm.release.v1.a.v3}}":            "helm-releases",
		head("v1 Secret", `, labels: {kfdev.dev/component: x}}}`):                              "kfdev-seeded",
		head("coordination.k8s.io/v1 Lease", "}}"):                                             "leases",
		head("batch/v1 Job", owner("batch/v1", "CronJob")+"}}"):                                "scheduled-jobs",
		head("apps/v1 ControllerRevision", owner("apps/v1", "DaemonSet")+"}}"):                 "revisions",
		head("v1 ConfigMap", `, annotations: {control-plane.alpha.kubernetes.io/leader: x}}}`): "leader-election",
	} {
		o := object(t, text)
		got, ok := rules.Known(o.GroupVersionKind().Group, o.GetKind(), o)
		require.Equal(t, rule, got.Name, text)
		require.Equal(t, rule != "", ok, text)
	}
	require.True(t, rules.Ignores("", "Event"))
	require.False(t, rules.Ignores("", "ConfigMap"))
}

func TestEveryRuleSaysWhy(t *testing.T) {
	t.Parallel()
	rules := noise.Default().List()
	require.Greater(t, len(rules), 60)
	for _, r := range rules {
		require.NotEmpty(t, r.Reason, r.Name)
	}
}

func TestAProjectExtendsTheRules(t *testing.T) {
	t.Parallel()
	more, err := noise.Parse("kfdev.yaml", []byte(`
fields:
  - {name: cost, reason: billing labels it, kinds: [apps/*], managers: [bill*], paths: {'metadata/labels["cost/*"]': ""}}
objects:
  - {name: reports, reason: the scanner leaves them, kinds: [scan.example/*]}
`))
	require.NoError(t, err)
	base := noise.Default()
	both := base.And(more)
	require.NotEqual(t, base.Digest(), both.Digest())
	require.Equal(t, noise.Default().Digest(), base.Digest())
	o := object(t, head("apps/v1 Deployment", ", labels: {cost/center: x, other: team}}}"))
	o.SetManagedFields([]metav1.ManagedFieldsEntry{by("biller", "Update", `{"f:metadata":{"f:labels":{"f:cost/center":{}}}}`)})
	require.Equal(t, map[string]string{"other": "team"}, both.Strip(o).GetLabels())
	require.Len(t, base.Strip(o).GetLabels(), 2)
	require.True(t, both.Ignores("scan.example", "Report"))
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"fields: [{name: A b, reason: r, kinds: ['*'], paths: {status: ''}}]":                                   `f:1:17: name: lower-case letters`,
		"fields: [{name: a, kinds: ['*'], paths: {status: ''}}]":                                                `reason: say why`,
		"fields: [{name: a, reason: r, kinds: [Service], paths: {status: ''}}]":                                 `f:1:39: "Service": a kind is written GROUP/Kind`,
		"fields: [{name: a, reason: r, paths: {status: ''}}]":                                                   `kinds: name a kind`,
		"fields: [{name: a, reason: r, kinds: ['*']}]":                                                          `paths: a rule needs a path`,
		"fields: [{name: a, reason: r, kinds: ['*'], paths: {'spec/[x': ''}}]":                                  `paths: "spec/[x": a field's name is wanted, at character 5`,
		"fields: [{name: a, reason: r, kinds: ['*'], paths: {status: '('}}]":                                    `missing closing )`,
		"fields: [{name: a, reason: r, kinds: ['*'], paths: {metadata: ''}}]":                                   `an object's kind and name are no noise`,
		"fields: [{name: a, reason: r, kinds: ['*'], paths: {spec: ''}}]":                                       `an object's kind and name are no noise`,
		"fields: [{name: a, reason: r, kinds: ['*'], paths: {metadata/name: ''}}]":                              `an object's kind and name are no noise`,
		"fields: [{name: a, reason: r, kinds: ['*'], when: never, paths: {status: ''}}]":                        `when: only "autoscaled" can be asked`,
		"fields: [{name: a, reason: r, kinds: ['*'], derived: never, paths: {status: ''}}]":                     `derived: directions, limits, pull-policy or replacement can be asked`,
		"fields: [{name: a, reason: r, kinds: ['*'], unowned: true, managers: [x], paths: {status: ''}}]":       `what nobody owns has no managers`,
		"fields: [{name: a, reason: r, kinds: ['*'], managers: ['[x'], paths: {status: ''}}]":                   `"[x" is no pattern`,
		"fields: [{name: a, reason: r, kinds: ['*'], path: {status: ''}}]":                                      `unknown key "fields[0].path": did you mean "paths"?`,
		"objects: [{name: a, reason: r, kinds: ['*']}]":                                                         `else nothing is foreign`,
		"objects: [{name: a, reason: r, kinds: ['core/Secret']}, {name: a, reason: r, kinds: ['core/Secret']}]": `"a" comes twice`,
		"[": `did not find expected`,
	} {
		_, err := noise.Parse("f", []byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"status", "spec/ports[*]/nodePort", `metadata/annotations["a.b/c"]`, `metadata/annotations["a.b/*"]`, "spec/taints[key=node.kubernetes.io/x]/effect"} {
		p, err := noise.ParsePath(text)
		require.NoError(t, err)
		require.Equal(t, text, p.String())
	}
	for _, text := range []string{"", "/a", "[*]", "a//b", "a/", "a[", `a["x`, `a[""]`, "a[b]", "a.b", `a["*"]`} {
		_, err := noise.ParsePath(text)
		require.Error(t, err, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("fields: [{name: a, reason: r, kinds: ['*'], paths: {'spec/x[*][\"k\"]': 'v'}}]"))
	f.Add([]byte("objects: [{name: a, reason: r, kinds: [core/Secret], names: ['x*']}]"))
	o := object(f, head("apps/v1 Deployment", ", labels: {a: b}}, spec: {replicas: 1, x: [{k: v}, [1, 2], null]}}"))
	before, err := json.Marshal(o.Object)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := noise.Parse("f", data)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		got := rules.Strip(o)
		after, err := json.Marshal(o.Object)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after))
		require.Equal(t, "a", got.GetName())
		require.Equal(t, "Deployment", got.GetKind())
	})
}

func FuzzParsePath(f *testing.F) {
	for _, text := range []string{"a/b[*]", `a["b.c*"]`, "a[b=c]/d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := noise.ParsePath(text)
		if err != nil {
			return
		}
		again, err := noise.ParsePath(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p, again)
	})
}
