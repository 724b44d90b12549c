package imageref_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/imageref"
)

// objects reads the YAML documents of a file in testdata.
func objects(tb testing.TB, file string) []*unstructured.Unstructured {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(tb, err)
	return parse(tb, string(raw))
}

func parse(tb testing.TB, text string) []*unstructured.Unstructured {
	tb.Helper()
	var all []*unstructured.Unstructured
	for _, doc := range strings.Split(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		require.NoError(tb, yaml.Unmarshal([]byte(doc), &o.Object))
		all = append(all, o)
	}
	return all
}

// digestOf gives every image a digest of its own.
func digestOf(image string) images.Ref {
	sum, _, err := v1.SHA256(strings.NewReader(image))
	if err != nil {
		panic(err)
	}
	name, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	return images.Ref{Repository: name, Digest: sum}
}

func refsFor(references []imageref.Reference) map[string]images.Ref {
	refs := map[string]images.Ref{}
	for _, r := range references {
		refs[r.Image] = digestOf(r.Image)
	}
	return refs
}

func lines(references []imageref.Reference) []string {
	out := make([]string, len(references))
	for i, r := range references {
		out[i] = fmt.Sprintf("%s | %s | %s | %s", r.Image, r.Object, r.Path, r.How)
	}
	return out
}

func stackRules() []imageref.Rule {
	return []imageref.Rule{
		{Object: "Deployment/training-operator", Arg: "--pytorch-init-container-image"},
		{Object: "Deployment/training-operator", Arg: "--mpi-kubectl-delivery-image"},
		{Object: "Deployment/pvcviewer", Container: "manager", Env: "VOLUME_VIEWER"},
		{Object: "ConfigMap/inferenceservice-config", ConfigMapKey: "agent", Path: "image"},
		{Object: "ConfigMap/katib-config", ConfigMapKey: "katib-config.yaml", Path: "runtime.suggestions.*.image"},
		{Object: "ConfigMap/config-deployment", ConfigMapKey: "queue-sidecar-image"},
		{Object: "SparkThing/one", Field: "spec.driver.picture"},
		{Object: "Deployment/training-operator", Ignore: "kubeflow/some-path:1"},
	}
}

func TestFindFindsEveryPlace(t *testing.T) {
	t.Parallel()
	references, err := imageref.Find(objects(t, "stack.yaml"), stackRules())
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join("testdata", "stack.found"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), strings.Join(lines(references), "\n"))
}

func TestPinReplacesExactlyTheImages(t *testing.T) {
	t.Parallel()
	objs := objects(t, "stack.yaml")
	references, err := imageref.Find(objs, stackRules())
	require.NoError(t, err)
	refs := refsFor(references)
	require.NoError(t, imageref.Pin(objs, refs, stackRules()))

	unpinned, err := imageref.Unpinned(objs, stackRules())
	require.NoError(t, err)
	require.Empty(t, unpinned, "no tag remains")

	again, err := imageref.Find(objs, stackRules())
	require.NoError(t, err)
	require.Len(t, again, len(references))
	before := objects(t, "stack.yaml")
	for i, r := range again {
		require.Equal(t, references[i].Path, r.Path)
		require.Equal(t, refs[references[i].Image].String(), r.Image)
	}
	// With every digest turned back into what it stands for, all is as it was.
	for i := range objs {
		got, err := yaml.Marshal(objs[i].Object)
		require.NoError(t, err)
		want, err := yaml.Marshal(before[i].Object)
		require.NoError(t, err)
		text := string(got)
		for image, ref := range refs {
			text = strings.ReplaceAll(text, ref.String(), image)
		}
		require.YAMLEq(t, string(want), text)
	}

	require.NoError(t, imageref.Pin(objs, refs, stackRules()), "pinning what is pinned changes nothing")
	final, err := imageref.Find(objs, stackRules())
	require.NoError(t, err)
	require.Equal(t, again, final)
}

func TestPinKeepsTheTextAroundTheImage(t *testing.T) {
	t.Parallel()
	const text = "# executor: quay.io/x/y:old\nexecutor:   # the one\n  image: \"quay.io/argoproj/argoexec:v3.7.4\"   # keep me\n\n  other:\t'x'\nlast: [ 1,2 ]\n"
	o := &unstructured.Unstructured{Object: map[string]any{
		"kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "data": map[string]any{"config": text},
	}}
	rules := []imageref.Rule{{Object: "ConfigMap/c", ConfigMapKey: "config", Path: "executor.image"}}
	ref := digestOf("quay.io/argoproj/argoexec:v3.7.4")
	require.NoError(t, imageref.Pin([]*unstructured.Unstructured{o}, map[string]images.Ref{"quay.io/argoproj/argoexec:v3.7.4": ref}, rules))
	got, _, err := unstructured.NestedString(o.Object, "data", "config")
	require.NoError(t, err)
	require.Equal(t, strings.Replace(text, "quay.io/argoproj/argoexec:v3.7.4", ref.String(), 1), got)
}

