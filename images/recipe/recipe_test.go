package recipe_test

import (
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
)

const head = "apiVersion: kfdev.dev/v1alpha1\nkind: Recipe\n"

// catalog makes a catalog of recipe files by name; a name with a slash is any
// other file.
func catalog(files map[string]string) fstest.MapFS {
	c := fstest.MapFS{}
	for name, text := range files {
		if !strings.Contains(name, "/") {
			name, text = name+"/recipe.yaml", head+"name: "+name+"\n"+text
		}
		c[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return c
}

const everything = `
standsFor: registry.example:5000/team/app:v1.2
note: all that a recipe can say
from: base
layers:
  - go:
      module: src
      toolchain: go1.26.8
      programs:
        - {package: example.com/app/cmd/app, path: /bin/app, tags: [netgo], set: {example.com/app/v.Version: v1}, links: [/bin/b]}
      overlay:
        example.com/app/a_linux.go: "module:a_darwin.go"
        example.com/app/index.html: page.html
  - debian: {suite: bookworm, packages: [libc6, g++], only: true, refuse: [perl], exclude: [/usr/share/**], accounts: true, status: true, caBundle: true,
      steps: [{path: /etc/x, from: page.html}]}
  - wheels: {lock: wheels.yaml, python: 3.11.2, prefix: /opt/venv}
  - npm: {lock: package-lock.json, prefix: /srv}
  - files:
      - {path: /a, content: ""}
      - {path: /b, from: "kfdev:", mode: "4755", uid: 1000, gid: 100}
      - {path: /c, link: /a}
      - {path: /d, dir: true, mode: "1777"}
  - preload: {images: [{recipe: base, name: "kfdev.internal/base:v1"}]}
  - use: shared
config:
  entrypoint: [/bin/app]
  env: [PATH=/bin, EMPTY=]
  user: "1000"
  workingDir: /
  volumes: [/data]
`

func whole() map[string]string {
	return map[string]string{
		"app": everything, "base": "layers: [{files: [{path: /base, content: x}]}]\n",
		"shared":        "from: base\nlayers: [{files: [{path: /s1, content: x}]}, {use: deeper}]\n",
		"deeper":        "layers: [{files: [{path: /s2, content: x}]}]\n",
		"app/page.html": "<p>", "app/wheels.yaml": "w", "app/package-lock.json": "{}",
		"app/src/go.mod.txt": "module m\n", "app/src/go.sum.txt": "", "app/src/main.go.txt": "package main\n",
		"app/src/other/go.mod.txt": "module other\n", "app/src/other/x.go.txt": "package other\n",
	}
}

func TestLoadReadsAllThatARecipeSays(t *testing.T) {
	t.Parallel()
	c := catalog(whole())
	image, err := recipe.Load(c, "app")
	require.NoError(t, err)
	var parts []string
	for _, p := range image.Parts {
		parts = append(parts, fmt.Sprintf("%s/%d %s", p.Recipe, p.Index, p.Layer.Kind()))
	}
	require.Equal(t, []string{
		"base/0 files", "app/0 go", "app/1 debian", "app/2 wheels", "app/3 npm", "app/4 files", "app/5 preload",
		"shared/0 files", "deeper/0 files",
	}, parts)
	named, err := image.Parts[1].Layer.Named(image.Parts[1].Folder)
	require.NoError(t, err)
	require.Equal(t, []string{"page.html", "src/go.mod.txt", "src/go.sum.txt", "src/main.go.txt"}, named)
	mode, err := image.Parts[5].Layer.Files[1].FileMode()
	require.NoError(t, err)
	require.Equal(t, fs.ModeSetuid|0o755, mode)
	names, err := recipe.List(c)
	require.NoError(t, err)
	require.Equal(t, []string{"app", "base", "deeper", "shared"}, names)
}

func TestDigestFollowsWhatTheImageIsMadeOfAndNothingElse(t *testing.T) {
	t.Parallel()
	digest := func(files map[string]string) string {
		image, err := recipe.Load(catalog(files), "app")
		require.NoError(t, err)
		return image.Digest.String()
	}
	before := digest(whole())
	for name, change := range map[string]func(map[string]string){
		"a comment":       func(f map[string]string) { f["app"] += "# more\n" },
		"a note":          func(f map[string]string) { f["app"] = strings.Replace(f["app"], "all that", "everything", 1) },
		"an unnamed file": func(f map[string]string) { f["app/README.md"] = "x" },
		"another module":  func(f map[string]string) { f["app/src/other/x.go.txt"] = "package changed\n" },
	} {
		files := maps.Clone(whole())
		change(files)
		require.Equal(t, before, digest(files), name)
	}
	for name, change := range map[string]func(map[string]string){
		"go.sum":       func(f map[string]string) { f["app/src/go.sum.txt"] = "x" },
		"a main":       func(f map[string]string) { f["app/src/main.go.txt"] = "package main // x\n" },
		"a new source": func(f map[string]string) { f["app/src/sub/b.go.txt"] = "package b\n" },
		"a named file": func(f map[string]string) { f["app/page.html"] = "<b>" },
		"a lock":       func(f map[string]string) { f["app/wheels.yaml"] = "v" },
		"the config":   func(f map[string]string) { f["app"] = strings.Replace(f["app"], "EMPTY=", "FULL=", 1) },
		"the base":     func(f map[string]string) { f["base"] = strings.Replace(f["base"], "/base", "/other", 1) },
		"a used layer": func(f map[string]string) { f["deeper"] = strings.Replace(f["deeper"], "/s2", "/s3", 1) },
		"order of files": func(f map[string]string) {
			f["app"] = strings.Replace(f["app"], "[PATH=/bin, EMPTY=]", "[EMPTY=, PATH=/bin]", 1)
		},
	} {
		files := maps.Clone(whole())
		change(files)
		require.NotEqual(t, before, digest(files), name)
	}
}

func TestDecodeReportsEverythingAtOnceWithItsPlace(t *testing.T) {
	t.Parallel()
	text := `apiVersion: v2
kind: Recipes
name: Bad_Name
standsFor: quay.io/x/y@sha256:0000000000000000000000000000000000000000000000000000000000000000
layerz: []
layers:
  - {}
  - go:
      module: ../out
      toolchain: go1.26
      programs: [{package: "-x", path: bin, links: [a], set: {v: "a b"}, tags: ["a,b"]}]
      overlay: {/abs: nothing.go, a/b.go: "module:/x"}
  - go: {module: ., toolchain: go1.26.8, programs: []}
    use: other
  - debian: {suite: "bookworm main", packages: [], refuse: [UPPER]}
  - wheels: {lock: none, python: "3.11", prefix: opt}
  - npm: {lock: ../x, prefix: /a/../b}
  - files:
      - {path: /, content: x}
      - {path: /a}
      - {path: /b, content: x, link: y}
      - {path: /c, content: x, mode: "999", uid: -1}
      - {path: /d, from: folder}
  - preload: {images: [{recipe: A, name: "no-tag"}]}
  - preload: {images: []}
  - use: ..
config: {env: ["=x"], volumes: [data], workingDir: a}
`
	folder := fstest.MapFS{"folder/x": {}}
	_, err := recipe.Decode("r.yaml", []byte(text), folder)
	require.Error(t, err)
	for _, want := range []string{
		"r.yaml:1:13: apiVersion is \"v2\"", "r.yaml:2:7: kind is", "r.yaml:3:7: \"Bad_Name\" is not a name", "r.yaml:4:12: ", "r.yaml:5:1: unknown key \"layerz\"",
		"r.yaml:7:5: a layer is exactly one of", "r.yaml:9:15: \"../out\" is not a folder", "r.yaml:10:18: \"go1.26\" is not an exact Go release",
		"is not the import path", "\"bin\" is not a clean absolute path", "\"a\" is not a clean", "v=a b is not", "\"a,b\" is not a build tag",
		"\"/abs\" is not module/path/file", "no file nothing.go", "\"/x\" is not a file of the module", "r.yaml:13:5: a layer is exactly one of",
		"\"bookworm main\" is not a Debian suite", "at least one package", "\"UPPER\" is not a Debian package", "no file none", "\"3.11\" is not an exact version",
		"\"opt\" is not a clean absolute path", "\"../x\" is not a file below", "\"/a/../b\" is not a clean", "\"/\" is not a clean", "says what is at /a", "says what is at /b",
		"mode \"999\"", "an owner is not negative", "folder is no file", "\"A\" is not a name", "\"no-tag\" is not host/repository:tag", "at least one image",
		"\"..\" is not a name", "\"=x\" is not NAME=value", "\"data\" is not a clean", "\"a\" is not a clean",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	files := "layers: [{files: [{path: /x, content: x}]}]\n"
	for name, tc := range map[string]struct {
		files map[string]string
		kind  fault.Kind
		want  string
	}{
		"nothing of that name": {map[string]string{"other": files}, fault.NotFound, "no such recipe"},
		"no such base":         {map[string]string{"app": "from: base\nlayers: []\n"}, fault.NotFound, "app starts from base"},
		"no such used":         {map[string]string{"app": "layers: [{use: base}]\n"}, fault.NotFound, "app uses base"},
		"a circle of bases":    {map[string]string{"app": "from: b\nlayers: []\n", "b": "from: app\nlayers: []\n"}, fault.Usage, "leads back to itself: [app b app]"},
		"a circle of uses":     {map[string]string{"app": "layers: [{use: b}]\n", "b": "layers: [{use: app}]\n"}, fault.Usage, "leads back to itself"},
		"another name":         {map[string]string{"app/recipe.yaml": head + "name: b\n" + files}, fault.Usage, "called as its folder is"},
		"no layers":            {map[string]string{"app": "layers: []\n"}, fault.Usage, "an image has layers"},
		"no text":              {map[string]string{"app/recipe.yaml": ""}, fault.Usage, "is empty"},
		"no YAML":              {map[string]string{"app/recipe.yaml": "\t{"}, fault.Usage, "app/recipe.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := recipe.Load(catalog(tc.files), "app")
			require.Equal(t, tc.kind, fault.KindOf(err), "%v", err)
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := recipe.Load(catalog(nil), "../etc")
	require.Equal(t, fault.Usage, fault.KindOf(err))
}

func FuzzDecode(f *testing.F) {
	f.Add(head + "name: app" + everything)
	f.Add("layers: [{files: [{path: /x, content: &a x, mode: *a}]}]")
	folder := catalog(whole())
	sub, err := fs.Sub(folder, "app")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := recipe.Decode("recipe.yaml", []byte(text), sub)
		if err != nil {
			return
		}
		for _, l := range r.Layers {
			_, err := l.Named(sub)
			require.NoError(t, err, "what is valid can be read")
			require.NotEqual(t, recipe.KindNone, l.Kind())
		}
	})
}
