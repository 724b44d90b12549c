package envs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// versions are the versions of the Debian packages in the lock, by recipe and
// package.
func (b *bench) versions(t *testing.T) map[string]string {
	t.Helper()
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	out := map[string]string{}
	for _, r := range l.Recipes {
		for _, layer := range r.Layers {
			for _, in := range layer {
				if in.Kind == "deb" {
					out[r.Name+" "+in.Name] = in.Version
				}
			}
		}
	}
	return out
}

func TestALockIsTheClosureAndStaysTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	first, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	require.True(t, first.Written)
	require.True(t, first.First)
	require.Equal(t, 2, first.Images)
	require.Equal(t, "kfdev.yaml says so", first.Why)
	require.NotEmpty(t, first.Changes)
	for _, c := range first.Changes {
		require.Equal(t, lock.Added, c.Action, "%s", c)
	}
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	extra, ok := l.Image("kfdev.internal/extra")
	require.True(t, ok)
	require.Equal(t, "registry.example/extra:v1", extra.StandsFor)
	require.Equal(t, []lock.Reference{{Component: "extra", Object: "Deployment extra/extra", Path: "spec.template.spec.containers[0].image", How: "image"}}, extra.References)
	require.Equal(t, "kfdev.internal/pause:1", l.Node.Holds[0].Name)
	require.Contains(t, l.Digests(), l.Node.Holds[0].Digest)

	b.archive.move("2") // what is locked does not move with it
	for _, check := range []bool{true, false} {
		again, err := b.lock(t, LockOptions{Check: check})
		require.NoError(t, err)
		require.False(t, again.Written)
		require.False(t, again.First)
		require.Empty(t, again.Changes)
		require.Equal(t, first.Digest, again.Digest)
	}
}

func TestUpdateMovesOnlyWhatWasNamed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]string{
		"base":                      {"storage libc6": "2", "extra libc6": "2", "extra curl": "1"},
		"extra":                     {"storage libc6": "1", "extra libc6": "1", "extra curl": "2"},
		"registry.example/extra":    {"storage libc6": "1", "extra libc6": "1", "extra curl": "2"},
		"registry.example/extra:v1": {"storage libc6": "1", "extra libc6": "1", "extra curl": "2"},
		"kfdev.internal/extra":      {"storage libc6": "1", "extra libc6": "1", "extra curl": "2"},
		"storage":                   {"storage libc6": "1", "extra libc6": "1", "extra curl": "1"}, // nothing of Debian's is written there
		"node":                      {"storage libc6": "1", "extra libc6": "1", "extra curl": "1"},
		"":                          {"storage libc6": "2", "extra libc6": "2", "extra curl": "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bothComponents)
			_, err := b.lock(t, LockOptions{})
			require.NoError(t, err)
			b.archive.move("2")
			o := LockOptions{Update: []string{name}}
			if name == "" {
				o = LockOptions{UpdateAll: true}
			}
			got, err := b.lock(t, o)
			require.NoError(t, err)
			require.Equal(t, want, b.versions(t))
			require.Equal(t, slices.Contains([]string{"storage", "node"}, name), len(got.Changes) == 0)
			after, err := b.lock(t, LockOptions{Check: true})
			require.NoError(t, err)
			require.Equal(t, got.Digest, after.Digest)
		})
	}
}

func TestANameThatNothingHasIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = b.lock(t, LockOptions{Update: []string{"extra", "storrage"}})
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, "storrage")
	require.Equal(t, []string{"did you mean storage?"}, fault.Hint(err))
}

func TestCheckSaysInWhatTheLockWouldChangeAndWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{Check: true})
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.NoFileExists(t, filepath.Join(b.dir, lock.FileName))
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	before, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
	require.NoError(t, err)
	made := b.archive.made

	b.recipes["extra/recipe.yaml"] = file(strings.ReplaceAll(string(b.recipes["extra/recipe.yaml"].Data), "[curl]", "[curl, jq]"))
	b.catalog["storage/all.yaml"] = file(deployment("storage", "registry.example/storage:v1") + "  minReadySeconds: 2\n")
	got, err := b.lock(t, LockOptions{Check: true})
	require.Equal(t, fault.Drift, fault.KindOf(err))
	var told []string
	for _, c := range got.Changes {
		told = append(told, string(c.Action)+" "+c.Subject+" "+c.Fact)
	}
	require.Contains(t, told, "added recipe extra layer 01: deb jq")
	require.Contains(t, told, "changed recipe extra digest")
	require.Contains(t, told, "changed component storage source")
	require.NotContains(t, told, "changed component extra source")
	require.Equal(t, made, b.archive.made, "nothing is built")
	after, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// A catalog may move to another published tag, or have the node hold an image
