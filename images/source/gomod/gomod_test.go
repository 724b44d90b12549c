package gomod_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/gomod"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

const (
	mainMod = "module kfdev.internal/app\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n"
	// Without fmt, so that a cold build is the runtime's packages alone.
	mainGo = "package main\n\nimport \"example.com/dep\"\n\nvar version = \"none\"\n\nfunc main() { print(version, \" \", dep.Text(), \"\\n\") }\n"
	depGo  = "package dep\n\n// Text says who made it.\nfunc Text() string { return \"dep\" + System() }\n"
	// The module is broken without a file that its zip lacks.
	depOther = "package dep\n\nfunc System() string { return \"-darwin\" }\n"
)

// world is a module proxy in a folder, with one module in it, and an
// environment in which the go command knows nothing else.
type world struct {
	environ []string
	scratch string
	modules string
	sum     string
}

// home is the test process's own cache of compiled packages: the world's
// module cache is private, but compiling the runtime once is enough.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	proxy := filepath.Join(dir, "proxy", "example.com", "dep", "@v")
	require.NoError(t, os.MkdirAll(proxy, 0o755))
	mod := "module example.com/dep\n\ngo 1.21\n"
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, f := range [][2]string{{"go.mod", mod}, {"dep.go", depGo}, {"system_darwin.go", depOther}} {
		w, err := z.Create("example.com/dep@v1.0.0/" + f[0])
		require.NoError(t, err)
		_, err = io.WriteString(w, f[1])
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	for name, content := range map[string][]byte{
		"list": []byte("v1.0.0\n"), "v1.0.0.info": []byte(`{"Version":"v1.0.0"}`), "v1.0.0.mod": []byte(mod), "v1.0.0.zip": archive.Bytes(),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(proxy, name), content, 0o644))
	}
	w := world{scratch: filepath.Join(dir, "scratch"), modules: filepath.Join(dir, "modules")}
	w.environ = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TZ=" + os.Getenv("TZ"), "TMPDIR=" + os.TempDir(), "GOENV=off", "GOTOOLCHAIN=local", "GOCACHE=" + goEnv(t, "GOCACHE"),
		"GOPROXY=file://" + filepath.Join(dir, "proxy"), "GOSUMDB=off", "GOMODCACHE=" + w.modules,
		// What must not matter:
		"GOFLAGS=-mod=mod -race", "GOARCH=arm64", "GOOS=darwin", "CGO_ENABLED=1", "GOWORK=/nonexistent/go.work", "GODEBUG=x=1", "GOAMD64=v3", "GOROOT_FINAL=/x",
	}
	t.Cleanup(func() { // the module cache is read-only
		require.NoError(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				return os.Chmod(p, 0o755)
			}
			return err
		}))
	})
	w.sum = w.tidy(t)
	return w
}

