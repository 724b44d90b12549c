package collect

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(tb, err)
	o := &unstructured.Unstructured{}
	require.NoError(tb, o.UnmarshalJSON(data))
	return o
}

const metrics = `# HELP kubernetes_feature_enabled [BETA] This metric records the data about the stage and enablement of a k8s feature.
# TYPE kubernetes_feature_enabled gauge
kubernetes_feature_enabled{name="AllOff",stage="ALPHA"} 0
kubernetes_feature_enabled{name="AllOn",stage="ALPHA"} 1
kubernetes_feature_enabled{name="BetaOff",stage="BETA"} 0
kubernetes_feature_enabled{name="BetaOn",stage="BETA"} 1
kubernetes_feature_enabled{name="Old",stage="DEPRECATED"} 1
kubernetes_feature_enabled{name="OldOff",stage="DEPRECATED"} 0
kubernetes_feature_enabled{name="General",stage=""} 1
kubernetes_feature_enabled{name="GeneralOff",stage=""} 0
other_metric{name="x"} 1
`

func TestGates(t *testing.T) {
	t.Parallel()
	got, err := parseGates(strings.NewReader(metrics))
	require.NoError(t, err)
	gate := func(on bool, stage string) fingerprint.Value {
		return fingerprint.Value{Is: map[string]any{"on": on, "stage": stage}}
	}
	require.Equal(t, map[string]fingerprint.Value{
		"AllOn": gate(true, "alpha"), "BetaOff": gate(false, "beta"), "BetaOn": gate(true, "beta"), "Old": gate(true, "deprecated"), "GeneralOff": gate(false, ""),
	}, got)
	for says, text := range map[string]string{
		"name no feature gates":   "other 1\n",
		"not written as it":       `kubernetes_feature_enabled{stage="",name="X"} 1`,
		"token too long":          "kubernetes_feature_enabled{" + strings.Repeat("x", maxLine),
		"a feature gate is not w": `kubernetes_feature_enabled{name="X",stage="BETA"} 0.5`,
	} {
		_, err := parseGates(strings.NewReader(text))
		require.ErrorContains(t, err, says)
	}
}

func FuzzGates(f *testing.F) {
	f.Add([]byte(metrics))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseGates(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		_, err = fingerprint.Fingerprint{Dimensions: map[string]fingerprint.Dimension{fingerprint.FeatureGates: items(got)}}.Marshal()
		require.NoError(t, err)
	})
}

