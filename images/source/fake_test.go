package source_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/files"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a maker of layers that hold one file with what they were made of.
type fake struct {
	// at is called at every stage: pin, fetch, tree; an error fails it.
	at func(ctx context.Context, stage string, spec source.LayerSpec) error
	// salt goes into every layer, as a mistake in a maker would.
	salt string

	mu     sync.Mutex
	calls  []string
	now    map[string]int
	most   map[string]int
	inputs map[string][]recipe.Input // given to Tree, by recipe
}

func newFake() *fake {
	return &fake{now: map[string]int{}, most: map[string]int{}, inputs: map[string][]recipe.Input{}}
}

func (f *fake) enter(ctx context.Context, stage string, spec source.LayerSpec) (func(), error) {
	f.mu.Lock()
	f.calls = append(f.calls, stage+" "+spec.Recipe)
	f.now[stage]++
	f.most[stage] = max(f.most[stage], f.now[stage])
	f.mu.Unlock()
	leave := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now[stage]--
	}
	if f.at != nil {
		return leave, f.at(ctx, stage, spec)
	}
	return leave, ctx.Err()
}

func (f *fake) Pin(ctx context.Context, spec source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	leave, err := f.enter(ctx, "pin", spec)
	defer leave()
	if len(before) > 0 {
		return before, err
	}
	hash := fmt.Sprintf("sha256:%064d", len(spec.Recipe)) // one that nothing has
	return []recipe.Input{{Kind: "go", Name: spec.Recipe, Version: fmt.Sprint("v", len(spec.Below)), Hash: hash}}, err
}

func (f *fake) Fetch(ctx context.Context, spec source.LayerSpec, _ []recipe.Input) error {
	leave, err := f.enter(ctx, "fetch", spec)
	defer leave()
	return err
}

func (f *fake) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (*layer.Tree, error) {
	leave, err := f.enter(ctx, "tree", spec)
	defer leave()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.inputs[spec.Recipe] = inputs
	f.mu.Unlock()
	tree := &layer.Tree{}
	return tree, tree.AddBytes("made/of/"+spec.Recipe, 0o644, fmt.Append(nil, f.salt, inputs))
}

func (f *fake) called(stage string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, c := range f.calls {
		if name, ok := strings.CutPrefix(c, stage+" "); ok {
			list = append(list, name)
		}
	}
	return list
}

var errBoom = errors.New("boom")

// recipes is a small catalog: app and other lie on base, node holds both.
func recipes() fstest.MapFS {
	const head = "apiVersion: kfdev.dev/v1alpha1\nkind: Recipe\nname: "
	c := fstest.MapFS{}
	for name, text := range map[string]string{
		"base":  "layers: [{files: [{path: /etc/base, content: base}]}]\n",
		"app":   "from: base\nstandsFor: registry.example/app:v1\nlayers: [{go: {module: ., toolchain: go1.26.8, programs: [{package: a, path: /a}]}}]\nconfig: {entrypoint: [/a], env: [A=b], user: \"1\", volumes: [/data], stopSignal: SIGTERM, labels: {z: \"1\", a: \"2\"}}\n",
		"other": "from: base\nlayers: [{go: {module: ., toolchain: go1.26.8, programs: [{package: b, path: /b}]}}]\n",
		"node":  "layers: [{preload: {images: [{recipe: app, name: \"kfdev.internal/app:v1\"}, {recipe: other, name: \"kfdev.internal/other:v1\"}]}}]\n",
		"deb":   "layers: [{debian: {suite: bookworm, packages: [libc6]}}]\n",
	} {
		c[name+"/recipe.yaml"] = &fstest.MapFile{Data: []byte(head + name + "\n" + text)}
		c[name+"/go.mod.txt"] = &fstest.MapFile{Data: []byte("module " + name + "\n")}
		c[name+"/go.sum.txt"] = &fstest.MapFile{}
	}
	return c
}

// bench is a builder with fakes.
type bench struct {
	*source.Builder
	golang, preload, debian *fake
	events                  *progress.Recorder
}

func newBench(t *testing.T, change func(*source.Config)) bench {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "store"))
	require.NoError(t, err)
	b := bench{golang: newFake(), preload: newFake(), debian: newFake(), events: &progress.Recorder{}}
	c := source.Config{
		Store: s, Catalog: recipes(), Sink: b.events, Scratch: filepath.Join(dir, "scratch"),
		Makers: map[recipe.LayerKind]source.Maker{
			recipe.KindGo: b.golang, recipe.KindPreload: b.preload, recipe.KindDebian: b.debian, recipe.KindFiles: files.New("/nonexistent"),
		},
		Host: source.Host{Platform: "linux/amd64", ID: "debian", Codename: "bookworm", Memory: 64 << 30},
	}
	if change != nil {
		change(&c)
	}
	b.Builder = source.New(c)
	return b
}

func (b bench) pin(t *testing.T, names ...string) source.Pinned {
	t.Helper()
	p, err := b.Pin(t.Context(), names, source.Pinned{})
	require.NoError(t, err)
	return p
}
