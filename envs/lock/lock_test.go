package lock_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
)

func hash(text string) v1.Hash {
	sum := sha256.Sum256([]byte(text))
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func sourceImage(name string) lock.Image {
	return lock.Image{
		Repository: images.SourceHost + "/" + name, Digest: hash(name), MediaType: manifestType, Size: 1234,
		Origin: images.FromSource, StandsFor: "quay.io/x/" + name + ":v1", Recipe: name,
		Platforms: []lock.Child{{Platform: "linux/amd64", Digest: hash(name), Size: 1234}},
	}
}

func bakedImage(base lock.Image) lock.Image {
	return lock.Image{
		Repository: lock.BakedRepository("fraud", "nb"), Digest: hash("nb"), MediaType: manifestType, Size: 1300, Origin: images.FromBake,
		Bake:      lock.Bake{Sync: "nb", Base: base.Ref().String(), Folder: "/home/jovyan/src", Layer: hash("layer")},
		Platforms: []lock.Child{{Platform: "linux/amd64", Digest: hash("nb"), Size: 1300}},
	}
}

func debs(names ...string) []recipe.Input {
	var out []recipe.Input
	for _, n := range names {
		out = append(out, recipe.Input{Kind: "deb", Name: n, Version: "1:2.3-4+deb12u1", File: n + "_2.3_amd64.deb", Size: 99, Hash: hash(n).String()})
	}
	return out
}

// sample is a small closure with everything in it.
func sample() lock.Lock {
	hub, notebook := sourceImage("jupyterhub"), sourceImage("notebook")
	hub.References = []lock.Reference{
		{Component: "jupyterhub", Object: "jupyterhub/Deployment/hub", Path: "spec.template.spec.containers.hub.image", How: "container"},
		{Component: "jupyterhub", Object: "jupyterhub/ConfigMap/hub", Path: "data.a: b", How: "rule"},
	}
	python := debs("python3", "libc6")
	return lock.Lock{
		Catalog: "sha256:abc", Origin: images.FromSource, Platforms: []string{"linux/amd64"}, Kubernetes: "v1.36.1", GoToolchain: "go1.26.8",
		Node: lock.Node{
			Image: sourceImage("node"), Config: hash("config"), DiffIDs: []v1.Hash{hash("b"), hash("a")},
			Holds: []lock.Held{{Name: "registry.k8s.io/pause:3.10", Digest: hash("pause"), Config: hash("pause config"), Recipe: "node"}},
		},
		Images: []lock.Image{notebook, hub, bakedImage(notebook)},
		Recipes: []lock.Recipe{
			{Name: "notebook", Digest: hash("r1"), Layers: [][]recipe.Input{python, {{Kind: "wheel", Name: "jupyterlab", Version: "4.6.6", File: "jupyterlab-4.6.6-py3-none-any.whl", Size: 5, Hash: hash("w").String()}}}},
			{Name: "jupyterhub", Digest: hash("r2"), Layers: [][]recipe.Input{python}},
			{Name: "node", Digest: hash("r3"), Layers: [][]recipe.Input{debs("systemd"), {}}},
		},
		Components: []lock.Component{{Name: "jupyterhub", Version: "6.1.1", Source: hash("s"), Rendered: hash("r"), Images: []string{notebook.Repository, hub.Repository}}},
	}
}

func TestEncodeIsDeterministicAndReadable(t *testing.T) {
	t.Parallel()
	got, digest, err := lock.Encode(sample())
	require.NoError(t, err)
	golden := filepath.Join("testdata", "sample.lock")
	if os.Getenv("KFDEV_UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(golden, got, 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.Contains(t, string(got), digest.String())
	require.Equal(t, 1, strings.Count(string(got), "name: python3,"), "inputs that layers share are written once")
}

func TestTheOrderThatThingsWereFoundInDoesNotMatter(t *testing.T) {
	t.Parallel()
	a, b := sample(), sample()
	b.Images[0], b.Images[1] = b.Images[1], b.Images[0]
	b.Recipes[0], b.Recipes[2] = b.Recipes[2], b.Recipes[0]
	one, _, err := lock.Encode(a)
	require.NoError(t, err)
	two, _, err := lock.Encode(b)
	require.NoError(t, err)
	require.Equal(t, string(one), string(two))
	require.Empty(t, lock.Diff(a, b))
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	t.Parallel()
	data, digest, err := lock.Encode(sample())
	require.NoError(t, err)
	got, _, err := lock.Decode("kfdev.lock", data)
	require.NoError(t, err)
	require.Empty(t, lock.Diff(sample(), got))
	again, digestAgain, err := lock.Encode(got)
	require.NoError(t, err)
	require.Equal(t, string(data), string(again))
	require.Equal(t, digest, digestAgain)
	require.Len(t, got.Recipes[1].Layers, 2)
}

func TestAnEditByHandIsRefused(t *testing.T) {
	t.Parallel()
	data, _, err := lock.Encode(sample())
	require.NoError(t, err)
	for name, edit := range map[string]struct {
		old, new string
		kind     fault.Kind
		want     string
	}{
		"a value":            {"size: 1234", "size: 1235", fault.Drift, "edited by hand"},
		"a version":          {"1:2.3-4+deb12u1", "1:2.3-4+deb12u2", fault.Drift, "edited by hand"},
		"the digest":         {"digest: sha256:" + digestOf(t), "digest: " + hash("x").String(), fault.Drift, "edited by hand"},
		"a digest cut short": {hash("r2").String(), "sha256:abc", fault.Usage, "kfdev.lock:"},
		"an unknown key":     {"catalog:", "catalgo:", fault.Usage, `did you mean "catalog"?`},
		"a merge":            {"catalog:", "<<<<<<< HEAD\ncatalog:", fault.Usage, "line 5: a merge left its conflict markers"},
		"another version":    {"kfdev.dev/v1alpha1", "kfdev.dev/v2", fault.Usage, "this kfdev reads"},
		"a list of inputs":   {"layers: [jupyterhub/0]", "layers: [jupyterhub/7]", fault.Drift, "edited by hand"},
		"no digest":          {"digest: sha256:" + digestOf(t) + "\n", "", fault.Drift, "edited by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, string(data), edit.old)
			_, _, err := lock.Decode("kfdev.lock", []byte(strings.Replace(string(data), edit.old, edit.new, 1)))
			require.ErrorContains(t, err, edit.want)
			require.Equal(t, edit.kind, fault.KindOf(err))
			require.NotEmpty(t, fault.Hint(err))
		})
	}
}

func TestALockThatIsNoClosureIsRefusedThoughItsDigestIsRight(t *testing.T) {
	t.Parallel()
	data, _, err := lock.Encode(sample())
	require.NoError(t, err)
	for name, edit := range map[string]struct{ old, new, want string }{
		"inputs gone":   {"layers: [jupyterhub/0]", "layers: [jupyterhub/7]", "jupyterhub/7, which are not there"},
		"an image gone": {"- kfdev.internal/notebook", "- kfdev.internal/other", "which is not among the images"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, string(data), edit.old)
			text := strings.Replace(string(data), edit.old, edit.new, 1)
			own := "digest: sha256:" + digestOf(t) + "\n"
			text = strings.Replace(text, own, "digest: "+hash(strings.Replace(text, own, "", 1)).String()+"\n", 1)
			_, _, err := lock.Decode("kfdev.lock", []byte(text))
			require.ErrorContains(t, err, edit.want)
			require.Equal(t, fault.Usage, fault.KindOf(err))
		})
	}
}