const kind = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: runs.example.org},
spec: {group: example.org, scope: Namespaced, names: {kind: Run, plural: runs}, versions: [{name: v1, served: true, storage: true,
schema: {openAPIV3Schema: {type: object, description: text, required: [b, a], properties: {description: {type: string, nullable: false, default: ""},
default: {type: object, properties: {}, additionalProperties: {type: string}}, n: {type: number, maximum: 1.5, enum: [1, 1.25]}, any: {x-kubernetes-preserve-unknown-fields: true}}}}}]}}`

func TestADefinitionHasOneForm(t *testing.T) {
	t.Parallel()
	base := digestOf(definition(object(t, kind)))
	change := func(old, with string) string {
		text := strings.Replace(kind, old, with, 1)
		require.NotEqual(t, kind, text)
		return digestOf(definition(object(t, text)))
	}
	for old, with := range map[string]string{
		"description: text, ":           "",
		"[b, a]":                        "[a, b]",
		"nullable: false, ":             "",
		"properties: {}, ":              "",
		"plural: runs}":                 "plural: runs, listKind: RunList, categories: [all]}, conversion: {strategy: None}",
		"served: true, storage: true,":  "served: true, storage: true, additionalPrinterColumns: [{name: x, type: string, jsonPath: .x}],",
		"{type: string, nullable":       "{type: string, title: x, nullable",
		"schema: {openAPIV3Schema":      "subresources: {}, schema: {openAPIV3Schema",
		"metadata: {name: runs.example": "metadata: {labels: {a: b}, name: runs.example",
	} {
		require.Equal(t, base, change(old, with), old)
	}
	for old, with := range map[string]string{
		`default: ""`:                            `default: "x"`,
		`, default: ""`:                          ``,
		"additionalProperties: {type: string}":   "additionalProperties: {type: integer}",
		", additionalProperties: {type: string}": "",
		"maximum: 1.5":                           "maximum: 1.6",
		"enum: [1, 1.25]":                        "enum: [1]",
		", any: {x-kubernetes-preserve-unknown-fields: true}": "",
		"required: [b, a]":         "required: [b]",
		"properties: {description": "properties: {more",
		"nullable: false":          "nullable: true",
		"storage: true":            "storage: false",
		"served: true":             "served: false",
		"scope: Namespaced":        "scope: Cluster",
		"schema: {openAPIV3Schema": "subresources: {status: {}}, schema: {openAPIV3Schema",
		"plural: runs}":            "plural: runs}, conversion: {strategy: Webhook}",
		"any: {x-kubernetes-preserve-unknown-fields: true}": "any: {x-kubernetes-preserve-unknown-fields: false}",
		"{name: v1, served: true, storage:":                 "{name: v1beta1, served: true, storage:",
	} {
		require.NotEqual(t, base, change(old, with), old)
	}
}

func TestVersionsLeftInStorage(t *testing.T) {
	t.Parallel()
	o := object(t, strings.TrimSuffix(kind, "}")+`, status: {storedVersions: [v1alpha1, v1]}}`)
	require.Equal(t, []string{"v1alpha1"}, leftOver(o))
	require.Empty(t, leftOver(object(t, kind)))
}

func TestNothingSecretIsKept(t *testing.T) {
	t.Parallel()
	class := map[string]any{"parameters": map[string]any{"restuserkey": "hunter2", "type": "ssd", "csi.storage.k8s.io/provisioner-secret-name": "s"}}
	keepBack(class)
	require.Equal(t, map[string]any{"restuserkey": "kept back", "type": "ssd", "csi.storage.k8s.io/provisioner-secret-name": "s"}, class["parameters"])
	hook := map[string]any{"clientConfig": map[string]any{"caBundle": "x", "url": "https://me:hunter2@example.org/path?token=hunter2"}}
	trust(hook)
	require.Equal(t, map[string]any{"url": "https://example.org/path"}, hook["clientConfig"])
}

func node1(name string, labels map[string]string, resources ...corev1.ResourceName) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	n.Status.Allocatable = corev1.ResourceList{}
	for _, r := range resources {
		n.Status.Allocatable[r] = resource.MustParse("4")
	}
	return n
}

func TestGPUs(t *testing.T) {
	t.Parallel()
	r := &reader{}
	a100 := func(driver string) map[string]string {
		return map[string]string{gpuProduct: "A100", "nvidia.com/cuda.driver-version.full": driver, "nvidia.com/cuda.runtime.major": "12", "nvidia.com/cuda.runtime.minor": "4"}
	}
	got := r.gpus(t.Context(), []corev1.Node{node1("a", a100("560.35.3"), "nvidia.com/gpu"), node1("b", a100("550.54.15"), "nvidia.com/gpu"), node1("c", nil, "cpu")})
	require.Equal(t, is(fingerprint.Set("A100")), got[fingerprint.GPUProduct])
	require.Equal(t, fingerprint.Value{Is: "550.54.15"}, got[fingerprint.GPUDriver].Items["A100"])
	require.Equal(t, fingerprint.Value{Is: "12.4"}, got[fingerprint.CUDA].Items["A100"])

	got = r.gpus(t.Context(), []corev1.Node{node1("a", a100("560.35.3")), node1("b", map[string]string{gpuProduct: "A100"})})
	require.Contains(t, got[fingerprint.GPUDriver].Items["A100"].Unknown, "no label of the node b")
	for _, name := range []corev1.ResourceName{"nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "gpu.intel.com/gpu"} {
		got = r.gpus(t.Context(), []corev1.Node{node1("a", nil, name)})
		require.Contains(t, got[fingerprint.CUDA].Unknown, "the node a offers "+string(name))
	}
	got = r.gpus(t.Context(), []corev1.Node{node1("a", nil, "cpu", "memory", "hugepages-2Mi")})
	require.NotNil(t, got[fingerprint.GPUDriver].Items)
	require.Empty(t, got[fingerprint.GPUDriver].Items)

	slice := object(t, `{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: s}, spec: {driver: gpu.nvidia.com, devices: [
		{name: g0, attributes: {productName: {string: H100}, driverVersion: {version: 570.1.0}, cudaDriverVersion: {version: 12.8.0}}},
		{name: g1, basic: {attributes: {productName: {string: H200}}}}, {name: nic, attributes: {speed: {int: 4}}}]}}`)
	require.Equal(t, []gpu{
		{"H100", fingerprint.Value{Is: "570.1.0"}, fingerprint.Value{Is: "12.8.0"}},
		{"H200", fingerprint.Value{Unknown: "no attribute of the driver gpu.nvidia.com says it"}, fingerprint.Value{Unknown: "no attribute of the driver gpu.nvidia.com says it"}},
	}, sliced([]unstructured.Unstructured{*slice}))
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	yes := true
	owned := func(pod, kind, name, hash string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Labels: map[string]string{"pod-template-hash": hash}, OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, Controller: &yes}}}}
	}
	for want, pod := range map[string]*corev1.Pod{
		"coredns":    owned("coredns-7d9f8-abcde", "ReplicaSet", "coredns-7d9f8", "7d9f8"),
		"kube-proxy": owned("kube-proxy-xyz", "DaemonSet", "kube-proxy", ""),
		"etcd":       owned("etcd-node-1", "Node", "node-1", ""),
		"alone":      {ObjectMeta: metav1.ObjectMeta{Name: "alone"}},
	} {
		name, lasts := workloadOf(pod)
		require.True(t, lasts)
		require.Equal(t, want, name)
	}
	_, lasts := workloadOf(owned("j-x", "Job", "j", ""))
	require.False(t, lasts)
	done := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}
	_, lasts = workloadOf(done)
	require.False(t, lasts)
}

func TestNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "apps.v1.deployments", named("apps", "v1", "deployments"))
	require.Equal(t, "a-b-c.d_e", named("a/b:c", "d_e"))
	require.Equal(t, map[string]any{"a": "0.5", "b": int64(1), "c": []any{nil, "?"}}, plain(map[string]any{"a": 0.5, "b": 1, "c": []any{nil, "\xff"}, "d": nil}))
}
