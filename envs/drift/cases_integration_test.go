//go:build integration

package drift_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/stack/apply"
)

// difference is one thing that somebody does to an environment, and what is to
// be found.
type difference struct {
	what string // for docs
	do   func(t *testing.T, c *cluster)
	want []string
}

func (c *cluster) at(kind, name string) target {
	versions := map[string]string{
		"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "CronJob": "batch/v1", "Job": "batch/v1",
		"PodDisruptionBudget": "policy/v1", "NetworkPolicy": "networking.k8s.io/v1", "Ingress": "networking.k8s.io/v1",
		"Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1", "HorizontalPodAutoscaler": "autoscaling/v2",
		"Widget": "demo.example/v1",
	}
	clusterWide := map[string]string{
		"ClusterRole": "rbac.authorization.k8s.io/v1", "ClusterRoleBinding": "rbac.authorization.k8s.io/v1", "Namespace": "v1",
		"ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1", "CustomResourceDefinition": "apiextensions.k8s.io/v1",
		"PriorityClass": "scheduling.k8s.io/v1", "StorageClass": "storage.k8s.io/v1", "Profile": "kubeflow.org/v1",
	}
	if v, ok := clusterWide[kind]; ok {
		return target{c, v, kind, "", name}
	}
	v := versions[kind]
	if v == "" {
		v = "v1"
	}
	return target{c, v, kind, "demo", name}
}

func edit(kind, name, text string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		c.at(kind, name).edit(t, text)
	}
}

func patchJSON(kind, name, text string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		c.at(kind, name).json(t, text)
	}
}

func remove(kind, name string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		c.at(kind, name).delete(t)
	}
}

func create(text string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		c.create(t, text)
	}
}

// applied applies an object under kfdev's own name.
func applied(kind, name, text string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		x := c.at(kind, name)
		label, set, _ := strings.Cut(apply.Selector("demo"), "=")
		x.patch(t, types.ApplyPatchType, apply.Manager, "{apiVersion: "+x.apiVersion+", kind: "+kind+", metadata: {name: "+name+", labels: {"+label+": "+set+"}}, "+text+"}")
	}
}

const template = "Deployment/demo/web spec/template/spec/"