// tidy has the go command itself make the go.sum.
func (w world) tidy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mainMod), 0o644))
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "example.com/dep@v1.0.0")
	cmd.Dir, cmd.Env = dir, append(append([]string{}, w.environ...), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	raw, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if errors.Is(err, os.ErrNotExist) {
		cmd = exec.CommandContext(t.Context(), "go", "get", "example.com/dep@v1.0.0")
		cmd.Dir, cmd.Env = dir, append(append([]string{}, w.environ...), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		raw, err = os.ReadFile(filepath.Join(dir, "go.sum"))
		require.NoError(t, err)
	}
	return string(raw)
}

func (w world) maker(cache string, environ ...string) *gomod.Maker {
	return gomod.New(gomod.Options{Scratch: w.scratch, Cache: cache, Sink: progress.Discard, Environ: append(append([]string{}, w.environ...), environ...)})
}

func (w world) spec(change func(*recipe.Go, fstest.MapFS)) source.LayerSpec {
	g := &recipe.Go{
		Module: "src", Toolchain: runtime.Version(),
		Programs: []recipe.GoProgram{{Package: "kfdev.internal/app", Path: "/bin/app", Set: map[string]string{"main.version": "v1.2"}, Links: []string{"/app"}}},
		Overlay:  map[string]string{"example.com/dep/system_linux.go": "linux.go"},
	}
	folder := fstest.MapFS{
		"src/go.mod.txt": {Data: []byte(mainMod)}, "src/go.sum.txt": {Data: []byte(w.sum)}, "src/main.go.txt": {Data: []byte(mainGo)},
		"linux.go": {Data: []byte(strings.ReplaceAll(depOther, "darwin", "linux"))},
	}
	if change != nil {
		change(g, folder)
	}
	return source.LayerSpec{Recipe: "app", Layer: recipe.Layer{Go: g}, Folder: folder}
}

// make runs a maker as the builder does, and returns the layer's digest and files.
func build(t *testing.T, m source.Maker, spec source.LayerSpec) (string, map[string][]byte, error) {
	t.Helper()
	inputs, err := m.Pin(t.Context(), spec, nil)
	if err != nil {
		return "", nil, err
	}
	if err := m.Fetch(t.Context(), spec, inputs); err != nil {
		return "", nil, err
	}
	tree, err := m.Tree(t.Context(), spec, inputs)
	if err != nil {
		return "", nil, err
	}
	digest, files := unpack(t, tree)
	require.NoError(t, tree.Close())
	return digest, files, nil
}

func unpack(t *testing.T, tree *layer.Tree) (string, map[string][]byte) {
	t.Helper()
	var raw, packed bytes.Buffer
	require.NoError(t, tree.Write(t.Context(), &raw))
	done, err := tree.Pack(t.Context(), &packed, nil)
	require.NoError(t, err)
	files := map[string][]byte{}
	r := tar.NewReader(&raw)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return done.DiffID.String(), files
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		files[h.Name] = append(content, h.Linkname...)
	}
}

func runs(t *testing.T, program []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(name, program, 0o755))
	out, err := exec.CommandContext(t.Context(), name).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// digestFile names, to the child process of TestTheSameProgramEverywhere, the
// file that takes the digest.
const digestFile = "KFDEV_TEST_DIGEST_FILE"

