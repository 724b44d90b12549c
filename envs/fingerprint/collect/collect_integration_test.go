//go:build integration

package collect

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
)

func start(tb testing.TB, args ...string) *kube.Client {
	tb.Helper()
	programs, err := apiserver.Build(tb.Context())
	require.NoError(tb, err)
	server, err := apiserver.Start(tb.Context(), apiserver.Options{Programs: programs, Dir: tb.TempDir(), Args: args})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, server.Stop()) })
	return connect(tb, server.Config)
}

func connect(tb testing.TB, config *rest.Config) *kube.Client {
	tb.Helper()
	client, err := kube.Connect(config)
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	return client
}

func resourceOf(tb testing.TB, client *kube.Client, o *unstructured.Unstructured) dynamic.ResourceInterface {
	tb.Helper()
	mapping, err := client.Mapper.Mapping(tb.Context(), o.GroupVersionKind())
	require.NoError(tb, err)
	if mapping.Namespaced {
		return client.Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	return client.Dynamic.Resource(mapping.Resource)
}

// create makes an object with its status, which the server takes apart.
func create(tb testing.TB, client *kube.Client, text string) *unstructured.Unstructured {
	tb.Helper()
	o := object(tb, text)
	made, err := resourceOf(tb, client, o).Create(tb.Context(), o, metav1.CreateOptions{})
	require.NoError(tb, err)
	if status, ok := o.Object["status"]; ok {
		data, err := json.Marshal(map[string]any{"status": status})
		require.NoError(tb, err)
		made, err = resourceOf(tb, client, o).Patch(tb.Context(), o.GetName(), types.MergePatchType, data, metav1.PatchOptions{}, "status")
		require.NoError(tb, err)
	}
	return made
}

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// environment is what both environments have: one of everything.
func environment() []string {
	return []string{
		`{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {pod-security.kubernetes.io/enforce: baseline}}}`,
		kind,
		`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: poddefaults.kubeflow.org}, spec: {group: kubeflow.org, scope: Namespaced,
		  names: {kind: PodDefault, plural: poddefaults}, versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`,
		`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}, provisioner: example.org/disk, parameters: {type: ssd}}`,
		`{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: sandbox}, handler: runsc}`,
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: batch}, value: 100}`,
		`{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: web}, spec: {controller: example.org/web}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: guard}, webhooks: [{name: guard.example.org, sideEffects: None,
		  failurePolicy: Ignore, admissionReviewVersions: [v1], clientConfig: {caBundle: "", service: {namespace: team, name: guard}}, rules: [{apiGroups: [example.org], apiVersions: [v1], operations: [CREATE], resources: [runs]}]}]}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: rules}, spec: {matchConstraints: {resourceRules:
		  [{apiGroups: [example.org], apiVersions: [v1], operations: [CREATE], resources: [runs]}]}, validations: [{expression: "true"}]}}`,
		`{apiVersion: v1, kind: ResourceQuota, metadata: {name: quota, namespace: team}, spec: {hard: {pods: "10"}}}`,
		`{apiVersion: v1, kind: LimitRange, metadata: {name: limits, namespace: team}, spec: {limits: [{type: Container, default: {cpu: "1"}}]}}`,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: team}, spec: {podSelector: {}, policyTypes: [Ingress]}}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: runner, namespace: team}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: runner, namespace: team}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: runner},
		  subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ana}, {kind: ServiceAccount, namespace: team, name: runner}]}`,
		`{apiVersion: v1, kind: Node, metadata: {name: one, labels: {nvidia.com/gpu.product: A100, nvidia.com/cuda.driver-version.full: 560.35.3, nvidia.com/cuda.runtime-version.full: "12.6"}},
		  status: {allocatable: {cpu: "8", nvidia.com/gpu: "2"}, nodeInfo: {machineID: m, systemUUID: s, bootID: b, kubeProxyVersion: "", operatingSystem: linux,
		  osImage: Debian 12, kernelVersion: 6.8.0-45-generic, containerRuntimeVersion: "containerd://2.1.4", kubeletVersion: v1.36.1, architecture: amd64}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: mesh}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: mesh}, webhooks: [{name: mesh.example.org, sideEffects: None,
		  failurePolicy: Ignore, admissionReviewVersions: [v1], clientConfig: {service: {namespace: mesh, name: mesh}}, rules: [{apiGroups: [example.org], apiVersions: [v1], operations: [CREATE], resources: [runs]}]}]}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: answers, namespace: mesh}, spec: {initContainers: [{name: first, image: "first:v1"}], containers: [{name: mesh, image: "mesh:v1"}]}, status: {phase: Running,
		  initContainerStatuses: [{name: first, image: "first:v1", imageID: "registry.example/first@sha256:` + hexA + `", ready: true, restartCount: 0, started: false, state: {terminated: {exitCode: 0}}}],
		  containerStatuses: [{name: mesh, image: "mesh:v1", imageID: "registry.example/mesh@sha256:` + hexA + `", ready: true, restartCount: 0, started: true, state: {running: {}}}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: dns, namespace: kube-system}, spec: {containers: [{name: dns, image: "dns:v1"}]},
		  status: {phase: Running, containerStatuses: [{name: dns, image: "dns:v1", imageID: "registry.example/dns@sha256:` + hexA + `", ready: true, restartCount: 0, started: true, state: {running: {}}}]}}`,
	}
}