func differences() []difference {
	pod := func(spec string) string { return "{spec: {template: {spec: " + spec + "}}}" }
	container := func(text string) string { return pod("{containers: [{name: web, " + text + "}]}") }
	return []difference{
		{what: "a sidecar is added by hand, which a server-side dry run calls unchanged", do: edit("Deployment", "web", pod(`{containers: [{name: evil, image: "evil:latest"}]}`)),
			want: []string{"foreign-field " + template + "containers[name=evil]"}},
		{what: "an image is changed", do: edit("Deployment", "web", container(`image: "evil:latest"`)), want: []string{"changed " + template + "containers[name=web]/image"}},
		{what: "replicas are changed, and nothing scales them", do: edit("Deployment", "web", "{spec: {replicas: 5}}"), want: []string{"changed Deployment/demo/web spec/replicas"}},
		{what: "a rollout is paused", do: edit("Deployment", "web", "{spec: {paused: true}}"), want: []string{"foreign-field Deployment/demo/web spec/paused"}},
		{what: "a variable gets another value", do: edit("Deployment", "web", container("env: [{name: MODE, value: dev}]")), want: []string{"changed " + template + "containers[name=web]/env[name=MODE]/value"}},
		{what: "a variable is added", do: edit("Deployment", "web", container("env: [{name: DEBUG, value: \"1\"}]")), want: []string{"foreign-field " + template + "containers[name=web]/env[name=DEBUG]"}},
		{what: "a variable is taken out", do: patchJSON("Deployment", "web", `[{op: remove, path: /spec/template/spec/containers/0/env/1}]`), want: []string{"lost " + template + "containers[name=web]/env[name=LEVEL]"}},
		{what: "variables change places", do: patchJSON("Deployment", "web", `[{op: move, from: /spec/template/spec/containers/0/env/0, path: /spec/template/spec/containers/0/env/1}]`), want: []string{"changed " + template + "containers[name=web]/env"}},
		{what: "init containers change places", do: patchJSON("Deployment", "web", `[{op: move, from: /spec/template/spec/initContainers/0, path: /spec/template/spec/initContainers/1}]`), want: []string{"changed " + template + "initContainers"}},
		{what: "an argument is changed", do: patchJSON("Deployment", "web", `[{op: replace, path: /spec/template/spec/containers/0/args/1, value: "9090"}]`), want: []string{"changed " + template + "containers[name=web]/args[1]"}},
		{what: "an argument is added", do: patchJSON("Deployment", "web", `[{op: add, path: /spec/template/spec/containers/0/args/-, value: "-v"}]`), want: []string{"changed " + template + "containers[name=web]/args"}},
		{what: "a memory limit is raised", do: edit("Deployment", "web", container("resources: {limits: {memory: 4Gi}}")), want: []string{"changed " + template + "containers[name=web]/resources/limits/memory"}},
		{what: "a limit for a GPU is added", do: edit("Deployment", "web", container(`resources: {requests: {"example.com/gpu": "1"}, limits: {"example.com/gpu": "1"}}`)),
			want: []string{"foreign-field " + template + `containers[name=web]/resources/limits["example.com/gpu"]`, "foreign-field " + template + `containers[name=web]/resources/requests["example.com/gpu"]`}},
		{what: "a probe is taken out", do: patchJSON("Deployment", "web", `[{op: remove, path: /spec/template/spec/containers/0/livenessProbe}]`), want: []string{"lost " + template + "containers[name=web]/livenessProbe"}},
		{what: "a probe's default is changed", do: edit("Deployment", "web", container("livenessProbe: {failureThreshold: 99}")), want: []string{"foreign-field " + template + "containers[name=web]/livenessProbe/failureThreshold"}},
		{what: "a container may become root", do: edit("Deployment", "web", container("securityContext: {allowPrivilegeEscalation: true, runAsUser: 0}")),
			want: []string{"changed " + template + "containers[name=web]/securityContext/allowPrivilegeEscalation", "foreign-field " + template + "containers[name=web]/securityContext/runAsUser"}},
		{what: "a capability is added", do: edit("Deployment", "web", container("securityContext: {capabilities: {add: [SYS_ADMIN]}}")), want: []string{"foreign-field " + template + "containers[name=web]/securityContext/capabilities/add"}},
		{what: "the host's network is used", do: edit("Deployment", "web", pod("{hostNetwork: true}")), want: []string{"foreign-field " + template + "hostNetwork"}},
		{what: "a volume of the host is mounted", do: edit("Deployment", "web", pod("{volumes: [{name: root, hostPath: {path: /}}], containers: [{name: web, volumeMounts: [{name: root, mountPath: /host}]}]}")),
			want: []string{"foreign-field " + template + "containers[name=web]/volumeMounts[mountPath=/host]", "foreign-field " + template + "volumes[name=root]"}},
		{what: "the service account is another", do: edit("Deployment", "web", pod("{serviceAccountName: admin}")), want: []string{"changed " + template + "serviceAccountName"}},
		{what: "a toleration is added", do: edit("Deployment", "web", pod("{tolerations: [{operator: Exists}]}")), want: []string{"foreign-field " + template + "tolerations"}},
		{what: "a label is added to pods", do: edit("Deployment", "web", "{spec: {template: {metadata: {labels: {extra: x}}}}}"), want: []string{"foreign-field Deployment/demo/web spec/template/metadata/labels/extra"}},
		{what: "an annotation is changed", do: edit("Deployment", "web", "{metadata: {annotations: {about: other}}}"), want: []string{"changed Deployment/demo/web metadata/annotations/about"}},
		{what: "a finalizer is added by hand", do: edit("ConfigMap", "settings", `{metadata: {finalizers: ["example.com/stuck"]}}`), want: []string{`foreign-field ConfigMap/demo/settings metadata/finalizers[=example.com/stuck]`}},
		{what: "the label that says which set it is of is taken off", do: patchJSON("ConfigMap", "settings", `[{op: remove, path: "/metadata/labels/applyset.kubernetes.io~1part-of"}]`), want: []string{"lost ConfigMap/demo/settings metadata/labels"}},
		{what: "a value of a ConfigMap is changed", do: edit("ConfigMap", "settings", "{data: {mode: dev}}"), want: []string{"changed ConfigMap/demo/settings data/mode"}},
		{what: "a key is added to a ConfigMap", do: edit("ConfigMap", "settings", "{data: {more: x}}"), want: []string{"foreign-field ConfigMap/demo/settings data/more"}},
		{what: "a key is taken out of a ConfigMap", do: patchJSON("ConfigMap", "settings", `[{op: remove, path: /data/app.yaml}]`), want: []string{`lost ConfigMap/demo/settings data["app.yaml"]`}},
		{what: "a value is taken by force and put back", do: func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ConfigMap", "settings").as(t, "somebody", "{data: {mode: dev}}")
			c.at("ConfigMap", "settings").as(t, "somebody", "{data: {mode: prod}}")
		}, want: []string{"ownership ConfigMap/demo/settings data/mode"}},
		{what: "a field is applied under kfdev's own name", do: func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ServiceAccount", "runner").patch(t, types.ApplyPatchType, "kfdev", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: runner, labels: {sneaky: x}}, automountServiceAccountToken: true}")
		}, want: []string{"foreign-field ServiceAccount/demo/runner automountServiceAccountToken", "lost ServiceAccount/demo/runner metadata/labels[\"applyset.kubernetes.io/part-of\"]", "foreign-field ServiceAccount/demo/runner metadata/labels/sneaky"}},
		{what: "an object is deleted", do: remove("ConfigMap", "settings"), want: []string{"deleted ConfigMap/demo/settings"}},
		{what: "a workload is deleted", do: remove("Deployment", "scaled"), want: []string{"deleted Deployment/demo/scaled"}},
		{what: "a role binding is deleted", do: remove("ClusterRoleBinding", "demo"), want: []string{"deleted ClusterRoleBinding/demo"}},
		{what: "a Service's selector is changed", do: edit("Service", "web", "{spec: {selector: {app: other}}}"), want: []string{"changed Service/demo/web spec/selector/app"}},
		{what: "a Service's target is changed", do: edit("Service", "web", "{spec: {ports: [{port: 80, targetPort: 9999}]}}"), want: []string{"changed Service/demo/web spec/ports[port=80,protocol=TCP]/targetPort"}},
		{what: "a Service gets a port", do: edit("Service", "web", "{spec: {ports: [{port: 81, name: more}]}}"), want: []string{"foreign-field Service/demo/web spec/ports[port=81,protocol=TCP]"}},
		{what: "a Service gets an outer address", do: edit("Service", "web", "{spec: {externalIPs: [192.0.2.1]}}"), want: []string{"foreign-field Service/demo/web spec/externalIPs"}},
		{what: "a role gets a verb", do: patchJSON("Role", "reader", `[{op: add, path: /rules/0/verbs/-, value: delete}]`), want: []string{"changed Role/demo/reader rules[0]/verbs"}},
		{what: "a role gets a rule", do: patchJSON("ClusterRole", "demo-part", `[{op: add, path: /rules/-, value: {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}}]`), want: []string{"changed ClusterRole/demo-part rules"}},
		{what: "a binding gets a subject", do: patchJSON("RoleBinding", "reader", `[{op: add, path: /subjects/-, value: {kind: User, name: eve}}]`), want: []string{"changed RoleBinding/demo/reader subjects"}},
		{what: "a quota is raised", do: edit("ResourceQuota", "limits", `{spec: {hard: {pods: "500"}}}`), want: []string{"changed ResourceQuota/demo/limits spec/hard/pods"}},
		{what: "a schedule is suspended", do: edit("CronJob", "nightly", "{spec: {suspend: true}}"), want: []string{"foreign-field CronJob/demo/nightly spec/suspend"}},
		{what: "a schedule is changed", do: edit("CronJob", "nightly", `{spec: {schedule: "0 4 * * *"}}`), want: []string{"changed CronJob/demo/nightly spec/schedule"}},
		{what: "a StatefulSet's image is changed", do: patchJSON("StatefulSet", "db", `[{op: replace, path: /spec/template/spec/containers/0/image, value: "evil:1"}]`), want: []string{"changed StatefulSet/demo/db spec/template/spec/containers[name=db]/image"}},
		{what: "a DaemonSet's node selector is changed", do: edit("DaemonSet", "agent", "{spec: {template: {spec: {nodeSelector: {disk: slow}}}}}"), want: []string{"changed DaemonSet/demo/agent spec/template/spec/nodeSelector/disk"}},
		{what: "a network policy is opened", do: patchJSON("NetworkPolicy", "closed", `[{op: add, path: /spec/ingress/-, value: {}}]`), want: []string{"changed NetworkPolicy/demo/closed spec/ingress"}},
		{what: "a network policy is of what goes out, too", do: edit("NetworkPolicy", "silent", "{spec: {policyTypes: [Ingress, Egress]}}"), want: []string{"foreign-field NetworkPolicy/demo/silent spec/policyTypes"}},
		{what: "a network policy is of what goes out no more", do: edit("NetworkPolicy", "outward", "{spec: {policyTypes: [Ingress]}}"), want: []string{"foreign-field NetworkPolicy/demo/outward spec/policyTypes"}},
		{what: "rules for what goes out are added to a network policy", do: edit("NetworkPolicy", "silent", "{spec: {egress: [{}], policyTypes: [Ingress, Egress]}}"),
			want: []string{"foreign-field NetworkPolicy/demo/silent spec/egress", "foreign-field NetworkPolicy/demo/silent spec/policyTypes"}},
		{what: "the rules for what goes out are taken out", do: patchJSON("NetworkPolicy", "outward", `[{op: remove, path: /spec/egress}]`), want: []string{"lost NetworkPolicy/demo/outward spec/egress"}},
		{what: "a network policy's directions are applied under kfdev's own name", do: applied("NetworkPolicy", "silent", "spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}], policyTypes: [Ingress, Egress]}"),
			want: []string{"foreign-field NetworkPolicy/demo/silent spec/policyTypes"}},
		{what: "a LimitRange's default request is changed", do: patchJSON("LimitRange", "defaults", `[{op: replace, path: /spec/limits/0/defaultRequest/cpu, value: "1"}]`), want: []string{"foreign-field LimitRange/demo/defaults spec/limits[0]/defaultRequest/cpu"}},
		{what: "a LimitRange's default is changed", do: patchJSON("LimitRange", "defaults", `[{op: replace, path: /spec/limits/0/defaultRequest/cpu, value: "1"}, {op: replace, path: /spec/limits/0/default/cpu, value: "2"}]`),
			want: []string{"foreign-field LimitRange/demo/defaults spec/limits[0]/default/cpu", "foreign-field LimitRange/demo/defaults spec/limits[0]/defaultRequest/cpu"}},
		{what: "a LimitRange's default of a resource of no maximum is added", do: patchJSON("LimitRange", "defaults", `[{op: add, path: /spec/limits/0/defaultRequest/ephemeral-storage, value: 1Gi}]`), want: []string{`foreign-field LimitRange/demo/defaults spec/limits[0]/defaultRequest/ephemeral-storage`}},
		{what: "a LimitRange's default is applied under kfdev's own name", do: applied("LimitRange", "defaults", `spec: {limits: [{type: Container, max: {cpu: "8", memory: 8192Mi}, default: {memory: 4Gi, cpu: "4"}, defaultRequest: {memory: 4Gi, cpu: "4"}}]}`),
			want: []string{"foreign-field LimitRange/demo/defaults spec/limits[0]/default/cpu", "foreign-field LimitRange/demo/defaults spec/limits[0]/defaultRequest/cpu"}},
		{what: "an image is pulled always", do: edit("Deployment", "web", container("imagePullPolicy: Always")), want: []string{"foreign-field " + template + "containers[name=web]/imagePullPolicy"}},
		{what: "a schedule's image is pulled always, under kfdev's own name", do: func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("CronJob", "nightly").patch(t, types.StrategicMergePatchType, "kfdev", "{spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: job, imagePullPolicy: Always}]}}}}}}")
		}, want: []string{"foreign-field CronJob/demo/nightly spec/jobTemplate/spec/template/spec/containers[name=job]/imagePullPolicy"}},
		{what: "a host is changed", do: patchJSON("Ingress", "web", `[{op: replace, path: /spec/rules/0/host, value: evil.example}]`), want: []string{"changed Ingress/demo/web spec/rules[0]/host"}},
		{what: "a budget is lowered", do: edit("PodDisruptionBudget", "web", "{spec: {minAvailable: 0}}"), want: []string{"changed PodDisruptionBudget/demo/web spec/minAvailable"}},
		{what: "an autoscaler's bound is raised", do: edit("HorizontalPodAutoscaler", "scaled", "{spec: {maxReplicas: 50}}"), want: []string{"changed HorizontalPodAutoscaler/demo/scaled spec/maxReplicas"}},
		{what: "a webhook lets failures pass", do: edit("ValidatingWebhookConfiguration", "demo", "{webhooks: [{name: check.demo.example, failurePolicy: Ignore}]}"), want: []string{"foreign-field ValidatingWebhookConfiguration/demo webhooks[name=check.demo.example]/failurePolicy"}},
		{what: "a webhook's CA bundle is put in by hand", do: edit("ValidatingWebhookConfiguration", "demo", "{webhooks: [{name: check.demo.example, clientConfig: {caBundle: "+bundle+"}}]}"), want: []string{"foreign-field ValidatingWebhookConfiguration/demo webhooks[name=check.demo.example]/clientConfig/caBundle"}},
		{what: "a webhook's CA bundle is put in under kfdev's own name", do: func(t *testing.T, c *cluster) {
			t.Helper()
			c.at("ValidatingWebhookConfiguration", "demo").patch(t, types.StrategicMergePatchType, "kfdev", "{webhooks: [{name: check.demo.example, clientConfig: {caBundle: "+bundle+"}}]}")
		}, want: []string{"foreign-field ValidatingWebhookConfiguration/demo webhooks[name=check.demo.example]/clientConfig/caBundle"}},
		{what: "a CA bundle that kfdev put in is changed by hand", do: edit("ValidatingWebhookConfiguration", "signed", "{webhooks: [{name: check.signed.example, clientConfig: {caBundle: "+bundle+"}}]}"),
			want: []string{"changed ValidatingWebhookConfiguration/signed webhooks[name=check.signed.example]/clientConfig/caBundle"}},
		{what: "a CA bundle that kfdev put in is changed under its own name", do: applied("ValidatingWebhookConfiguration", "signed", `webhooks: [{name: check.signed.example, admissionReviewVersions: [v1], sideEffects: None,
			clientConfig: {service: {namespace: demo, name: web, path: /check}, caBundle: `+bundle+`}, objectSelector: {matchLabels: {never: ever}}, rules: [{apiGroups: [demo.example], apiVersions: [v1], operations: [CREATE], resources: [widgets]}]}]`),
			want: []string{"changed ValidatingWebhookConfiguration/signed webhooks[name=check.signed.example]/clientConfig/caBundle"}},
		{what: "a kind gets another column", do: patchJSON("CustomResourceDefinition", "widgets.demo.example", `[{op: add, path: /spec/versions/0/additionalPrinterColumns, value: [{name: Size, type: integer, jsonPath: .spec.size}]}]`),
			want: []string{"foreign-field CustomResourceDefinition/widgets.demo.example spec/versions[0]/additionalPrinterColumns"}},
		{what: "a custom resource is changed", do: edit("Widget", "one", "{spec: {size: 4}}"), want: []string{"changed Widget/demo/one spec/size"}},
		{what: "a namespace's label is changed", do: edit("Namespace", "demo", "{metadata: {labels: {team: other}}}"), want: []string{"changed Namespace/demo metadata/labels/team"}},
		{what: "pod security of a namespace is loosened", do: edit("Namespace", "demo", `{metadata: {labels: {"pod-security.kubernetes.io/enforce": privileged}}}`), want: []string{`foreign-field Namespace/demo metadata/labels["pod-security.kubernetes.io/enforce"]`}},
		{what: "an object is put into the namespace", do: create("{apiVersion: v1, kind: ConfigMap, metadata: {name: stray, namespace: demo}, data: {a: b}}"), want: []string{"foreign-object ConfigMap/demo/stray"}},
		{what: "a workload is put into the namespace", do: create("{apiVersion: apps/v1, kind: Deployment, metadata: {name: miner, namespace: demo}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: m, image: miner}]}}}}"), want: []string{"foreign-object Deployment/demo/miner"}},
		{what: "a pod claims an owner that is not there", do: create("{apiVersion: v1, kind: Pod, metadata: {name: liar, namespace: demo, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: 00000000-0000-0000-0000-000000000000, controller: true}]}, spec: {containers: [{name: m, image: miner}]}}"),
			want: []string{"foreign-object Pod/demo/liar", "foreign-image Pod/demo/liar spec/containers[name=m]/image"}},
		{what: "a profile is edited by hand", do: edit("Profile", "team-a", "{spec: {owner: {name: eve@example.com}}}"), want: []string{"changed Profile/team-a spec/owner/name"}},
		{what: "a profile's quota is taken off", do: patchJSON("Profile", "team-a", `[{op: remove, path: /spec/resourceQuotaSpec}]`), want: []string{"lost Profile/team-a spec/resourceQuotaSpec"}},
		{what: "a profile's namespace gets another owner", do: edit("Namespace", "team-a", "{metadata: {annotations: {owner: eve@example.com}}}"), want: []string{"changed Namespace/team-a metadata/annotations/owner"}},
		{what: "the quota in a profile's namespace is raised", do: func(t *testing.T, c *cluster) {
			t.Helper()
			target{c, "v1", "ResourceQuota", "team-a", "kf-resource-quota"}.edit(t, `{spec: {hard: {pods: "999"}}}`)
		}, want: []string{"changed ResourceQuota/team-a/kf-resource-quota spec/hard/pods"}},
		{what: "another becomes admin of a profile's namespace", do: func(t *testing.T, c *cluster) {
			t.Helper()
			target{c, "rbac.authorization.k8s.io/v1", "RoleBinding", "team-a", "namespaceAdmin"}.json(t, `[{op: add, path: /subjects/-, value: {kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}}]`)
		}, want: []string{"changed RoleBinding/team-a/namespaceAdmin subjects"}},
		{what: "a contributor is added by hand", do: create("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: eve, namespace: team-a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}]}"),
			want: []string{"foreign-object RoleBinding/team-a/eve"}},
	}
}

const bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkekNDQVIyZ0F3SUJBZ0lCQVRBS0JnZ3Foa2pPUFFRREFqQVVNUkl3RUFZRFZRUURFd2xzYjJOaGJHaHYKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