func TestPinNamesEveryPlaceThatHasNoDigestAndChangesNothing(t *testing.T) {
	t.Parallel()
	objs := objects(t, "stack.yaml")
	references, err := imageref.Find(objs, stackRules())
	require.NoError(t, err)
	refs := refsFor(references)
	delete(refs, "alpine:3.10")
	delete(refs, "docker.io/library/alpine:3.10") // the same, by its full name
	delete(refs, "busybox")
	err = imageref.Pin(objs, refs, stackRules())
	require.Equal(t, fault.Drift, fault.KindOf(err))
	for _, r := range references {
		if r.Image == "alpine:3.10" || r.Image == "busybox" {
			require.ErrorContains(t, err, r.Object)
			require.ErrorContains(t, err, r.Path)
		}
	}
	after, err := imageref.Find(objs, stackRules())
	require.NoError(t, err)
	require.Equal(t, references, after)
}

func TestPinKnowsImagesByTheirFullName(t *testing.T) {
	t.Parallel()
	objs := parse(t, "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: busybox}, {name: b, image: 'docker.io/library/busybox:latest'}]}")
	ref := digestOf("kfdev.internal/busybox")
	require.NoError(t, imageref.Pin(objs, map[string]images.Ref{"docker.io/library/busybox": ref}, nil))
	references, err := imageref.Find(objs, nil)
	require.NoError(t, err)
	for _, r := range references {
		require.Equal(t, ref.String(), r.Image)
	}
}

func TestAForeignDigestIsNotTaken(t *testing.T) {
	t.Parallel()
	foreign := digestOf("quay.io/evil/app:v1").String()
	objs := parse(t, "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: '"+foreign+"'}]}")
	err := imageref.Pin(objs, map[string]images.Ref{"busybox": digestOf("busybox")}, nil)
	require.ErrorContains(t, err, foreign)
}

func TestATagBesideADigestIsNotPinned(t *testing.T) {
	t.Parallel()
	image := "quay.io/a/b:v1@" + digestOf("x").Digest.String()
	objs := parse(t, "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: '"+image+"'}]}")
	unpinned, err := imageref.Unpinned(objs, nil)
	require.NoError(t, err)
	require.Len(t, unpinned, 1)
	require.Equal(t, image, unpinned[0].Image)
}

func TestRulesThatLeadNowhereAreErrors(t *testing.T) {
	t.Parallel()
	objs := objects(t, "stack.yaml")
	for name, rule := range map[string]imageref.Rule{
		"no such object":    {Object: "Deployment/gone", Arg: "--image"},
		"no such flag":      {Object: "Deployment/training-operator", Arg: "--gone-image"},
		"a flag's start":    {Object: "Deployment/training-operator", Arg: "--pytorch-init-container"},
		"no such container": {Object: "Deployment/pvcviewer", Container: "gone", Env: "VOLUME_VIEWER"},
		"no such key":       {Object: "ConfigMap/katib-config", ConfigMapKey: "gone"},
		"no such path":      {Object: "ConfigMap/katib-config", ConfigMapKey: "katib-config.yaml", Path: "gone.image"},
		"a path to a map":   {Object: "ConfigMap/katib-config", ConfigMapKey: "katib-config.yaml", Path: "runtime"},
		"no such field":     {Object: "SparkThing/one", Field: "spec.gone"},
		"a text not there":  {Object: "SparkThing/one", Ignore: "gone/app:v1"},
		"two at once":       {Object: "SparkThing/one", Field: "a", Env: "B"},
		"none":              {Object: "SparkThing/one"},
		"no name":           {Object: "SparkThing", Field: "a"},
		"a lost path":       {Object: "SparkThing/one", Field: "a", Path: "b"},
		"a lost container":  {Object: "SparkThing/one", Field: "a", Container: "b"},
		"no flag":           {Object: "SparkThing/one", Arg: "image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := imageref.Find(objs, []imageref.Rule{rule})
			require.ErrorContains(t, err, rule.String())
			require.Equal(t, fault.Usage, fault.KindOf(err))
		})
	}
}

func TestATextThatCannotBeReplacedIsAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"escapes":  "image: \"quay.io\\x2fapp:v1\"",
		"no YAML":  "image: [",
		"a circle": "a: &a [*a]\nimage: {b: *a}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &unstructured.Unstructured{Object: map[string]any{
				"kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "data": map[string]any{"k": text},
			}}
			_, err := imageref.Find([]*unstructured.Unstructured{o}, []imageref.Rule{{Object: "ConfigMap/c", ConfigMapKey: "k", Path: "image"}})
			require.Error(t, err)
		})
	}
}