func digestOf(t *testing.T) string {
	t.Helper()
	digest, err := lock.Digest(sample())
	require.NoError(t, err)
	return digest.Hex
}

func TestLineEndsAreNoEdit(t *testing.T) {
	t.Parallel()
	data, _, err := lock.Encode(sample())
	require.NoError(t, err)
	_, _, err = lock.Decode("kfdev.lock", []byte(strings.ReplaceAll(string(data), "\n", "\r\n")))
	require.NoError(t, err)
	_, _, err = lock.Decode("kfdev.lock", append(data, "# mine\n"...))
	require.Equal(t, fault.Drift, fault.KindOf(err))
}

func TestWhatIsNoClosureIsNotWritten(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*lock.Lock)
		want   string
	}{
		"no platform":              {func(l *lock.Lock) { l.Platforms = nil }, "no platform"},
		"a child is missing":       {func(l *lock.Lock) { l.Platforms = []string{"linux/amd64", "linux/arm64"} }, "image kfdev.internal/jupyterhub has no child for linux/arm64"},
		"an image twice":           {func(l *lock.Lock) { l.Images = append(l.Images, l.Images[0]) }, "comes twice"},
		"an image without digest":  {func(l *lock.Lock) { l.Images[0].Digest = v1.Hash{} }, "lacks its repository, digest"},
		"a recipe is missing":      {func(l *lock.Lock) { l.Recipes = l.Recipes[1:] }, `recipe "notebook", which is not among the recipes`},
		"a published name":         {func(l *lock.Lock) { l.Images[0].Repository = "quay.io/x" }, "has a published image's name"},
		"a source name":            {func(l *lock.Lock) { l.Images[0].Origin = images.FromRegistry }, "is a registry's"},
		"a component's image":      {func(l *lock.Lock) { l.Images = l.Images[1:] }, "component jupyterhub runs kfdev.internal/notebook"},
		"an input without hash":    {func(l *lock.Lock) { l.Recipes[2].Layers[0][0].Hash = "" }, "input without kind, name or hash"},
		"the node has no layers":   {func(l *lock.Lock) { l.Node.DiffIDs = nil }, "node image has no config digest or no layers"},
		"an origin":                {func(l *lock.Lock) { l.Origin = "auto" }, `origin "auto"`},
		"a baked image's base":     {func(l *lock.Lock) { l.Images[2].Bake.Base = "a:b" }, "lacks the image it is made of"},
		"a baked image's layer":    {func(l *lock.Lock) { l.Images[2].Bake.Layer = v1.Hash{} }, "lacks the image it is made of, its entry, its folder or its layer"},
		"a baked image's name":     {func(l *lock.Lock) { l.Images[2].Repository = "kfdev.internal/x" }, "has another image's name"},
		"baked of a recipe":        {func(l *lock.Lock) { l.Images[2].Recipe = "notebook" }, "a recipe"},
		"not baked":                {func(l *lock.Lock) { l.Images[0].Bake = l.Images[2].Bake }, "is not baked, but has"},
		"an image's origin":        {func(l *lock.Lock) { l.Images[0].Origin = "" }, `the origin ""`},
		"a component without hash": {func(l *lock.Lock) { l.Components[0].Rendered = v1.Hash{} }, "has no hash"},
		"a text of two lines":      {func(l *lock.Lock) { l.Catalog = "a\nb" }, "holds a control character"},
		"held without a digest":    {func(l *lock.Lock) { l.Node.Holds[0].Digest = v1.Hash{} }, "has no digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := sample()
			tc.change(&l)
			_, _, err := lock.Encode(l)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestDiffTellsWhatMoved(t *testing.T) {
	t.Parallel()
	a, b := sample(), sample()
	b.Recipes[1].Layers = [][]recipe.Input{debs("python3", "libc6")}
	b.Recipes[1].Layers[0][1].Version = "2.36-9"
	b.Kubernetes = "v1.36.2"
	b.Images = slices.Delete(b.Images, 1, 2)
	b.Components[0].Images = b.Components[0].Images[:1]
	var told []string
	for _, c := range lock.Diff(a, b) {
		if c.Subject != "image kfdev.internal/jupyterhub" {
			told = append(told, string(c.Action)+" "+c.Subject+" "+c.Fact)
		} else {
			require.Equal(t, lock.Removed, c.Action)
		}
	}
	require.Equal(t, []string{
		"changed component jupyterhub images",
		"changed recipe jupyterhub layer 00",
		"changed recipe jupyterhub layer 00: deb libc6",
		"changed stack kubernetes",
	}, told)
	require.Equal(t, "stack: kubernetes: v1.36.1 → v1.36.2", lock.Change{Action: lock.Changed, Subject: "stack", Fact: "kubernetes", From: "v1.36.1", To: "v1.36.2"}.String())
}

// TestDiffIsEmptyExactlyWhereDigestsAreEqual changes one leaf after another.
func TestDiffIsEmptyExactlyWhereDigestsAreEqual(t *testing.T) {
	t.Parallel()
	want, err := lock.Digest(sample())
	require.NoError(t, err)
	changed := 0
	for n := range 10_000 {
		l := sample()
		left := n
		if !touch(reflect.ValueOf(&l).Elem(), &left) {
			break // every leaf was touched
		}
		got, err := lock.Digest(l)
		if err != nil {
			require.NotEmpty(t, lock.Diff(sample(), l), "leaf %d", n)
			continue // no closure any more
		}
		changed++
		require.NotEqual(t, want, got, "leaf %d", n)
		require.NotEmpty(t, lock.Diff(sample(), l), "leaf %d", n)
	}
	require.Greater(t, changed, 50)
}

// touch changes the leaf of v that left counts down to.
func touch(v reflect.Value, left *int) bool {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if touch(v.Field(i), left) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if touch(v.Index(i), left) {
				return true
			}
		}
	case reflect.String:
		if *left--; *left == -1 {
			v.SetString(v.String() + "0")
			return true
		}
	case reflect.Int64:
		if *left--; *left == -1 {
			v.SetInt(v.Int() + 1)
			return true
		}
	default:
		panic(v.Kind())
	}
	return false
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, _, err := lock.Load(dir)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	changed, digest, err := lock.Save(dir, sample())
	require.NoError(t, err)
	require.True(t, changed)
	changed, again, err := lock.Save(dir, sample())
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, digest, again)
	got, loaded, err := lock.Load(dir)
	require.Equal(t, digest, loaded)
	require.NoError(t, err)
	require.Empty(t, lock.Diff(sample(), got))
	image, ok := got.Image("kfdev.internal/jupyterhub")
	require.True(t, ok)
	require.Equal(t, "kfdev.internal/jupyterhub@"+hash("jupyterhub").String(), image.Ref().String())
	_, ok = got.Image("kfdev.internal/none")
	require.False(t, ok)
	_, ok = got.Component("jupyterhub")
	require.True(t, ok)
	require.Contains(t, got.Digests(), hash("pause"))
	require.Contains(t, got.Digests(), hash("node"))
}

