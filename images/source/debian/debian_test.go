package debian_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian"
	"github.com/kfdev/kfdev/images/source/debian/debtest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// folderStore is a store in a folder, one file per hash.
type folderStore struct{ dir string }

func (s folderStore) path(hash string) string { return filepath.Join(s.dir, filepath.Base(hash)) }

func (s folderStore) Has(_ context.Context, hash string) (bool, error) {
	_, err := os.Stat(s.path(hash))
	return err == nil, nil
}

func (s folderStore) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	return os.Open(s.path(hash))
}

func (s folderStore) Put(_ context.Context, hash string, content io.Reader) error {
	data, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hash != "sha256:"+hex.EncodeToString(sum[:]) {
		return fmt.Errorf("content is sha256:%x, not %s", sum, hash)
	}
	return os.WriteFile(s.path(hash), data, 0o644)
}

// bench is a maker over an archive of its own.
type bench struct {
	*debian.Maker
	archive *debtest.Archive
	store   folderStore
	sink    *progress.Recorder
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{archive: debtest.NewArchive(t, "bookworm"), store: folderStore{t.TempDir()}, sink: &progress.Recorder{}}
	b.Maker = b.maker(t, b.store)
	return b
}

func (b *bench) maker(t *testing.T, store source.Inputs) *debian.Maker {
	t.Helper()
	return debian.New(debian.Options{Store: store, Dir: t.TempDir(), Sink: b.sink, AptConfig: b.archive.Config(), IndexFor: time.Nanosecond})
}

func spec(d recipe.Debian) source.LayerSpec {
	d.Suite = "bookworm"
	return source.LayerSpec{Recipe: "test", Layer: recipe.Layer{Debian: &d}}
}

func pkg(name, version, depends string) debtest.Package {
	return debtest.Package{
		Name: name, Version: version, Fields: map[string]string{"Depends": depends},
		Entries: []tar.Header{{Name: "./"}, {Name: "./usr/"}, {Name: "./usr/share/"}, {Name: "./usr/share/" + name}},
		Content: map[string]string{"./usr/share/" + name: name + " " + version},
	}
}

func versions(inputs []recipe.Input) []string {
	var out []string
	for _, in := range inputs {
		out = append(out, in.Name+"="+in.Version)
	}
	return out
}

func TestPinResolvesTheClosureWithoutRecommends(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := pkg("tool", "1:2.0-1", "liba (>= 1), some-service")
	tool.Fields["Recommends"] = "extra"
	other := pkg("service-b", "1", "")
	other.Fields["Provides"] = "some-service"
	b.archive.Publish(tool, pkg("liba", "1.0", ""), pkg("extra", "1", ""), pkg("service-a", "1", ""), other)

	inputs, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool"}}), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"liba=1.0", "service-b=1", "tool=1:2.0-1"}, versions(inputs))
	for _, in := range inputs {
		require.Equal(t, debian.Kind, in.Kind)
		require.Regexp(t, "^sha256:[0-9a-f]{64}$", in.Hash)
		require.Positive(t, in.Size)
	}
	require.Equal(t, "tool_1%3a2.0-1_amd64.deb", inputs[2].File)

	only, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool"}, Only: true}), nil)
	require.NoError(t, err)
	require.Equal(t, inputs[2:], only)
}

func TestPinRefusesAndFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.archive.Publish(pkg("tool", "1", "one | two"), pkg("one", "1", ""), pkg("two", "1", ""))

	inputs, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool"}, Refuse: []string{"one"}}), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"tool=1", "two=1"}, versions(inputs))

	_, err = b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"nosuch"}}), nil)
	require.ErrorContains(t, err, "nosuch")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool", "nosuch"}, Only: true}), nil)
	require.ErrorContains(t, err, "Debian bookworm has no nosuch")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestAnotherSuiteIsAPreflightFault(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := spec(recipe.Debian{Packages: []string{"tool"}})
	other.Layer.Debian.Suite = "forky"
	_, err := b.Pin(t.Context(), other, nil)
	require.ErrorContains(t, err, "Debian forky")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
}

func TestAnIndexWithABrokenSignatureIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.archive.Publish(pkg("tool", "1", ""))
	b.archive.Tamper()
	_, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool"}}), nil)
	require.Error(t, err)
	require.ErrorContains(t, err, "signature")
}

func TestALockDoesNotMoveByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := spec(recipe.Debian{Packages: []string{"tool"}})
	b.archive.Publish(pkg("tool", "1", "liba"), pkg("liba", "1", ""))
	first, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	require.NoError(t, b.Fetch(t.Context(), tool, first))
	b.archive.Publish(pkg("tool", "2", "liba"), pkg("liba", "2", ""), pkg("more", "1", ""))

	// What was locked is in the store, so the archive that moved on is no matter.
	again, err := b.Pin(t.Context(), tool, first)
	require.NoError(t, err)
	require.Equal(t, first, again)

	// Asked to update, it moves.
	moved, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"liba=2", "tool=2"}, versions(moved))
}