// elsewhere builds in a process of its own, under another umask and
// environment, with nothing shared but the Go release.
func elsewhere(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "digest")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec "$0" -test.run='^TestTheSameProgramEverywhere$'`, os.Args[0])
	cmd.Env = append(os.Environ(), digestFile+"="+name, "TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8", "USER=other", "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	digest, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(digest)
}

func TestTheSameProgramEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if name := os.Getenv(digestFile); name != "" {
		digest, _, err := build(t, w.maker("").Isolated(t.TempDir()), w.spec(nil))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, []byte(digest), 0o600))
		return
	}
	m := w.maker("")
	inputs, err := m.Pin(t.Context(), w.spec(nil), nil)
	require.NoError(t, err)
	require.Len(t, inputs, 2)
	require.Equal(t, recipe.Input{Kind: "toolchain", Name: "go", Version: runtime.Version()}, inputs[0])
	require.Equal(t, "example.com/dep", inputs[1].Name)
	require.Contains(t, w.sum, inputs[1].Hash)

	first, files, err := build(t, m, w.spec(nil))
	require.NoError(t, err)
	require.Equal(t, "v1.2 dep-linux\n", runs(t, files["bin/app"]))
	require.Equal(t, "/bin/app", string(files["app"]))
	left, err := os.ReadDir(w.scratch)
	require.NoError(t, err)
	require.Empty(t, left, "a closed tree leaves nothing")

	second := elsewhere(t)
	require.Equal(t, first, second, "another folder, module cache, build cache, umask, time zone, language and user")
	for _, trace := range []string{w.scratch, w.modules, os.TempDir(), os.Getenv("HOME")} {
		require.NotContains(t, string(files["bin/app"]), trace)
	}

	third, files, err := build(t, m, w.spec(func(g *recipe.Go, _ fstest.MapFS) {
		g.Overlay = map[string]string{"example.com/dep/system_linux.go": "module:system_darwin.go"}
	}))
	require.NoError(t, err)
	require.NotEqual(t, first, third)
	require.Equal(t, "v1.2 dep-darwin\n", runs(t, files["bin/app"]))
}

func TestWhatGoSumDoesNotVouchForIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := func(g *recipe.Go, f fstest.MapFS) {
		g.Overlay = nil
		f["src/main.go.txt"] = &fstest.MapFile{Data: []byte("package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n")}
	}
	wrong := strings.Replace(w.sum, "h1:", "h1:AAAA", 1)
	wrong = wrong[:strings.Index(wrong, "h1:")+3] + strings.Repeat("A", 43) + "=" + wrong[strings.Index(wrong, "\n"):]
	for name, tc := range map[string]struct {
		change func(*recipe.Go, fstest.MapFS)
		want   string
	}{
		"another hash":           {func(g *recipe.Go, f fstest.MapFS) { plain(g, f); f["src/go.sum.txt"].Data = []byte(wrong) }, "SECURITY ERROR"},
		"another hash, overlaid": {func(_ *recipe.Go, f fstest.MapFS) { f["src/go.sum.txt"].Data = []byte(wrong) }, "checksum mismatch"},
		"no hash":                {func(g *recipe.Go, f fstest.MapFS) { plain(g, f); f["src/go.sum.txt"].Data = nil }, "missing go.sum entry"},
		"a module nobody requires": {func(g *recipe.Go, _ fstest.MapFS) {
			g.Overlay = map[string]string{"example.com/other/x.go": "linux.go"}
		}, "no module that go.mod requires"},
		"no such file to overlay": {func(g *recipe.Go, _ fstest.MapFS) {
			g.Overlay = map[string]string{"example.com/dep/x.go": "module:y.go"}
		}, "no such file"},
		"text that is no go.sum": {func(_ *recipe.Go, f fstest.MapFS) { f["src/go.sum.txt"].Data = []byte("one two\n") }, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := build(t, w.maker(""), w.spec(tc.change))
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "app")
		})
	}
}

func TestAChangedModuleCacheIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := func(g *recipe.Go, f fstest.MapFS) {
		g.Overlay = nil
		f["src/main.go.txt"] = &fstest.MapFile{Data: []byte("package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n")}
	}
	m := w.maker("")
	spec := w.spec(whole)
	require.NoError(t, m.Fetch(t.Context(), spec, nil))
	dir := filepath.Join(w.modules, "example.com", "dep@v1.0.0")
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more.go"), []byte("package dep\n\nfunc System() string { return \"\" }\n"), 0o644))
	_, err := m.Tree(t.Context(), spec, nil)
	require.ErrorContains(t, err, "are not what go.sum says")
}

func TestAnotherGoIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := w.spec(func(g *recipe.Go, _ fstest.MapFS) { g.Toolchain = "go1.21.99" })
	err := w.maker("").Check(t.Context(), spec)
	require.Equal(t, fault.Preflight, fault.KindOf(err), "%v", err)
	require.Contains(t, fault.Hint(err)[0], "go1.21.99")
	require.NoError(t, w.maker("").Check(t.Context(), w.spec(nil)))
}

func TestAnErrorShowsWhatTheCompilerSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, err := build(t, w.maker(""), w.spec(func(g *recipe.Go, _ fstest.MapFS) { g.Overlay = nil }))
	require.ErrorContains(t, err, "undefined: System")
	left, err := os.ReadDir(w.scratch)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestABuildEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.maker(filepath.Join(t.TempDir(), "cold")) // so that there is something to compile
	require.NoError(t, m.Fetch(t.Context(), w.spec(nil), nil))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := m.Tree(ctx, w.spec(nil), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	left, err := os.ReadDir(w.scratch)
	require.NoError(t, err)
	require.Empty(t, left)
}
