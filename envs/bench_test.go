package envs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/files"
	"github.com/kfdev/kfdev/images/source/preload"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/dirs"
	"github.com/kfdev/kfdev/internal/progress"
)

// debianArchive plays Debian's: it has one version of every package at a time, and
// makes layers that say which.
type debianArchive struct {
	mu      sync.Mutex
	version string
	broken  func() error // called where a layer is made
	made    int
}

func (a *debianArchive) Pin(_ context.Context, spec source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	if len(before) == len(spec.Layer.Debian.Packages) {
		return before, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var inputs []recipe.Input
	for _, name := range spec.Layer.Debian.Packages {
		sum := sha256.Sum256([]byte(name + a.version))
		inputs = append(inputs, recipe.Input{Kind: "deb", Name: name, Version: a.version, File: name + ".deb", Size: 9, Hash: "sha256:" + hex.EncodeToString(sum[:])})
	}
	return inputs, nil
}

func (a *debianArchive) Fetch(ctx context.Context, _ source.LayerSpec, _ []recipe.Input) error {
	return ctx.Err()
}

func (a *debianArchive) Tree(_ context.Context, _ source.LayerSpec, inputs []recipe.Input) (*layer.Tree, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		if err := a.broken(); err != nil {
			return nil, err
		}
	}
	a.made++
	tree := &layer.Tree{}
	return tree, tree.AddBytes("packages", 0o644, fmt.Append(nil, inputs))
}

func (a *debianArchive) move(version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = version
}

// bench is a project with its folders, and the world around it.
type bench struct {
	*outside
	dir     string // of the project
	dirs    dirs.Dirs
	archive *debianArchive
	recipes fstest.MapFS
	catalog fstest.MapFS
	events  *progress.Recorder
	env     map[string]string // kfdev's variables
}

// A project with two components: storage, as every preset has, and extra.
const bothComponents = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack: {preset: tiny, components: {extra: {enabled: true}}}
`

func newBench(t *testing.T, project string) *bench {
	t.Helper()
	root := t.TempDir()
	b := &bench{
		outside: newOutside(), dir: filepath.Join(root, "project"), archive: &debianArchive{version: "1"}, recipes: testRecipes(), catalog: testCatalog(),
		dirs:   dirs.Dirs{Cache: filepath.Join(root, "cache"), State: filepath.Join(root, "state"), Config: filepath.Join(root, "config")},
		events: &progress.Recorder{},
	}
	require.NoError(t, os.MkdirAll(b.dir, 0o755))
	b.project(t, project)
	return b
}

// project writes the project's file.
func (b *bench) project(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "kfdev.yaml"), []byte(text), 0o600))
}

// engine starts a new program in the bench's world.
func (b *bench) engine(t *testing.T) *Engine {
	t.Helper()
	e, err := b.newEngine(t)
	require.NoError(t, err)
	return e
}

// newEngine is engine for a project that may be refused.
func (b *bench) newEngine(t *testing.T) (*Engine, error) {
	t.Helper()
	e, err := b.start()
	if err == nil {
		t.Cleanup(func() { require.NoError(t, e.Close()) })
	}
	return e, err
}

// start starts a program, which the caller closes.
func (b *bench) start() (*Engine, error) {
	e, err := alone(Options{Dir: b.dir, Dirs: b.dirs, Getenv: func(name string) string { return b.env[name] }, Command: "kfdev test", Sink: b.events})
	if err != nil {
		return nil, err
	}
	e.catalog, e.recipes, e.remote, e.world = b.catalog, b.recipes, b.remote, b.world()
	if e.store, err = store.Open(filepath.Join(b.dirs.Cache, "store")); err != nil {
		return nil, err
	}
	e.builder = source.New(source.Config{
		Store: e.store, Catalog: e.recipes, Sink: b.events, Scratch: filepath.Join(b.dirs.Cache, "scratch"),
		Host: source.Host{Platform: "linux/amd64", ID: "debian", Codename: "bookworm", Memory: 64 << 30},
		Makers: map[recipe.LayerKind]source.Maker{
			recipe.KindDebian: b.archive, recipe.KindFiles: files.New("/nonexistent"),
			recipe.KindPreload: preload.New(store.NewOrigin(e.store, images.FromSource)),
		},
	})
	return e, nil
}

func (b *bench) lock(t *testing.T, o LockOptions) (LockResult, error) {
	t.Helper()
	return b.engine(t).Lock(t.Context(), o)
}

func (b *bench) up(t *testing.T) (UpResult, error) {
	t.Helper()
	return b.engine(t).Up(t.Context(), UpOptions{})
}

// said is all that was said to people.
func (b *bench) said() string {
	var out []string
	for _, e := range b.events.Events() {
		out = append(out, e.Text)
	}
	return strings.Join(out, "\n")
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// testRecipes is a catalog in which storage and extra lie on one base of
// Debian's, and the node holds pause.
func testRecipes() fstest.MapFS {
	c := fstest.MapFS{}
	for name, layers := range map[string]string{
		"base":     "layers: [{debian: {suite: bookworm, packages: [libc6]}}]\n",
		"storage":  "from: base\nlayers: [{files: [{path: /storage, content: storage}]}]\n",
		"extra":    "from: base\nlayers: [{debian: {suite: bookworm, packages: [curl]}}, {files: [{path: /extra, content: extra}]}]\n",
		"pause":    "layers: [{files: [{path: /pause, content: pause}]}]\n",
		"node":     "layers: [{files: [{path: /init, content: init}]}, {preload: {images: [{recipe: pause, name: \"kfdev.internal/pause:1\"}]}}]\n",
		"registry": "layers: [{files: [{path: /kfdev, content: registry}]}]\n",
	} {
		c[name+"/recipe.yaml"] = file("apiVersion: kfdev.dev/v1alpha1\nkind: Recipe\nname: " + name + "\n" + layers)
	}
	return c
}

// testCatalog has storage and extra, each a Deployment of one image.
func testCatalog() fstest.MapFS {
	c := fstest.MapFS{"upstream.sum": file("")}
	for name, more := range map[string]string{"storage": "", "extra": "requires: [storage]\n"} {
		c[name+"/component.yaml"] = file(fmt.Sprintf(`apiVersion: kfdev.dev/v1alpha1
kind: Component
name: %[1]s
version: v1
title: for tests
namespace: %[1]s
%[2]simages: [{name: main, published: "registry.example/%[1]s:v1", recipe: %[1]s}]
`, name, more))
		c[name+"/kustomization.yaml"] = file("resources: [all.yaml]\n")
		c[name+"/all.yaml"] = file(deployment(name, "registry.example/"+name+":v1"))
	}
	return c
}

func deployment(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: main, image: "%[2]s"}]}
`, name, image)
}

var errBroken = errors.New("the disk is full")

// How long a test waits for another goroutine, and how often it looks.
const (
	waitLimit = 10 * time.Second
	waitTick  = 5 * time.Millisecond
)