func TestAPinnedVersionThatVanishedIsNamedWithTheWaysOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := spec(recipe.Debian{Packages: []string{"tool"}})
	b.archive.Publish(pkg("tool", "1", "liba"), pkg("liba", "1", ""))
	first, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	b.archive.Publish(pkg("tool", "1", "liba"), pkg("liba", "1.1", ""))

	for name, call := range map[string]func() error{
		"fetch": func() error { return b.Fetch(t.Context(), tool, first) },
		"pin":   func() error { _, err := b.Pin(t.Context(), tool, first); return err },
	} {
		err := call()
		require.Error(t, err, name)
		require.Equal(t, fault.NotFound, fault.KindOf(err), name)
		require.ErrorContains(t, err, "liba 1 (the archive has 1.1 now)", name)
		require.ErrorContains(t, err, first[0].Hash, name)
		require.NotContains(t, err.Error(), "tool 1", name)
		hints := strings.Join(fault.Hint(err), "\n")
		for _, way := range []string{"kfdev/store", "kfdev lock --update test"} {
			require.Contains(t, hints, way, name)
		}
	}

	moved, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"liba=1.1", "tool=1"}, versions(moved))
	require.NoError(t, b.Fetch(t.Context(), tool, moved))
}

func TestTheSameVersionWithOtherContentIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := spec(recipe.Debian{Packages: []string{"tool"}})
	b.archive.Publish(pkg("tool", "1", ""))
	first, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	forged := pkg("tool", "1", "")
	forged.Content["./usr/share/tool"] = "forged"
	b.archive.Publish(forged)
	err = b.Fetch(t.Context(), tool, first)
	require.ErrorContains(t, err, "with other content")
}

func TestANewPackageInTheRecipeKeepsTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.archive.Publish(pkg("tool", "1", "liba"), pkg("liba", "1", ""))
	before, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"tool"}}), nil)
	require.NoError(t, err)
	b.archive.Publish(pkg("tool", "1", "liba"), pkg("liba", "1", ""), pkg("tool", "2", "liba"), pkg("more", "1", "tool"))

	for _, only := range []bool{false, true} {
		wider := spec(recipe.Debian{Packages: []string{"liba", "more", "tool"}, Only: only})
		inputs, err := b.Pin(t.Context(), wider, before)
		require.NoError(t, err)
		require.Equal(t, []string{"liba=1", "more=1", "tool=1"}, versions(inputs))
	}
	narrower, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"liba"}}), before)
	require.NoError(t, err)
	require.Equal(t, before[:1], narrower)
}

func TestFetchPutsIntoTheStoreAndAsksNoMore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := spec(recipe.Debian{Packages: []string{"tool"}})
	b.archive.Publish(pkg("tool", "1:1", "liba"), pkg("liba", "1", ""))
	inputs, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	require.NoError(t, b.Fetch(t.Context(), tool, inputs))
	for _, in := range inputs {
		has, err := b.store.Has(t.Context(), in.Hash)
		require.NoError(t, err)
		require.True(t, has, in.Name)
	}
	b.archive.Publish()
	offline := b.maker(t, b.store)
	require.NoError(t, offline.Fetch(t.Context(), tool, inputs))
	tree, err := offline.Tree(t.Context(), tool, inputs)
	require.NoError(t, err)
	require.Equal(t, "tool 1:1", content(t, tree, "usr/share/tool"))
}

func TestFetchBringsWhatTreeReadsOfTheLayersBelow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.archive.Publish(pkg("low", "1", ""), pkg("high", "1", ""))
	low, err := b.Pin(t.Context(), spec(recipe.Debian{Packages: []string{"low"}}), nil)
	require.NoError(t, err)
	for _, status := range []bool{false, true} {
		high := spec(recipe.Debian{Packages: []string{"high"}, Status: status})
		high.Below = [][]recipe.Input{low}
		inputs, err := b.Pin(t.Context(), high, nil)
		require.NoError(t, err)
		require.NoError(t, b.Fetch(t.Context(), high, inputs))
		has, err := b.store.Has(t.Context(), low[0].Hash)
		require.NoError(t, err)
		require.Equal(t, status, has)
	}
}

func TestAFileThatTheArchiveLostIsAnErrorOfApt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tool := spec(recipe.Debian{Packages: []string{"tool"}})
	b.archive.Publish(pkg("tool", "1", ""))
	inputs, err := b.Pin(t.Context(), tool, nil)
	require.NoError(t, err)
	b.archive.Remove("tool", "1")
	err = b.Fetch(t.Context(), tool, inputs)
	require.ErrorContains(t, err, "apt-get download")
	require.NotEmpty(t, fault.Hint(err))
}

func TestACanceledContextEndsIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Pin(ctx, spec(recipe.Debian{Packages: []string{"tool"}}), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func content(t *testing.T, tree *layer.Tree, name string) string {
	t.Helper()
	e, ok := tree.Get(name)
	require.True(t, ok, name)
	require.Equal(t, layer.File, e.Type, name)
	r, err := e.Open()
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var b bytes.Buffer
	n, err := b.ReadFrom(r)
	require.NoError(t, err)
	require.Equal(t, e.Size, n)
	return b.String()
}
