package envs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/pod"
)

const withSync = bothComponents + "sync: [{name: nb, local: src, remote: /work/src, target: pod/extra-0}]\n"

// runs has a pod that runs an image by digest.
func runs(imageID string) finder {
	return func(_ context.Context, _ live, t pod.Target) (pod.Pod, error) {
		return pod.Pod{Namespace: "extra", Name: t.Name, Container: "main", Image: "extra", ImageID: imageID}, nil
	}
}

func (b *bench) source(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(b.dir, "src", filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
}

// baking is a project that is up, with a folder to be baked; extra is what its
// pod runs.
func baking(t *testing.T, text string) (b *bench, extra lock.Image) {
	t.Helper()
	b = newBench(t, text)
	b.source(t, map[string]string{"train.py": "print(1)", "pkg/a.py": "a", ".gitignore": "*.log\n", "noise.log": "x"})
	_, err := b.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	for _, i := range l.Images {
		if strings.HasSuffix(i.Repository, "/extra") {
			return b, i
		}
	}
	t.Fatal("the lock has no image of extra")
	return nil, lock.Image{}
}

func TestBakePutsTheFolderOnWhatThePodRuns(t *testing.T) {
	t.Parallel()
	b, extra := baking(t, withSync)
	before, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
	require.NoError(t, err)
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, runs("kfdev.internal/extra@"+extra.Digest.String()))
	require.NoError(t, err)
	require.Equal(t, extra.Ref().String(), got.Base)
	require.Equal(t, []string{"linux/amd64"}, got.Platforms)
	require.Equal(t, 3, got.Files, "what is ignored is not in it")
	require.False(t, got.Locked)
	after, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "the lock is changed on request alone")

	ref, err := images.ParseRef(got.Image)
	require.NoError(t, err)
	require.Equal(t, "kfdev.internal/baked/demo/nb", ref.Repository)
	base, err := images.Walk(t.Context(), b.content, extra.Ref(), nil)
	require.NoError(t, err)
	made, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	require.Len(t, made.Blobs, len(base.Blobs)+1)
	require.Equal(t, base.Blobs[1:], made.Blobs[1:len(base.Blobs)], "the layers below are the base's")
	for _, blob := range made.Blobs {
		content, err := b.content.Blob(t.Context(), ref.Repository, blob)
		require.NoError(t, err)
		require.NoError(t, content.Close())
	}

	again, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, runs(extra.Digest.String()))
	require.NoError(t, err)
	require.Equal(t, got, again, "the same tree is the same image")
	onItself, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(extra.Digest.String()))
	require.NoError(t, err)
	require.Equal(t, got.Image, onItself.Image)
	b.source(t, map[string]string{"train.py": "print(2)"})
	changed, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(ref.Digest.String()))
	require.NoError(t, err)
	require.NotEqual(t, got.Image, changed.Image)
	require.Equal(t, extra.Ref().String(), changed.Base, "what was baked is baked anew on its own base")
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	require.Len(t, bakedIn(l.Images), 1, "one of an entry is in the lock")
}

