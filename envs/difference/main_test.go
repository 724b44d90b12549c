package difference_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

type obj = unstructured.Unstructured

// base is a small stack.
const base = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: katib, namespace: kubeflow, labels: {app: katib}}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - name: manager
        image: quay.io/katib/manager@sha256:1111111111111111111111111111111111111111111111111111111111111111
        args: [--zap, --leader-elect, --port=80]
        resources: {limits: {cpu: "1", memory: 1Gi}}
        ports: [{containerPort: 80}, {containerPort: 443, protocol: TCP}]
      - name: proxy
        image: quay.io/katib/proxy@sha256:2222222222222222222222222222222222222222222222222222222222222222
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hub, namespace: jupyter}
spec: {replicas: 1, template: {spec: {containers: [{name: manager, image: x}]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: katib, namespace: kubeflow}
spec: {minAvailable: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: kubeflow}
data:
  plain: text
  nginx.conf: "server { listen 80; server_name a.example; }"
  config.yaml: |
    # Read at the start.
    executor:
      image: quay.io/argo/exec@sha256:3333333333333333333333333333333333333333333333333333333333333333
      log: info   # or debug
    hosts: [{name: a, port: 80}]
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: kubeflow, labels: {app: katib}}
stringData: {token: s3cret-in-dev}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: other}
data: {plain: text}
`

func objects(t *testing.T, text string) []*obj {
	t.Helper()
	var out []*obj
	for doc := range strings.SplitSeq(text, "\n---\n") {
		raw, err := k8syaml.YAMLToJSON([]byte(doc))
		require.NoError(t, err)
		o := &obj{}
		require.NoError(t, o.UnmarshalJSON(raw))
		out = append(out, o)
	}
	return out
}

func entries(t *testing.T, text string) []difference.Entry {
	t.Helper()
	var out struct {
		Differences []difference.Entry `yaml:"differences"`
	}
	_, problems := strictyaml.Decode("kfdev.yaml", []byte("differences:\n"+text), &out)
	require.Empty(t, problems)
	for i := range out.Differences {
		if out.Differences[i].Reason == "" {
			out.Differences[i].Reason, out.Differences[i].Owner = "for the test", "team"
		}
	}
	return out.Differences
}

func copies(all []*obj) []*obj {
	out := make([]*obj, len(all))
	for i := range all {
		out[i] = all[i].DeepCopy()
	}
	return out
}

func text(t *testing.T, all []*obj) string {
	t.Helper()
	var b strings.Builder
	for _, o := range all {
		raw, err := yaml.Marshal(o.Object)
		require.NoError(t, err)
		b.Write(raw)
		b.WriteString("---\n")
	}
	return b.String()
}

var environments = []string{"dev", "staging", "prod"}

// renderAll renders for all environments.
func renderAll(t *testing.T, all []*obj, declared []difference.Entry) map[string][]*obj {
	t.Helper()
	out := map[string][]*obj{}
	for _, name := range environments {
		rendered, _, err := difference.Render(all, declared, name)
		require.NoError(t, err, name)
		out[name] = rendered
	}
	return out
}
