package difference_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/fault"
)

const declared = `
- id: replicas
  paths: [apps/Deployment/*/spec/replicas]
  allow: {type: integer, min: 1, max: 50}
  values: {prod: 10}
  default: 2
- id: budget
  paths: [policy/PodDisruptionBudget/katib]
  allow: {type: presence}
  values: {prod: true}
  default: false
- id: available
  paths: [policy/PodDisruptionBudget/katib/spec/minAvailable]
  allow: {enum: [1, "50%"]}
  values: {prod: "50%"}
  default: 1
- id: memory
  paths: ["apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=manager]/resources/limits/memory"]
  allow: {type: quantity, min: 1Gi, max: 8Gi}
  values: {dev: 1024Mi, staging: 2Gi, prod: 8Gi}
- id: nodes
  paths: [apps/Deployment/katib/spec/template/spec/nodeSelector]
  allow: {type: object, optional: true}
  values: {dev: null, staging: null, prod: {pool: big}}
- id: toleration
  paths: ["apps/Deployment/katib/spec/template/spec/tolerations[key=nvidia.com/gpu]"]
  allow: {type: object, optional: true}
  values: {dev: null, staging: null, prod: {key: nvidia.com/gpu, operator: Exists}}
- id: inject
  paths: ['apps/Deployment/katib/metadata/annotations["sidecar.istio.io/inject"]']
  allow: {enum: ["true", "false"], optional: true}
  values: {dev: null, staging: "false", prod: "true"}
- id: election
  paths:
  - 'apps/Deployment/katib/spec/template/spec/containers[name=manager]/args[="--leader-elect"]'
  - 'apps/Deployment/katib/spec/template/spec/containers[name=manager]/args[="--extra"]'
  allow: {type: presence}
  values: {dev: false}
  default: true
- id: log
  paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log']
  allow: {enum: [debug, info]}
  values: {dev: debug}
  default: info
- id: port
  paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/hosts[name=a]/port']
  allow: {type: integer}
  values: {dev: 8080}
  default: 80
- id: host
  paths: ['core/ConfigMap/kubeflow:config/data["nginx.conf"]#~server_name (\S+);']
  allow: {pattern: '[a-z.]+\.example'}
  values: {prod: kubeflow.example}
  default: test.example
- id: kernel
  paths: [fingerprint/kernel]
  allow: {enum: ["5", "6"]}
`

