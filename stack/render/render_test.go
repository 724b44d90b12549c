package render_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/render"
)

func folder(files map[string]string) stack.Component {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return stack.Component{Name: "app", Dir: "app", Files: fsys, Namespace: "apps", Values: []stack.Value{
		{Name: "size", Type: stack.Quantity, Default: "1Gi", Description: "d"},
	}}
}

const claim = `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {resources: {requests: {storage: "${kfdev.size}"}}, n: 3}
`

const config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {a: b}\n"

func names(objects []*unstructured.Unstructured) []string {
	var out []string
	for _, o := range objects {
		out = append(out, render.Name(o))
	}
	return out
}

func TestRender(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"kustomization": {"app/kustomization.yaml": "namespace: apps\nresources: [claim.yaml, ../upstream/app]\n", "app/claim.yaml": claim,
			"upstream/app/kustomization.yaml": "resources: [c.yaml]", "upstream/app/c.yaml": config, "app/component.yaml": "x"},
		"plain files": {"app/claim.yaml": strings.Replace(claim, "name: data", "name: data, namespace: apps", 1), "app/sub/c.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf","namespace":"apps"}}`, "app/readme.md": "hi"},
		"a list":      {"app/all.yaml": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.Replace(claim, "name: data", "name: data, namespace: apps", 1), "\n", "\n  ") + "\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: conf, namespace: apps}}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := render.Render(folder(files), map[string]string{"size": "5Gi"}, nil)
			require.NoError(t, err)
			require.Equal(t, []string{"ConfigMap/apps/conf", "Namespace/apps", "PersistentVolumeClaim/apps/data"}, names(r.Objects))
			size, _, _ := unstructured.NestedString(r.Objects[2].Object, "spec", "resources", "requests", "storage")
			require.Equal(t, "5Gi", size)
			n, found, err := unstructured.NestedInt64(r.Objects[2].Object, "spec", "n")
			require.True(t, found && err == nil && n == 3, "numbers must be int64")
			_ = r.Objects[2].DeepCopy() // panics on an int
		})
	}
}

func TestRenderFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files  map[string]string
		values map[string]string
		want   string
	}{
		"no manifests":        {map[string]string{"app/readme.md": "x"}, nil, "holds no manifests"},
		"a remote resource":   {map[string]string{"app/kustomization.yaml": "resources: ['https://example.com/x.yaml']"}, nil, "nothing is fetched from elsewhere"},
		"a remote base":       {map[string]string{"app/kustomization.yaml": "resources: [base]", "app/base/kustomization.yaml": "resources: ['github.com/x/y//z?ref=v1']"}, nil, "nothing is fetched from elsewhere"},
		"a remote component":  {map[string]string{"app/kustomization.yaml": "components: ['git@example.com:x/y']"}, nil, "nothing is fetched"},
		"a remote patch":      {map[string]string{"app/kustomization.yaml": "patches: [{path: 'https://example.com/p.yaml'}]"}, nil, "nothing is fetched"},
		"a Helm chart":        {map[string]string{"app/kustomization.yaml": "helmCharts: [{name: x}]"}, nil, "Helm charts"},
		"outside":             {map[string]string{"app/kustomization.yaml": "resources: [../other/c.yaml]", "other/c.yaml": config}, nil, "not in the component's folder"},
		"no kind":             {map[string]string{"app/c.yaml": "apiVersion: v1\nmetadata: {name: x}"}, nil, "kind"},
		"twice":               {map[string]string{"app/a.yaml": config, "app/b.yaml": config}, nil, "conf"},
		"an unknown value":    {map[string]string{"app/c.yaml": config}, map[string]string{"siez": "1"}, "there is no value siez: did you mean size?"},
		"a wrong value":       {map[string]string{"app/c.yaml": config}, map[string]string{"size": "1Gi\nevil: true"}, "is not of type quantity"},
		"an unknown token":    {map[string]string{"app/c.yaml": strings.Replace(config, "a: b", "a: '${kfdev.nope}'", 1)}, nil, "${kfdev.nope} is not one of"},
		"half a token":        {map[string]string{"app/c.yaml": strings.Replace(config, "a: b", "a: '${kfdev.size'", 1)}, nil, "app/c.yaml:4: ${kfdev. without"},
		"not a kustomization": {map[string]string{"app/kustomization.yaml": "resources: 5"}, nil, "app/kustomization.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render.Render(folder(tc.files), tc.values, nil)
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, fault.Usage, fault.KindOf(err))
		})
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	base := map[string]string{"app/claim.yaml": claim}
	first, err := render.Render(folder(base), nil, nil)
	require.NoError(t, err)
	again, err := render.Render(folder(maps.Clone(base)), map[string]string{"size": "1Gi"}, nil)
	require.NoError(t, err)
	require.Equal(t, first.SourceHash, again.SourceHash)
	hash := func(r render.Rendered) string {
		h, err := render.Hash(r.Objects)
		require.NoError(t, err)
		return h
	}
	require.Equal(t, hash(first), hash(again))
	other, err := render.Render(folder(base), map[string]string{"size": "2Gi"}, nil)
	require.NoError(t, err)
	require.NotEqual(t, first.SourceHash, other.SourceHash)
	require.NotEqual(t, hash(first), hash(other))
	base["app/notes.txt"] = "n"
	noted, err := render.Render(folder(base), nil, nil)
	require.NoError(t, err)
	require.NotEqual(t, first.SourceHash, noted.SourceHash)
	require.Equal(t, hash(first), hash(noted))
}

func TestCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := folder(map[string]string{"app/claim.yaml": claim})
	first, err := render.Render(c, nil, render.Folder(dir))
	require.NoError(t, err)
	cached, err := render.Render(c, nil, render.Folder(dir))
	require.NoError(t, err)
	require.Equal(t, first, cached)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	file := filepath.Join(dir, entries[0].Name())
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(data), "1Gi", "9Gi", 1)), 0o644))
	healed, err := render.Render(c, nil, render.Folder(dir))
	require.NoError(t, err)
	require.Equal(t, first.Objects, healed.Objects, "a damaged cache must not be believed")
}

func TestCacheStaysSmall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 80 {
		require.NoError(t, render.Folder(dir).Put(strings.Repeat("k", i+1), []byte("x")))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), 64)
}

// The catalog must render, carry no digest, and declare every image that its
// manifests are known to run.
func TestTheCatalogRenders(t *testing.T) {
	t.Parallel()
	files := catalog.Files()
	require.NoError(t, catalog.Complete(files))
	all, err := catalog.Names(files)
	require.NoError(t, err)
	require.Contains(t, all, "storage")
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := catalog.Component(files, name)
			require.NoError(t, err)
			r, err := render.Render(c, nil, nil)
			require.NoError(t, err)
			require.NotEmpty(t, r.Objects)
			require.True(t, slices.Contains(names(r.Objects), "Namespace/"+c.Namespace))
			for _, o := range r.Objects {
				data, err := o.MarshalJSON()
				require.NoError(t, err)
				require.NotContains(t, string(data), "@sha256:", render.Name(o))
				require.NotContains(t, string(data), "${kfdev.", render.Name(o))
			}
		})
	}
}

func TestStorageHasOneDefaultClass(t *testing.T) {
	t.Parallel()
	c, err := catalog.Component(catalog.Files(), "storage")
	require.NoError(t, err)
	r, err := render.Render(c, nil, nil)
	require.NoError(t, err)
	var classes []string
	for _, o := range r.Objects {
		if o.GetKind() == "StorageClass" {
			classes = append(classes, o.GetName()+" "+o.GetAnnotations()["storageclass.kubernetes.io/is-default-class"])
		}
	}
	require.Equal(t, []string{"standard true"}, classes)
}

func TestTheRulesOfAnAggregatedRoleAreAControllers(t *testing.T) {
	t.Parallel()
	r, err := render.Render(folder(map[string]string{
		"app/all.yaml": `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}
rules: []
`,
		"app/one.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: one, labels: {a: b}}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n",
	}), nil, nil)
	require.NoError(t, err)
	rules := map[string]bool{}
	for _, o := range r.Objects {
		if o.GetKind() == "ClusterRole" {
			_, rules[o.GetName()] = o.Object["rules"]
		}
	}
	require.Equal(t, map[string]bool{"all": false, "one": true}, rules)
}