// What is baked into the lock stays there, is checked, allowed to run, kept
// from prunes, and brought into a registry that has lost it.
func TestABakedImageOfTheLockIsKept(t *testing.T) {
	t.Parallel()
	b, extra := baking(t, withSync)
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(extra.Digest.String()))
	require.NoError(t, err)
	require.True(t, got.Locked)
	ref, err := images.ParseRef(got.Image)
	require.NoError(t, err)

	for _, o := range []LockOptions{{Check: true}, {}, {UpdateAll: true}} {
		result, err := b.lock(t, o)
		require.NoError(t, err)
		require.Empty(t, result.Changes)
	}
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	locked, ok := l.Image(ref.Repository)
	require.True(t, ok)
	require.Equal(t, lock.Bake{Sync: "nb", Base: extra.Ref().String(), Folder: "/work/src", Layer: locked.Bake.Layer}, locked.Bake)
	require.Equal(t, got.Layer, locked.Bake.Layer.String())
	closure, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	var blobs int64
	for _, blob := range closure.Blobs {
		blobs += blob.Size
	}
	require.Equal(t, blobs, locked.Size)

	b.revive(0)
	_, err = b.up(t)
	require.NoError(t, err)
	require.Empty(t, b.written(), "nothing is left to be done")
	b.pods = []corev1.Pod{podOf("nb", "x", ref.Digest)}
	_, err = b.engine(t).Verify(t.Context(), nil)
	require.NoError(t, err, "it may run")
	listed, err := b.engine(t).ListImages(t.Context())
	require.NoError(t, err)
	require.True(t, stored(listed, got.Image))

	_, err = b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	b.content = origintest.NewMemory() // the registry's volume is gone
	_, err = b.up(t)
	require.NoError(t, err)
	again, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	require.Equal(t, closure, again)

	// Without an entry, it goes, and the lock says so before.
	b.project(t, bothComponents)
	result, err := b.lock(t, LockOptions{Check: true})
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.Contains(t, strings.Join(facts(result), "\n"), "image kfdev.internal/baked/demo/nb")
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	pruned, err := b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	require.Positive(t, pruned.Blobs)
	has, err := b.engine(t).store.Has(t.Context(), got.Layer)
	require.NoError(t, err)
	require.False(t, has)
}

func stored(all []ListedImage, image string) bool {
	for _, i := range all {
		if i.Image == image {
			return i.Stored
		}
	}
	return false
}

// On a colleague's machine the lock has what was baked, and nothing else does.
func TestUpLeavesOutWhatWasBakedElsewhere(t *testing.T) {
	t.Parallel()
	b, extra := baking(t, withSync)
	_, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(extra.Digest.String()))
	require.NoError(t, err)
	other := newBench(t, withSync)
	text, err := os.ReadFile(filepath.Join(b.dir, lock.FileName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(other.dir, lock.FileName), text, 0o600))
	_, err = other.up(t)
	require.NoError(t, err)
	status, err := other.engine(t).Status(t.Context())
	require.NoError(t, err)
	require.True(t, status.Ready())
	require.Contains(t, other.said(), "left out, as it was baked elsewhere and nothing of the stack runs it: nb")
	after, err := os.ReadFile(filepath.Join(other.dir, lock.FileName))
	require.NoError(t, err)
	require.Equal(t, string(text), string(after))
}

// The stack's image moves on: what was baked on the old one stays in the lock,
// and is copied as long as the old one's layers are here.
func TestABakedImageOutlivesItsBase(t *testing.T) {
	t.Parallel()
	b, extra := baking(t, withSync)
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(extra.Digest.String()))
	require.NoError(t, err)
	ref, err := images.ParseRef(got.Image)
	require.NoError(t, err)
	base, err := images.Walk(t.Context(), b.content, extra.Ref(), nil)
	require.NoError(t, err)
	b.archive.move("2")
	_, err = b.lock(t, LockOptions{UpdateAll: true})
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	moved, _ := l.Image(extra.Repository)
	require.NotEqual(t, extra.Digest, moved.Digest)
	_, ok := l.Image(ref.Repository)
	require.True(t, ok)

	_, err = b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	b.content = origintest.NewMemory()
	_, err = b.up(t)
	require.NoError(t, err)
	_, err = images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)

	require.NoError(t, b.engine(t).store.Discard(base.Blobs[1].Digest)) // a layer of the old base
	b.content = origintest.NewMemory()
	_, err = b.up(t)
	require.NoError(t, err, "nothing of the stack needs it")
	_, err = images.Walk(t.Context(), b.content, ref, nil)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Contains(t, b.said(), "left out")
}