func TestRender(t *testing.T) {
	t.Parallel()
	all := objects(t, base)
	before := text(t, all)
	e := entries(t, declared)
	require.Empty(t, difference.Check(e, environments))
	rendered := renderAll(t, all, e)
	require.Equal(t, before, text(t, all), "the base is not touched")

	prod, dev := text(t, rendered["prod"]), text(t, rendered["dev"])
	for _, want := range []string{
		"replicas: 10", "minAvailable: 50%", "memory: 8Gi", "pool: big", "operator: Exists", `sidecar.istio.io/inject: "true"`,
		"- --extra", "--leader-elect", "log: info   # or debug", "port: 80}", "listen 80; server_name kubeflow.example; }",
	} {
		require.Contains(t, prod, want)
	}
	for _, want := range []string{"replicas: 2", "memory: 1024Mi", "log: debug   # or debug", "port: 8080}", "server_name test.example; }", "# Read at the start."} {
		require.Contains(t, dev, want)
	}
	for _, not := range []string{"PodDisruptionBudget", "nodeSelector", "tolerations", "annotations", "--leader-elect", "--extra"} {
		require.NotContains(t, dev, not)
	}

	again, used, err := difference.Render(all, e, "prod")
	require.NoError(t, err)
	require.Equal(t, prod, text(t, again))
	var list []string
	for _, u := range used {
		list = append(list, fmt.Sprintf("%s %s %v %v", u.Entry, u.Path, u.Present, u.Value))
	}
	require.Contains(t, list, "replicas apps/Deployment/jupyter:hub/spec/replicas true 10")
	require.Contains(t, list, "budget policy/PodDisruptionBudget/kubeflow:katib true <nil>")
	require.Contains(t, list, `log core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log true info`)

	// What was put in is nobody else's.
	again[0].Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["nodeSelector"].(map[string]any)["pool"] = "x"
	once, _, err := difference.Render(all, e, "prod")
	require.NoError(t, err)
	require.Equal(t, prod, text(t, once))
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ entries, says, hint string }{
		"no object": {
			`- {id: a, paths: [apps/Deployment/katb/spec/replicas], allow: {type: integer}, default: 1}`,
			"rendering for prod: difference a: apps/Deployment/katb/spec/replicas: there is no such object",
			"there are apps/Deployment/jupyter:hub, apps/Deployment/kubeflow:katib",
		},
		"no kind": {
			`- {id: a, paths: [app/Deployment/*/spec/replicas], allow: {type: integer}, default: 1}`,
			"no such object", "did you mean apps/Deployment/*?",
		},
		"several namespaces": {
			`- {id: a, paths: [core/ConfigMap/config/data/plain], allow: {type: string}, default: x}`,
			"2 objects have the name", "write NAMESPACE:config, or *:config",
		},
		"no field": {
			`- {id: a, paths: [apps/Deployment/katib/spec/template/spec/nodeSelector], allow: {type: object}, default: {a: b}}`,
			"it leads to nothing", "spec/template/spec is a mapping: it has containers; a field that the base does not have needs optional: true",
		},
		"no element": {
			`- {id: a, paths: ["apps/Deployment/*/spec/template/spec/containers[name=x]/image"], allow: {type: string}, default: b}`,
			"it leads to nothing", "it has [name=manager]",
		},
		"no value": {
			`- {id: a, paths: [apps/Deployment/*/spec/replicas], allow: {type: integer}, values: {dev: 1}}`,
			"difference a: it has no value for prod, and no default", "write values: {prod: …}",
		},
		"outside": {
			`- {id: a, paths: [apps/Deployment/*/spec/replicas], allow: {type: integer, max: 3}, default: 4}`,
			"the value for prod: 4 is not allowed: it is more than 3", "change the value",
		},
		"twice": {
			`- {id: a, paths: [apps/Deployment/*/spec/replicas], allow: {type: integer}, default: 4}
- {id: b, paths: [apps/Deployment/katib/spec/replicas], allow: {type: integer}, default: 4}`,
			"difference b: apps/Deployment/katib/spec/replicas: in apps/Deployment/kubeflow:katib this is what difference a: apps/Deployment/*/spec/replicas is about, too",
			"take the field out of one of them",
		},
		"one in another": {
			`- {id: a, paths: ["apps/Deployment/katib/spec/template/spec/containers[name=proxy]/image"], allow: {type: string}, default: x}
- {id: b, paths: ["apps/Deployment/katib/spec/template/spec/containers[1]"], allow: {type: object}, default: {name: proxy}}`,
			"difference a", "",
		},
		"a text and in it": {
			`- {id: a, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]'], allow: {type: string}, default: x}
- {id: b, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log'], allow: {type: string}, default: x}`,
			"difference a", "",
		},
		"one place in a text": {
			`- {id: a, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#~log: (\w+)'], allow: {type: string}, default: x}
- {id: b, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log'], allow: {type: string}, default: x}`,
			"difference a", "",
		},
		"places in a text that overlap": {
			`- {id: a, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#~(log: \w+)'], allow: {type: string}, default: "log: x"}
- {id: b, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/log'], allow: {type: string}, default: x}`,
			"difference a", "take the field",
		},
		"nothing in the text": {
			`- {id: a, paths: ['core/ConfigMap/kubeflow:config/data["config.yaml"]#/executor/lock'], allow: {type: string}, default: x}`,
			"the text has no value at executor/lock", "",
		},
		"ports mixed up": {
			`- {id: a, paths: ["apps/Deployment/katib/spec/template/spec/containers[name=manager]/ports[protocol=TCP]/name"], allow: {type: string, optional: true}, default: x}
- {id: b, paths: ["apps/Deployment/katib/spec/template/spec/containers[name=manager]/ports[containerPort=443]/name"], allow: {type: string, optional: true}, default: x}`,
			"difference a", "",
		},
		"an element with another key": {
			`- {id: a, paths: ["apps/Deployment/katib/spec/template/spec/tolerations[key=a]"], allow: {type: object, optional: true}, default: {key: b}}`,
			`the value {"key":"b"} is not the element [key=a]`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, used, err := difference.Render(objects(t, base), entries(t, tc.entries), "prod")
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, fault.Usage, fault.KindOf(err))
			require.Contains(t, strings.Join(fault.Hint(err), "\n"), tc.hint)
			require.Nil(t, out)
			require.Nil(t, used)
		})
	}
}

func TestRenderRefusesABaseWithAnObjectTwice(t *testing.T) {
	t.Parallel()
	all := objects(t, base)
	_, _, err := difference.Render(append(all, all[0]), nil, "dev")
	require.ErrorContains(t, err, "apps/Deployment/kubeflow:katib comes twice")
	_, err = difference.Prove(map[string][]*obj{"dev": append(all, all[0]), "prod": all}, nil)
	var f *fault.Error
	require.ErrorAs(t, err, &f)
	require.Equal(t, "dev", f.Subject)
}