// TestAnyTextSurvives round-trips locks whose texts are chosen to hurt YAML.
func TestAnyTextSurvives(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", ": ", "# ", "'", `"`, "{", "]", "- ", "é", "0x1", "no", "~", "&a", "*b", "!c", ",", "="}
	text := func() string {
		var out strings.Builder
		for range 1 + random.IntN(5) {
			out.WriteString(pieces[random.IntN(len(pieces))])
		}
		return out.String()
	}
	for range 60 {
		l := sample()
		l.Catalog, l.Images[0].StandsFor = text(), text()
		l.Images[0].References = []lock.Reference{{Component: text(), Object: text(), Path: text(), How: text()}}
		for i := range l.Recipes[2].Layers[0] {
			l.Recipes[2].Layers[0][i] = recipe.Input{Kind: text(), Name: text(), Version: text(), File: text(), Size: random.Int64(), Hash: text()}
		}
		data, _, err := lock.Encode(l)
		require.NoError(t, err)
		got, _, err := lock.Decode("kfdev.lock", data)
		require.NoError(t, err, "%s", data)
		require.Empty(t, lock.Diff(l, got))
	}
}

func FuzzDecode(f *testing.F) {
	data, _, err := lock.Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(strings.ReplaceAll(string(data), "1234", "-1")))
	f.Add([]byte("apiVersion: kfdev.dev/v1alpha1\nkind: Lock\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, _, err := lock.Decode("kfdev.lock", data)
		if err != nil {
			return
		}
		again, _, err := lock.Encode(l)
		require.NoError(t, err)
		back, _, err := lock.Decode("kfdev.lock", again)
		require.NoError(t, err)
		require.Empty(t, lock.Diff(l, back))
	})
}

func BenchmarkDecode(b *testing.B) {
	l := sample()
	for i := range 2000 {
		l.Recipes[0].Layers[0] = append(l.Recipes[0].Layers[0], debs(fmt.Sprintf("package-%d", i))...)
	}
	data, _, err := lock.Encode(l)
	require.NoError(b, err)
	for b.Loop() {
		if _, _, err := lock.Decode("kfdev.lock", data); err != nil {
			b.Fatal(err)
		}
	}
}