// injected is one difference: an object made, or one that is there changed.
type injected struct {
	create string
	patch  [2]string // which object, and a merge patch
	status bool      // of the status
	want   []string  // paths of the findings
}

func differences() map[string]injected {
	const vwc, crd, node = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: guard}}",
		"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: runs.example.org}}", "{apiVersion: v1, kind: Node, metadata: {name: one}}"
	hook := func(change string) [2]string {
		return [2]string{vwc, `{"webhooks":[{"name":"guard.example.org","sideEffects":"None","admissionReviewVersions":["v1"],"clientConfig":{"service":{"namespace":"team","name":"guard"}},` +
			`"rules":[{"apiGroups":["example.org"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["runs"]}],` + change + `}]}`}
	}
	info := func(change string) injected {
		return injected{patch: [2]string{node, `{"status":{"nodeInfo":{` + change + `}}}`}, status: true}
	}
	with := func(i injected, want ...string) injected { i.want = want; return i }
	in := func(kind, name, version, patch, want string) injected {
		return injected{patch: [2]string{fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, namespace: team}}", version, kind, name), patch}, want: []string{"namespaces.team." + want}}
	}
	return map[string]injected{
		"a storage class more":           {create: `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: slow}, provisioner: example.org/disk}`, want: []string{"storage-classes.slow"}},
		"a storage class is the default": {patch: [2]string{"{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}", `{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}`}, want: []string{"storage-classes.fast"}},
		"a volume may grow":              {patch: [2]string{"{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}", `{"allowVolumeExpansion":true}`}, want: []string{"storage-classes.fast"}},
		"a runtime class more":           {create: `{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: kata}, handler: kata}`, want: []string{"runtime-classes.kata"}},
		"a priority class is global":     {patch: [2]string{"{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: batch}}", `{"globalDefault":true}`}, want: []string{"priority-classes.batch"}},
		"an ingress class is default":    {patch: [2]string{"{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: web}}", `{"metadata":{"annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}}}`}, want: []string{"ingress-classes.web"}},
		"a webhook fails closed":         {patch: hook(`"failurePolicy":"Fail"`), want: []string{"webhooks.validating.guard.guard.example.org"}},
		"a webhook waits longer":         {patch: hook(`"failurePolicy":"Ignore","timeoutSeconds":3`), want: []string{"webhooks.validating.guard.guard.example.org"}},
		"a webhook more": {create: `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: inject}, webhooks: [{name: inject.example.org, sideEffects: None,
			admissionReviewVersions: [v1], clientConfig: {url: "https://example.org"}, failurePolicy: Ignore, rules: [{apiGroups: [example.org], apiVersions: [v1], operations: [CREATE], resources: [runs]}]}]}`,
			want: []string{"webhooks.mutating.inject.inject.example.org"}},
		"a policy asks for more": {patch: [2]string{"{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: rules}}", `{"spec":{"validations":[{"expression":"object.metadata.name != 'x'"}]}}`}, want: []string{"admission-policies.validating.rules"}},
		"a policy is bound":      {create: `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: rules}, spec: {policyName: rules, validationActions: [Deny]}}`, want: []string{"admission-policies.validating-binding.rules"}},
		"a kind of the release is changed": {patch: [2]string{crd, `{"spec":{"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`},
			want: []string{"crds.runs.example.org"}},
		"a version is left in storage": {patch: [2]string{crd, `{"status":{"storedVersions":["v1","v1alpha1"]}}`}, status: true, want: []string{"crd-stored-versions.runs.example.org"}},
		"a kind more": {create: `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: others.example.net}, spec: {group: example.net, scope: Cluster,
			names: {kind: Other, plural: others}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`, want: []string{"crds.others.example.net"}},
		"another quota":                 in("ResourceQuota", "quota", "v1", `{"spec":{"hard":{"pods":"20"}}}`, "quota"),
		"other limits":                  in("LimitRange", "limits", "v1", `{"spec":{"limits":[{"type":"Container","default":{"cpu":"2"}}]}}`, "limits"),
		"another network policy":        in("NetworkPolicy", "closed", "networking.k8s.io/v1", `{"spec":{"policyTypes":["Ingress","Egress"]}}`, "network-policies"),
		"a role allows more":            in("Role", "runner", "rbac.authorization.k8s.io/v1", `{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","delete"]}]}`, "roles"),
		"somebody more has a role":      in("RoleBinding", "runner", "rbac.authorization.k8s.io/v1", `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"ana"},{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"ben"},{"kind":"ServiceAccount","namespace":"team","name":"runner"}]}`, "role-bindings"),
		"somebody else has a role":      in("RoleBinding", "runner", "rbac.authorization.k8s.io/v1", `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"mallory"},{"kind":"ServiceAccount","namespace":"team","name":"runner"}]}`, "role-bindings"),
		"another level of pod security": {patch: [2]string{"{apiVersion: v1, kind: Namespace, metadata: {name: team}}", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`}, want: []string{"namespaces.team.pod-security"}},
		"a PodDefault more":             {create: `{apiVersion: kubeflow.org/v1alpha1, kind: PodDefault, metadata: {name: d, namespace: team}, spec: {desc: x}}`, want: []string{"namespaces.team.pod-defaults"}},
		"another OS":                    with(info(`"osImage":"Ubuntu 24.04"`), "nodes.os"),
		"a newer kernel":                with(info(`"kernelVersion":"6.11.0"`), "nodes.kernel"),
		"another runtime":               with(info(`"containerRuntimeVersion":"cri-o://1.34.0"`), "nodes.container-runtime"),
		"an older kubelet":              with(info(`"kubeletVersion":"v1.35.2"`), "nodes.kubelet"),
		"another architecture":          with(info(`"architecture":"arm64"`), "nodes.architecture"),
		"fewer processors":              {patch: [2]string{node, `{"status":{"allocatable":{"cpu":"4"}}}`}, status: true, want: []string{"nodes.allocatable"}},
		"an older driver":               {patch: [2]string{node, `{"metadata":{"labels":{"nvidia.com/cuda.driver-version.full":"550.54.15"}}}`}, want: []string{"gpu.driver.A100"}},
		"an older CUDA":                 {patch: [2]string{node, `{"metadata":{"labels":{"nvidia.com/cuda.runtime-version.full":"12.4"}}}`}, want: []string{"gpu.cuda.A100"}},
		"another GPU":                   {patch: [2]string{node, `{"metadata":{"labels":{"nvidia.com/gpu.product":"H100"}}}`}, want: []string{"gpu.cuda.A100", "gpu.cuda.H100", "gpu.driver.A100", "gpu.driver.H100", "gpu.product"}},
		"a GPU that no label names":     {patch: [2]string{node, `{"metadata":{"labels":{"nvidia.com/gpu.product":null}}}`}, want: []string{"gpu.cuda", "gpu.driver", "gpu.product"}},
		"another image of the platform": {patch: [2]string{"{apiVersion: v1, kind: Pod, metadata: {name: dns, namespace: kube-system}}",
			`{"status":{"containerStatuses":[{"name":"dns","image":"dns:v1","imageID":"registry.example/dns@sha256:` + hexB + `","ready":true,"restartCount":0,"started":true,"state":{"running":{}}}]}}`}, status: true, want: []string{"platform-images.kube-system.dns.dns"}},
		"another image of its init container": {patch: [2]string{"{apiVersion: v1, kind: Pod, metadata: {name: answers, namespace: mesh}}",
			`{"status":{"initContainerStatuses":[{"name":"first","image":"first:v1","imageID":"registry.example/first@sha256:` + hexB + `","ready":true,"restartCount":0,"started":false,"state":{"terminated":{"exitCode":0}}}]}}`}, status: true, want: []string{"platform-images.mesh.answers.first"}},
		"a component of the platform more": {create: `{apiVersion: v1, kind: Pod, metadata: {name: mesh, namespace: kube-system}, spec: {containers: [{name: m, image: "m:v1"}]}}`, want: []string{"platform-images.kube-system.mesh.m"}},
	}
}

func paths(findings []fingerprint.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Path())
	}
	slices.Sort(out)
	return out
}

func TestIntegrationEveryDifferenceIsFound(t *testing.T) {
	t.Parallel()
	client := start(t)
	for _, text := range environment() {
		create(t, client, text)
	}
	options := Options{Namespaces: []string{"team", "not-there"}, Release: []*unstructured.Unstructured{object(t, kind)}}
	look := func() fingerprint.Fingerprint {
		f, err := Collect(t.Context(), client, options)
		require.NoError(t, err)
		return f
	}
	// Definitions are served a moment after they are made.
	require.Eventually(t, func() bool {
		return len(look().Dimensions[fingerprint.CRDs].Items) == 2 && look().Dimensions[fingerprint.Namespaces].Items["team.pod-defaults"].Known()
	}, 10*time.Second, 50*time.Millisecond)
	base := look()
	for name := range fingerprint.DefaultRules() {
		require.Contains(t, base.Dimensions, name)
		require.Empty(t, base.Dimensions[name].Unknown, name)
	}
	require.Equal(t, "as in the release", base.Dimensions[fingerprint.CRDs].Items["runs.example.org"].Is)
	require.Empty(t, fingerprint.Compare(base, look(), fingerprint.DefaultRules()), "looked at twice, it is the same")
	text, err := base.Marshal()
	require.NoError(t, err)
	back, err := fingerprint.Unmarshal(text)
	require.NoError(t, err)
	require.Empty(t, fingerprint.Compare(base, back, fingerprint.DefaultRules()))

	cases := differences()
	require.GreaterOrEqual(t, len(cases), 15)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.create != "" {
				o := create(t, client, tc.create)
				defer remove(t, client, o)
			} else {
				defer restore(t, client, tc)()
			}
			got := fingerprint.Compare(base, look(), fingerprint.DefaultRules())
			require.Equal(t, tc.want, paths(got), "%v", got)
			require.NotEmpty(t, got[0].Matters)
		})
		require.Eventually(t, func() bool { return len(fingerprint.Compare(base, look(), fingerprint.DefaultRules())) == 0 }, 10*time.Second, 50*time.Millisecond, name)
	}

	t.Run("soon", func(t *testing.T) {
		var took []time.Duration
		for range 5 {
			began := time.Now()
			look()
			took = append(took, time.Since(began))
		}
		t.Log(took)
		require.Less(t, slices.Min(took), time.Second)
	})
}

func remove(t *testing.T, client *kube.Client, o *unstructured.Unstructured) {
	t.Helper()
	now := int64(0)
	require.NoError(t, resourceOf(t, client, o).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now}))
}

// restore changes an object and returns what puts it back.
func restore(t *testing.T, client *kube.Client, tc injected) func() {
	t.Helper()
	o := object(t, tc.patch[0])
	var sub []string
	if tc.status {
		sub = []string{"status"}
	}
	on := resourceOf(t, client, o)
	was, err := on.Get(t.Context(), o.GetName(), metav1.GetOptions{})
	require.NoError(t, err)
	_, err = on.Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(tc.patch[1]), metav1.PatchOptions{}, sub...)
	require.NoError(t, err)
	return func() {
		now, err := on.Get(t.Context(), o.GetName(), metav1.GetOptions{})
		require.NoError(t, err)
		was.SetResourceVersion(now.GetResourceVersion())
		_, err = on.Update(t.Context(), was, metav1.UpdateOptions{}, sub...)
		require.NoError(t, err)
	}
}

// server is one that behaves otherwise.
type server struct {
	args []string
	want []string // paths that are among those of the findings
}

func servers() map[string]server {
	return map[string]server{
		"a feature gate is not at its default":  {[]string{"--feature-gates=AllAlpha=false,InPlacePodVerticalScalingExclusiveCPUs=true"}, []string{"kubernetes.feature-gates.InPlacePodVerticalScalingExclusiveCPUs"}},
		"a part of the API is not served":       {[]string{"--runtime-config=resource.k8s.io/v1=false"}, []string{"kubernetes.apis.resource.k8s.io.v1.resourceslices"}},
		"a server that behaves as an older one": {[]string{"--emulated-version=1.35"}, []string{"kubernetes.emulation-version"}},
	}
}

func TestIntegrationAnotherServer(t *testing.T) {
	t.Parallel()
	a, err := Collect(t.Context(), start(t), Options{})
	require.NoError(t, err)
	for name, tc := range servers() {
		t.Run(name, func(t *testing.T) {
			b, err := Collect(t.Context(), start(t, tc.args...), Options{})
			require.NoError(t, err)
			got := paths(fingerprint.Compare(a, b, fingerprint.DefaultRules()))
			require.Subset(t, got, tc.want)
			require.NotContains(t, got, "kubernetes.version", "the same program")
		})
	}
}

func TestIntegrationWithoutRightsAllIsUnknown(t *testing.T) {
	t.Parallel()
	admin := start(t)
	for _, text := range environment() {
		create(t, admin, text)
	}
	options := Options{Namespaces: []string{"team"}}
	as := func(user string) fingerprint.Fingerprint {
		config := rest.CopyConfig(admin.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		f, err := Collect(t.Context(), connect(t, config), options)
		require.NoError(t, err)
		return f
	}
	f := as("nobody")
	// What everybody may ask; and what is not served at all is known not to be there.
	known := []string{fingerprint.Server, fingerprint.Emulation, fingerprint.APIs, fingerprint.Namespaces, fingerprint.GatewayClasses}
	for name := range fingerprint.DefaultRules() {
		d, ok := f.Dimensions[name]
		require.True(t, ok, "%s is never left out", name)
		require.Equal(t, !slices.Contains(known, name), d.Unknown != "", "%s: %+v", name, d.Unknown)
	}
	require.Equal(t, "no rights to list nodes", f.Dimensions[fingerprint.NodeOS].Unknown)
	require.Equal(t, "no rights to get /metrics", f.Dimensions[fingerprint.FeatureGates].Unknown)
	require.Len(t, f.Dimensions[fingerprint.Namespaces].Items, len(contracts(released{}))+1)
	for item, v := range f.Dimensions[fingerprint.Namespaces].Items {
		require.Contains(t, v.Unknown, "no rights to", item)
	}
	for _, finding := range fingerprint.Compare(f, f, fingerprint.Rules{fingerprint.NodeOS: fingerprint.DefaultRules()[fingerprint.NodeOS], fingerprint.Namespaces: fingerprint.DefaultRules()[fingerprint.Namespaces]}) {
		require.True(t, finding.Unknown)
	}

	// Who may read in one namespace reads that.
	create(t, admin, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: looker, namespace: team}, rules: [{apiGroups: [""], resources: [resourcequotas], verbs: [list]}]}`)
	create(t, admin, `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: looker, namespace: team}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: looker},
		subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: looker}]}`)
	f = as("looker")
	require.True(t, f.Dimensions[fingerprint.Namespaces].Items["team.quota"].Known())
	require.Equal(t, "no rights to list limitranges in team", f.Dimensions[fingerprint.Namespaces].Items["team.limits"].Unknown)

	// kfdev's reader is enough for all of it.
	role, err := os.ReadFile("../../../stack/apply/rights/reader.yaml")
	require.NoError(t, err)
	create(t, admin, string(role))
	create(t, admin, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: reader}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kfdev-reader},
		subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: reader}]}`)
	f = as("reader")
	for name, d := range f.Dimensions {
		require.Empty(t, d.Unknown, name)
		for item, v := range d.Items {
			require.Empty(t, v.Unknown, item)
		}
	}
}