// under another name, while what is built stays the same.
func TestCheckTellsWhatMovesBesideTheDigests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(b *bench)
		told   string
	}{
		"a published tag": {func(b *bench) {
			for _, file := range []string{"extra/component.yaml", "extra/all.yaml"} {
				b.catalog[file].Data = []byte(strings.ReplaceAll(string(b.catalog[file].Data), "extra:v1", "extra:v2"))
			}
		}, "image kfdev.internal/extra stands for"},
		"the name of a held image": {func(b *bench) {
			b.recipes["node/recipe.yaml"].Data = []byte(strings.ReplaceAll(string(b.recipes["node/recipe.yaml"].Data), "pause:1", "pause:2"))
		}, "node image kfdev.internal/node holds kfdev.internal/pause:2"},
		"what the node stands for": {func(b *bench) {
			b.recipes["node/recipe.yaml"].Data = append(b.recipes["node/recipe.yaml"].Data, "standsFor: registry.example/node:v1\n"...)
		}, "node image kfdev.internal/node stands for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bothComponents)
			_, err := b.lock(t, LockOptions{})
			require.NoError(t, err)
			tc.change(b)
			got, err := b.lock(t, LockOptions{Check: true})
			require.Equal(t, fault.Drift, fault.KindOf(err))
			require.Contains(t, facts(got), tc.told)
			written, err := b.lock(t, LockOptions{})
			require.NoError(t, err)
			require.Subset(t, facts(written), facts(got), "the lock then changes in what was told")
			_, err = b.lock(t, LockOptions{Check: true})
			require.NoError(t, err)
		})
	}
}

// facts are what a lock changes in.
func facts(r LockResult) []string {
	var all []string
	for _, c := range r.Changes {
		all = append(all, c.Subject+" "+c.Fact)
	}
	return all
}

func TestALockThatWasEditedByHandIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	path := filepath.Join(b.dir, lock.FileName)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(raw), "kubernetes: v1.36.1", "kubernetes: v1.36.0", 1)), 0o600))
	_, lockErr := b.lock(t, LockOptions{})
	_, upErr := b.engine(t).Up(t.Context(), UpOptions{Locked: true})
	_, alsoUpErr := b.up(t)
	_, statusErr := b.engine(t).Status(t.Context())
	for _, err := range []error{lockErr, upErr, alsoUpErr, statusErr} {
		require.Equal(t, fault.Drift, fault.KindOf(err))
		require.ErrorContains(t, err, "edited by hand")
	}
	require.Empty(t, b.written())
}

func TestTheOriginIsDecidedOnce(t *testing.T) {
	t.Parallel()
	auto := strings.Replace(bothComponents, "origin: source", "origin: auto", 1)
	b := newBench(t, auto)
	got, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, images.FromSource, got.Origin)
	require.Contains(t, got.Why, "not every registry answered")
	require.Equal(t, 1, b.remote.asks)

	b.remote.err = nil
	b.publishAll(t)
	for range 2 {
		got, err = b.lock(t, LockOptions{})
		require.NoError(t, err)
		require.Equal(t, images.FromSource, got.Origin)
		require.Empty(t, got.Changes)
	}
	_, err = b.up(t)
	require.NoError(t, err)
	require.Equal(t, 1, b.remote.asks, "it is not even asked")

	got, err = b.lock(t, LockOptions{UpdateAll: true})
	require.NoError(t, err)
	require.Equal(t, images.FromRegistry, got.Origin)
	require.Equal(t, "every registry answered", got.Why)
	b.remote.err = errBroken // an outage turns nothing back
	got, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, images.FromRegistry, got.Origin)
	require.Empty(t, got.Changes)
}

// publishAll has a registry with every image of the stack, and the node's.
func (b *bench) publishAll(t *testing.T) {
	t.Helper()
	b.remote.publish(t, "registry.example/storage", "v1", 1)
	b.remote.publish(t, "registry.example/extra", "v1", 2)
	b.remote.publishNode(t)
}

func TestAnImageWithoutARecipeNamesEveryPlace(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	for _, name := range []string{"storage", "extra"} {
		b.catalog[name+"/all.yaml"] = file(deployment(name, "registry.example/other:v2"))
	}
	_, err := b.lock(t, LockOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "registry.example/other:v2 has no recipe")
	require.ErrorContains(t, err, "at Deployment storage/storage spec.template.spec.containers")
	require.ErrorContains(t, err, "at Deployment extra/extra spec.template.spec.containers")
	require.Contains(t, strings.Join(fault.Hint(err), " "), "origin: registry")
}

func TestAPlatformThatCannotBeBuiltFailsByName(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents+"platforms: [linux/amd64, linux/arm64]\n")
	_, err := b.lock(t, LockOptions{})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	for _, name := range []string{"storage", "extra"} {
		require.ErrorContains(t, err, "registry.example/"+name+":v1 has no child for linux/arm64")
	}
	require.Zero(t, b.archive.made)
	require.NoFileExists(t, filepath.Join(b.dir, lock.FileName))
}

func TestAnotherPlatformIsResolvedAnew(t *testing.T) {
	t.Parallel()
	registry := strings.Replace(bothComponents, "origin: source", "origin: registry", 1)
	b := newBench(t, registry+"platforms: [linux/amd64]\n")
	b.remote.err = nil
	b.publishAll(t)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	before, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	b.remote.publish(t, "registry.example/extra", "v1", 9)
	again, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	require.False(t, again.Written, "what is locked stays")

	b.project(t, registry+"platforms: [linux/arm64]\n")
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	after, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	for i, image := range after.Images {
		require.Equal(t, "linux/arm64", image.Platforms[0].Platform)
		require.Equal(t, image.StandsFor == "registry.example/extra:v1", image.Digest != before.Images[i].Digest)
	}
}
