package imageref_test

import (
	"encoding/base64"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/stack/imageref"
)

const inParts = `apiVersion: example.com/v1
kind: Gateway
metadata:
  name: g
  labels: {image: quay.io/not/this, tag: v1}
spec:
  image: {registry: quay.io/a, repository: gate/way, tag: v2, pullPolicy: Always}
  worker: {image: docker.io/x/worker, imageTag: "1.36", resources: {}}
  hub: {image: {name: y/hub, tag: 4.4.0}}
  source: {repository: "https://example.com/x/y", tag: v1}
  chart: {name: y/hub, tag: v1}
  whole: {image: "quay.io/a/whole:v3", tag: v9}
  empty: {repository: quay.io/a/b, tag: ""}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  config.yaml: |
    # the one that runs
    sidecar:
      image:
        repository: "quay.io/a/side"   # keep me
        tag: 1.5
  config.json: '{"proxy": [{"imageName": "z/proxy", "imageTag": "v7"}]}'
  notes: "tag: [unfinished"
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: d}
spec:
  versions:
    - schema:
        openAPIV3Schema:
          example: {repository: quay.io/not/this, tag: v1}
          default: {repository: quay.io/a/def, tag: v1}
`

func TestANameAndItsTagMayStandApart(t *testing.T) {
	t.Parallel()
	objs := parse(t, inParts)
	found, err := imageref.Find(objs, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"y/hub:4.4.0 | Gateway g | spec.hub.image.name | name and tag",
		"y/hub:4.4.0 | Gateway g | spec.hub.image.tag | name and tag",
		"quay.io/a/gate/way:v2 | Gateway g | spec.image.registry | name and tag",
		"quay.io/a/gate/way:v2 | Gateway g | spec.image.repository | name and tag",
		"quay.io/a/gate/way:v2 | Gateway g | spec.image.tag | name and tag",
		"quay.io/a/whole:v3 | Gateway g | spec.whole.image | reads like an image",
		"docker.io/x/worker:1.36 | Gateway g | spec.worker.image | name and tag",
		"docker.io/x/worker:1.36 | Gateway g | spec.worker.imageTag | name and tag",
		"z/proxy:v7 | ConfigMap c | data[\"config.json\"]#proxy[0].imageName | name and tag",
		"z/proxy:v7 | ConfigMap c | data[\"config.json\"]#proxy[0].imageTag | name and tag",
		"quay.io/a/side:1.5 | ConfigMap c | data[\"config.yaml\"]#sidecar.image.repository | name and tag",
		"quay.io/a/side:1.5 | ConfigMap c | data[\"config.yaml\"]#sidecar.image.tag | name and tag",
		"quay.io/a/def:v1 | CustomResourceDefinition d | spec.versions[0].schema.openAPIV3Schema.default.repository | name and tag",
		"quay.io/a/def:v1 | CustomResourceDefinition d | spec.versions[0].schema.openAPIV3Schema.default.tag | name and tag",
	}, lines(found))

	refs := map[string]images.Ref{}
	for _, r := range found {
		refs[r.Image] = digestOf("kfdev.internal/" + regexp.MustCompile(`[^a-z0-9]`).ReplaceAllString(r.Image, ""))
	}
	require.NoError(t, imageref.Pin(objs, refs, nil))
	gateway := refs["quay.io/a/gate/way:v2"]
	image, _, err := unstructured.NestedStringMap(objs[0].Object, "spec", "image")
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"registry": "kfdev.internal", "repository": gateway.Repository[len("kfdev.internal/"):], "tag": "v2@" + gateway.Digest.String(), "pullPolicy": "Always",
	}, image)
	text, _, err := unstructured.NestedString(objs[1].Object, "data", "config.yaml")
	require.NoError(t, err)
	side := refs["quay.io/a/side:1.5"]
	require.Equal(t, "# the one that runs\nsidecar:\n  image:\n    repository: \""+side.Repository+"\"   # keep me\n    tag: 1.5@"+side.Digest.String()+"\n", text)

	unpinned, err := imageref.Unpinned(objs, nil)
	require.NoError(t, err)
	require.Empty(t, unpinned)
	again, err := imageref.Find(objs, nil)
	require.NoError(t, err)
	require.NoError(t, imageref.Pin(objs, refs, nil), "pinning what is pinned changes nothing")
	final, err := imageref.Find(objs, nil)
	require.NoError(t, err)
	require.Equal(t, again, final)
}

