package envs

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/fault"
)

// threePlaces has two clusters beside dev, and one thing that differs.
const threePlaces = bothComponents + `environments:
  staging: {cluster: {context: staging}, registry: registry.staging.example/kfdev, after: [dev]}
  prod: {cluster: {context: prod}, registry: registry.prod.example/kfdev, after: [staging]}
differences:
  - id: replicas
    paths: [apps/Deployment/extra:extra/spec/replicas]
    allow: {type: integer, min: 1, max: 5}
    values: {dev: 1, staging: 2, prod: 5}
    reason: load
    owner: ana
`

func rendered(t *testing.T, b *bench, environment string) Rendered {
	t.Helper()
	r, err := b.engine(t).Render(t.Context(), environment)
	require.NoError(t, err)
	return r
}

func (r Rendered) object(t *testing.T, kind, name string) map[string]any {
	t.Helper()
	for _, c := range r.Components {
		for _, o := range c.Objects {
			if o.GetKind() == kind && o.GetName() == name {
				return o.Object
			}
		}
	}
	require.Fail(t, "there is no "+kind+" "+name)
	return nil
}

func TestEachEnvironmentIsRendered(t *testing.T) {
	t.Parallel()
	b := newBench(t, threePlaces)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	for name, want := range map[string]struct {
		replicas int64
		image    string
	}{
		"dev":     {1, "kfdev.internal/extra@sha256:"},
		"staging": {2, "registry.staging.example/kfdev/kfdev.internal/extra@sha256:"},
		"prod":    {5, "registry.prod.example/kfdev/kfdev.internal/extra@sha256:"},
	} {
		r := rendered(t, b, name)
		require.Equal(t, []string{"storage", "extra"}, []string{r.Components[0].Name, r.Components[1].Name}, "in the order of what they require")
		deployment := r.object(t, "Deployment", "extra")
		replicas, _, err := unstructured.NestedInt64(deployment, "spec", "replicas")
		require.NoError(t, err)
		require.Equal(t, want.replicas, replicas)
		containers, _, err := unstructured.NestedSlice(deployment, "spec", "template", "spec", "containers")
		require.NoError(t, err)
		require.Contains(t, containers[0].(map[string]any)["image"], want.image)
		require.Len(t, r.Differences, 1)
		require.Equal(t, "apps/Deployment/extra:extra/spec/replicas", r.Differences[0].Path)
	}
	_, err = b.engine(t).Render(t.Context(), "stagin")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, []string{"did you mean staging?"}, fault.Hint(err))
}

func TestDevIsBroughtUpAsItIsRendered(t *testing.T) {
	t.Parallel()
	_, differences, _ := strings.Cut(threePlaces, "differences:")
	b := newBench(t, bothComponents+"differences:"+strings.Replace(differences, "dev: 1, staging: 2, prod: 5", "dev: 3", 1))
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	s, err := b.engine(t).settled(t.Context())
	require.NoError(t, err)
	i := slices.IndexFunc(s.parts, func(p part) bool { return p.Name == "extra" })
	for _, o := range s.parts[i].rendered.Objects {
		if o.GetKind() == "Deployment" {
			replicas, _, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
			require.NoError(t, err)
			require.EqualValues(t, 3, replicas)
		}
	}
	require.NotEqual(t, s.base[i].hash, s.parts[i].hash)
	_, err = b.up(t)
	require.NoError(t, err)
	state, err := b.clusters.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, &fakeSet{hash: s.parts[i].hash, ready: true}, b.stacks[state.Nodes[0].ID]["extra"])
	again, err := b.up(t)
	require.NoError(t, err)
	require.False(t, again.Changed)
}

// The same project is the same render, in another folder and at another time.
func TestARenderIsPure(t *testing.T) {
	one, two := newBench(t, threePlaces), newBench(t, threePlaces)
	_, err := one.lock(t, LockOptions{})
	require.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(one.dir, "kfdev.lock"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(two.dir, "kfdev.lock"), raw, 0o600))
	first, err := json.Marshal(rendered(t, one, "prod"))
	require.NoError(t, err)
	t.Setenv("TZ", "Asia/Kathmandu")
	second, err := json.Marshal(rendered(t, two, "prod"))
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	require.NotContains(t, string(first), one.dir)
}

func TestEntriesThatAreWrongAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ old, new, says string }{
		"a path that leads nowhere":        {"extra:extra/spec/replicas", "extra:other/spec/replicas", "kfdev.yaml:10:5: "},
		"a value that is not allowed":      {"prod: 5}", "prod: 6}", "kfdev.yaml:13:"},
		"an environment that there is not": {"prod: 5}", "pro: 5}", "kfdev.yaml:13:"},
		"two entries for one field": {"    owner: ana\n", `    owner: ana
  - id: again
    paths: ["apps/Deployment/*/spec/replicas"]
    allow: {type: integer, min: 1, max: 5}
    default: 1
    reason: load
    owner: ana
`, "kfdev.yaml:16:5: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bothComponents)
			_, err := b.lock(t, LockOptions{})
			require.NoError(t, err)
			text := strings.Replace(threePlaces, tc.old, tc.new, 1)
			require.NotEqual(t, threePlaces, text)
			b.project(t, text)
			engine, err := b.newEngine(t)
			if err == nil {
				_, err = engine.Render(t.Context(), "prod")
			}
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, fault.Usage, fault.KindOf(err))
		})
	}
}

func TestASecretsValuesAreNotRendered(t *testing.T) {
	t.Parallel()
	b := newBench(t, threePlaces)
	b.catalog["extra/all.yaml"] = file(string(b.catalog["extra/all.yaml"].Data) + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: extra}\nstringData: {password: hunter2}\n")
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = b.engine(t).Render(t.Context(), "prod")
	require.ErrorContains(t, err, "extra: Secret extra/login has values in stringData")
	require.NotContains(t, err.Error(), "hunter2")
	require.Contains(t, fault.Hint(err)[0], "`secrets:`")
}

// A random change of one environment is refused wherever no entry speaks, taken
// inside an entry's domain, and refused right outside of it.
func TestWhatIsNotDeclaredIsAlwaysFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, threePlaces)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	e := b.engine(t)
	s, err := e.settled(t.Context())
	require.NoError(t, err)
	all, err := e.renderAll(s)
	require.NoError(t, err)
	prove := func(change func(objects []*unstructured.Unstructured)) []difference.Finding {
		p := difference.Prover{Entries: e.file.Differences, Images: map[string]difference.Relocated{}}
		objects := map[string][]*unstructured.Unstructured{}
		for name, one := range all {
			objects[name] = copies(one.objects)
			if one.images != nil {
				p.Images[name] = *one.images
			}
		}
		change(objects["prod"])
		proof, err := p.Prove(objects)
		require.NoError(t, err)
		return difference.Undeclared(proof.Findings)
	}
	require.Empty(t, prove(func([]*unstructured.Unstructured) {}))
	random := rand.New(rand.NewPCG(rand.Uint64(), 1)) //nolint:gosec // a test's
	for range 200 {
		var path string
		found := prove(func(objects []*unstructured.Unstructured) {
			o := objects[random.IntN(len(objects))]
			path = mutate(random, o.Object, nil)
		})
		require.NotEmpty(t, found, path)
	}
	deployment := func(replicas int64) func([]*unstructured.Unstructured) {
		return func(objects []*unstructured.Unstructured) {
			for _, o := range objects {
				if o.GetKind() == "Deployment" && o.GetName() == "extra" {
					require.NoError(t, unstructured.SetNestedField(o.Object, replicas, "spec", "replicas"))
				}
			}
		}
	}
	for n := int64(-1); n < 9; n++ {
		require.Equal(t, n >= 1 && n <= 5, len(prove(deployment(n))) == 0, "%d replicas", n)
	}
}

// mutate changes a random field that no entry is about, and returns its path.
func mutate(random *rand.Rand, node map[string]any, path []string) string {
	keys := make([]string, 0, len(node))
	for k := range node {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	key := keys[random.IntN(len(keys))]
	here := append(slices.Clone(path), key)
	if key == "replicas" || len(path) == 0 && (key == "apiVersion" || key == "kind") || len(path) == 1 && path[0] == "metadata" && (key == "name" || key == "namespace") {
		node["added"] = "x" // of these the entry, or the object's name, speaks
		return strings.Join(append(path, "added"), "/")
	}
	switch value := node[key].(type) {
	case map[string]any:
		if len(value) > 0 && random.IntN(4) > 0 {
			return mutate(random, value, here)
		}
		value["added"] = "x"
	case []any:
		node[key] = append(value, "x")
	case string:
		node[key] = value + "x"
	case int64:
		node[key] = value + 1
	default:
		delete(node, key)
	}
	return strings.Join(here, "/")
}
