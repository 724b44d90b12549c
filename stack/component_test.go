package stack_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
)

const good = `apiVersion: kfdev.dev/v1alpha1
kind: Component
name: operator
version: v1.9.3
title: Distributed training
namespace: kubeflow
requires: [storage]
images:
  - {name: controller, published: "ghcr.io/x/operator:v1", recipe: operator}
  - {name: trainer, published: "docker.io/tensorflow/tensorflow:2.16.1", recipe: tensorflow, use: smoke}
rules:
  - {object: Deployment/operator, arg: --init-image}
  - {object: ConfigMap/config, configMapKey: pod.yaml, path: spec.containers.*.image}
certificates:
  - {secret: webhook-cert, service: operator, inject: [ValidatingWebhookConfiguration/v]}
secrets:
  - {name: login, keys: [{name: user, value: admin}, {name: password, bytes: 16}]}
values:
  - {name: memory, type: quantity, default: 512Mi, description: what it may take}
needs: {memory: 100Mi, cpu: 50m, disk: 1Gi}
open: {service: ui, port: 80}
smoke: tfjob
`

func TestDecode(t *testing.T) {
	t.Parallel()
	c, err := stack.Decode("component.yaml", []byte(good))
	require.NoError(t, err)
	require.Equal(t, "operator", c.Name)
	require.Equal(t, "100Mi", c.Needs.Memory.String())
	require.Equal(t, stack.InSmoke, c.Images[1].Use)
	require.Equal(t, 16, c.Secrets[0].Keys[1].Bytes)
}

func TestDecodeProblems(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, tc := range map[string]struct{ old, new, want string }{
		"api version":       {"v1alpha1", "v2", `component.yaml:1:13: apiVersion is "kfdev.dev/v2"; this kfdev reads kfdev.dev/v1alpha1`},
		"kind":              {"kind: Component", "kind: Thing", `2:7: kind is "Thing"`},
		"name":              {"name: operator", "name: Operator", `3:7: name "Operator": `},
		"unknown":           {"title:", "titel:", `5:1: unknown key "titel": did you mean "title"?`},
		"itself":            {"[storage]", "[operator]", "7:12: a component cannot require itself"},
		"required twice":    {"[storage]", "[storage, storage]", `7:21: "storage" comes twice`},
		"a digest":          {"operator:v1", "operator:v1" + digest, "9:35: a digest; the catalog holds names and tags"},
		"no tag":            {"operator:v1", "operator", `is not registry/repository:tag`},
		"no registry":       {"ghcr.io/x/operator:v1", "x/operator:v1", `is not registry/repository:tag`},
		"image twice":       {"name: trainer", "name: controller", `10:12: image "controller" comes twice`},
		"use":               {"use: smoke", "use: tests", `use is "tests"`},
		"rule without kind": {"Deployment/operator", "operator", `12:5: object "operator" is not kind/name`},
		"rule twice":        {"arg: --init-image", "arg: --init-image, env: X", "12:5: exactly one of arg, env, configMapKey, field"},
		"path alone":        {"configMapKey: pod.yaml", "field: a", "path goes with configMapKey only"},
		"cert no names":     {"service: operator, inject", "inject", "15:5: service or dnsNames is wanted"},
		"both":              {"bytes: 16", "bytes: 16, value: x", "exactly one of bytes and value is wanted"},
		"a value's default": {"default: 512Mi", "default: lots", `default: "lots" is not of type quantity`},
		"a value's type":    {"type: quantity", "type: size", `type "size" is not one of`},
		"a quantity":        {"memory: 100Mi", "memory: many", `20:17: needs.memory: "many"`},
		"port":              {"port: 80", "port: 0", "port is 1 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, good, tc.old)
			_, err := stack.Decode("component.yaml", []byte(strings.Replace(good, tc.old, tc.new, 1)))
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, fault.Usage, fault.KindOf(err))
		})
	}
}

func TestDecodeReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("name: operator", "name: O", "version: v1.9.3", "version: ''", "port: 80", "port: -1").Replace(good)
	_, err := stack.Decode("f", []byte(text))
	for _, want := range []string{"f:3:7: ", "f:4:10: ", "f:21:"} {
		require.ErrorContains(t, err, want)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"operator/component.yaml": {Data: []byte(good)},
		"mine/app.yaml":           {Data: []byte("kind: ConfigMap")},
	}
	c, err := stack.Load(files, "operator")
	require.NoError(t, err)
	require.Equal(t, "operator", c.Dir)
	mine, err := stack.Load(files, "mine")
	require.NoError(t, err)
	require.Equal(t, "mine", mine.Name)
	_, err = stack.Load(files, "gone")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = stack.Load(files, "mine/app.yaml")
	require.ErrorContains(t, err, "not a folder")
}

func TestWaves(t *testing.T) {
	t.Parallel()
	set := func(requires map[string][]string) []stack.Component {
		var all []stack.Component
		for name, r := range requires {
			all = append(all, stack.Component{Name: name, Requires: r})
		}
		return all
	}
	waves, err := stack.Waves(set(map[string][]string{"c": {"a", "b"}, "b": {"a"}, "a": nil, "d": {"a"}}))
	require.NoError(t, err)
	var got []string
	for _, wave := range waves {
		var names []string
		for _, c := range wave {
			names = append(names, c.Name)
		}
		got = append(got, strings.Join(names, "+"))
	}
	require.Equal(t, []string{"a", "b+d", "c"}, got)

	_, err = stack.Waves(set(map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}}))
	require.ErrorContains(t, err, "circle: b → c → b")
	_, err = stack.Waves(set(map[string][]string{"a": {"storag"}, "storage": nil}))
	require.ErrorContains(t, err, "a requires storag")
	require.Equal(t, []string{"did it mean storage?"}, fault.Hint(err))
	_, err = stack.Waves([]stack.Component{{Name: "a"}, {Name: "a"}})
	require.ErrorContains(t, err, "twice")
	waves, err = stack.Waves(nil)
	require.NoError(t, err)
	require.Empty(t, waves)
}

func TestPresets(t *testing.T) {
	t.Parallel()
	p, err := stack.PresetByName("core")
	require.NoError(t, err)
	require.Contains(t, p.Components, "jupyterhub")
	_, err = stack.PresetByName("cor")
	require.Equal(t, []string{"did you mean core?"}, fault.Hint(err))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("kind: Component\nneeds: {memory: 1e999999999}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := stack.Decode("f", data); err != nil {
			var e *fault.Error
			require.ErrorAs(t, err, &e)
		}
	})
}