func TestAnUnknownNameInPartsIsNamedWithEveryPlace(t *testing.T) {
	t.Parallel()
	objs := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec: {image: {repository: quay.io/a/b, tag: v1}}")
	err := imageref.Pin(objs, nil, nil)
	for _, part := range []string{"quay.io/a/b:v1", "spec.image.repository", "spec.image.tag"} {
		require.ErrorContains(t, err, part)
	}
	found, err := imageref.Find(objs, []imageref.Rule{{Object: "Gateway/g", Ignore: "quay.io/a/b"}})
	require.NoError(t, err)
	require.Empty(t, found, "a rule says that it is none")
	found, err = imageref.Find(objs, []imageref.Rule{{Object: "Gateway/g", Field: "spec.image.repository"}})
	require.NoError(t, err)
	require.Equal(t, []string{"quay.io/a/b | Gateway g | spec.image.repository | field spec.image.repository"}, lines(found), "a rule knows better")
}

func TestASecretIsReadBehindItsEncoding(t *testing.T) {
	t.Parallel()
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"},
		"data": map[string]any{
			"config": encode("proxy:\n  image: quay.io/a/proxy:v1 # keep me\n  other: {repository: quay.io/a/b, tag: v2}\n"),
			"key":    encode("\xff\xfe"), "broken": "no base64", ".dockerconfigjson": encode(`{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}`),
		},
		"stringData": map[string]any{"init": "busybox:1.36.1", "initImage": "busybox:1.36.1"},
	}}
	objs := []*unstructured.Unstructured{o}
	found, err := imageref.Find(objs, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"quay.io/a/proxy:v1 | Secret s | data.config#L2 | reads like an image",
		"quay.io/a/b:v2 | Secret s | data.config#proxy.other.repository | name and tag",
		"quay.io/a/b:v2 | Secret s | data.config#proxy.other.tag | name and tag",
		"busybox:1.36.1 | Secret s | stringData.initImage | reads like an image",
	}, lines(found))
	refs := refsFor(found)
	require.NoError(t, imageref.Pin(objs, refs, nil))
	got, _, err := unstructured.NestedString(o.Object, "data", "config")
	require.NoError(t, err)
	require.Equal(t, encode("proxy:\n  image: "+refs["quay.io/a/proxy:v1"].String()+" # keep me\n  other: {repository: quay.io/a/b, tag: v2@"+refs["quay.io/a/b:v2"].Digest.String()+"}\n"), got)
}

func TestATagThatIsANumberIsRefusedByName(t *testing.T) {
	t.Parallel()
	objs := parse(t, `apiVersion: example.com/v1
kind: Gateway
metadata: {name: g}
spec:
  image: {registry: quay.io/a, repository: gate/way, tag: 1.10}
  worker: [{image: docker.io/x/worker, imageTag: 7}]
  limits: {repository: 5, tag: 3}
  port: {name: web, tag: 80}
`)
	_, err := imageref.Find(objs, nil)
	require.ErrorContains(t, err, "Gateway g: spec.image.tag: the tag of quay.io/a/gate/way is a number: put it in quotes")
	require.ErrorContains(t, err, "spec.worker[0].imageTag: the tag of docker.io/x/worker")
	require.NotContains(t, err.Error(), "limits")
	require.NotContains(t, err.Error(), "port")
}
