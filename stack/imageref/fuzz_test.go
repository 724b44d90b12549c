package imageref_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/stack/imageref"
)

func configMap(text string) []*unstructured.Unstructured {
	return []*unstructured.Unstructured{{Object: map[string]any{
		"kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "data": map[string]any{"k": text},
	}}}
}

// FuzzPinText holds Pin to its promise for any text and any path: what is
// found is replaced, nothing else changes, and the result is stable.
func FuzzPinText(f *testing.F) {
	f.Add("executor:\n  image: quay.io/argoproj/argoexec:v3.7.4 # x\n", "executor.image")
	f.Add(`{"agent": {"image" : "kserve/agent:v0.15.2"}}`, "agent.image")
	f.Add("a: [ {image: 'x/y:1'}, {image: >-\n  x/z:2}]\n", "a.*.image")
	f.Add("größe: &a \"quay.io/a/b:c\"\nb: *a\nimage: busybox", "b")
	f.Add("---\nimage: a/b:1\n---\nimage: !!str a/b:1\n", "image")
	f.Add("a: {image: {registry: quay.io/, repository: 'x/y', tag: \"v1\"}}\nb: [{imageName: z, imageTag: 1.36}]", "")
	f.Add("run --image=localhost:5000/x:y --image docker.io/x/y@sha256:"+strings.Repeat("a", 64), "")
	f.Fuzz(func(t *testing.T, text, path string) {
		var rules []imageref.Rule
		if path != "" {
			rules = []imageref.Rule{{Object: "ConfigMap/c", ConfigMapKey: "k", Path: path}}
		}
		objs := configMap(text)
		found, err := imageref.Find(objs, rules)
		if err != nil {
			return
		}
		refs := refsFor(found)
		if err := imageref.Pin(objs, refs, rules); err != nil {
			got, _, _ := unstructured.NestedString(objs[0].Object, "data", "k")
			require.Equal(t, text, got, "a Pin that fails changes nothing")
			return
		}
		got, _, err := unstructured.NestedString(objs[0].Object, "data", "k")
		require.NoError(t, err)
		unpinned, err := imageref.Unpinned(objs, rules)
		require.NoError(t, err)
		require.Empty(t, unpinned)
		added := 0
		for _, r := range found {
			if r.How == "name and tag" {
				return // of each part, another piece is written
			}
			added += len(refs[r.Image].String()) - len(r.Image)
		}
		require.Len(t, got, len(text)+added, "only the images changed")
	})
}

// FuzzFind holds Find to any object at all.
func FuzzFind(f *testing.F) {
	for _, o := range objects(f, "stack.yaml") {
		raw, err := yaml.Marshal(o.Object)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := &unstructured.Unstructured{}
		if yaml.Unmarshal(raw, &o.Object) != nil || o.Object == nil {
			return
		}
		objs := []*unstructured.Unstructured{o}
		found, err := imageref.Find(objs, nil)
		require.NoError(t, err)
		for _, r := range found {
			require.NotEmpty(t, r.Image)
			require.NotEmpty(t, r.Path)
		}
		if len(found) == 0 {
			return
		}
		refs := map[string]images.Ref{}
		for _, r := range found {
			refs[r.Image] = digestOf("x/y")
		}
		require.NoError(t, imageref.Pin(objs, refs, nil))
	})
}

func TestDigests(t *testing.T) {
	t.Parallel()
	found, err := imageref.Digests(fstest.MapFS{
		"a/b.yaml": {Data: []byte("x: 1\nimage: quay.io/a@sha256:" + strings.Repeat("0", 64) + "\n")},
		"a/c.yaml": {Data: []byte("image: quay.io/a:v1\nhash: " + strings.Repeat("0", 64) + "\n")},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a/b.yaml:2"}, found)
}