func TestWhatIsNotBaked(t *testing.T) {
	t.Parallel()
	b := newBench(t, withSync)
	b.source(t, map[string]string{"a.py": "x"})
	bake := func(o BakeOptions, image string) error {
		_, err := b.engine(t).bake(t.Context(), o, runs(image))
		return err
	}
	err := bake(BakeOptions{Name: "mb"}, "")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, []string{"kfdev.yaml has the entries [nb]"}, fault.Hint(err))
	err = bake(BakeOptions{Name: "nb"}, "")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "there is no lock yet")
	_, err = b.up(t)
	require.NoError(t, err)
	for _, image := range []string{"", "sha256:" + strings.Repeat("a", 64), "docker.io/evil/miner:latest"} {
		err = bake(BakeOptions{Name: "nb", Lock: true}, image)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.ErrorContains(t, err, "is not an image of kfdev.lock")
	}
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	good := l.Images[0].Digest.String()

	b.source(t, map[string]string{".env": "A=b"})
	b.revive(0)
	err = bake(BakeOptions{Name: "nb", Lock: true}, good)
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, ".env: a file of environment variables")
	require.Empty(t, b.written(), "nothing was pushed")
	require.NoError(t, bake(BakeOptions{Name: "nb", AllowSecrets: []string{".env"}}, good))

	b.content = origintest.NewMemory()
	err = bake(BakeOptions{Name: "nb", AllowSecrets: []string{".env"}}, good)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "the registry has no base")
	b.registry.Running = false
	err = bake(BakeOptions{Name: "nb"}, good)
	require.ErrorContains(t, err, "it does not run")
	require.Contains(t, fault.Hint(err), "run `kfdev up`")
}

// publishWhole puts an index of two platforms behind a tag, with configurations
// that name its layers, as real ones do, and some files in it.
func (b *bench) publishWhole(t *testing.T, repository, tag string, files ...string) images.Ref {
	t.Helper()
	f := origintest.Fixture{Repository: repository, Blobs: map[v1.Hash][]byte{}, Manifests: map[v1.Hash]images.Manifest{}}
	put := func(media types.MediaType, content []byte) v1.Descriptor {
		digest, size, err := v1.SHA256(bytes.NewReader(content))
		require.NoError(t, err)
		if media.IsImage() || media.IsIndex() {
			f.Manifests[digest] = images.Manifest{MediaType: media, Raw: content}
		} else {
			f.Blobs[digest] = content
		}
		return v1.Descriptor{MediaType: media, Size: size, Digest: digest}
	}
	marshal := func(v any) []byte {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return raw
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, arch := range []string{"amd64", "arm64"} {
		packed, diffID := packedLayer(t, append(files, "etc/"+repository+arch)...)
		layer := put(types.OCILayer, packed)
		config := put(types.OCIConfigJSON, fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{"User":"1000"},"rootfs":{"type":"layers","diff_ids":[%q]}}`, arch, diffID))
		child := put(types.OCIManifestSchema1, marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}}))
		child.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, child)
	}
	top := images.Ref{Repository: repository, Digest: put(types.OCIImageIndex, marshal(index)).Digest}
	b.remote.Fill(f)
	child := index.Manifests[0]
	b.remote.tag(repository+":"+tag, top, types.OCIImageIndex, images.Ref{Repository: repository, Digest: child.Digest}, child.Digest)
	return top
}

// With published images, the base's layers are not in the store: they come from
// the registry again where they are needed.
func TestABakedImageOnAPublishedIndex(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(withSync, "origin: source", "origin: registry\nplatforms: [linux/amd64, linux/arm64]", 1))
	b.remote.err = nil
	b.publishWhole(t, "registry.example/storage", "v1")
	extra := b.publishWhole(t, "registry.example/extra", "v1")
	b.remote.publishNode(t)
	b.source(t, map[string]string{"train.py": "print(1)"})
	_, err := b.up(t)
	require.NoError(t, err)
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(extra.String()))
	require.NoError(t, err)
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, got.Platforms, "every child of the index")
	require.Equal(t, []int{1000, 0}, []int{got.UID, got.GID})
	ref, err := images.ParseRef(got.Image)
	require.NoError(t, err)
	closure, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	require.True(t, closure.Nodes[2].Manifest.MediaType.IsIndex())
	require.Len(t, closure.Blobs, 2*2+1, "one layer for both")

	_, err = b.lock(t, LockOptions{Check: true})
	require.NoError(t, err)
	_, err = b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	b.content = origintest.NewMemory()
	_, err = b.up(t)
	require.NoError(t, err)
	again, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	require.Equal(t, closure, again)
}
