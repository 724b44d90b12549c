package preload

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/origintest"
)

// two images that share a layer.
func fixture(t *testing.T) (*origintest.Memory, []Image) {
	t.Helper()
	f := origintest.NewFixture(t, "kfdev.internal/shared")
	return origintest.NewMemory().Fill(f), []Image{
		{Name: "kfdev.internal/one:v1", Ref: f.Children["linux/amd64"]},
		{Name: "kfdev.internal/two:v1.2.3-0", Ref: f.Children["linux/arm64"]},
	}
}

func content0(t *testing.T, e layer.Entry) []byte {
	t.Helper()
	r, err := e.Open()
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return raw
}

func TestTheSameImagesGiveTheSameLayer(t *testing.T) {
	t.Parallel()
	origin, list := fixture(t)
	first, err := Tree(t.Context(), origin, list)
	require.NoError(t, err)
	slices.Reverse(list)
	second, err := Tree(t.Context(), origin, list)
	require.NoError(t, err)
	a, b := first.Entries(), second.Entries()
	require.Len(t, b, len(a))
	for i := range a {
		require.Equal(t, a[i].Path, b[i].Path)
		require.Equal(t, a[i].Mode, b[i].Mode)
		if a[i].Type == layer.File {
			raw := content0(t, a[i])
			require.Equal(t, a[i].Size, int64(len(raw)), a[i].Path)
			require.True(t, bytes.Equal(raw, content0(t, b[i])), a[i].Path)
		}
	}
}

func TestContainerdFindsTheImagesComplete(t *testing.T) {
	t.Parallel()
	origin, list := fixture(t)
	tree, err := Tree(t.Context(), origin, list)
	require.NoError(t, err)
	root := t.TempDir()
	for _, e := range tree.Entries() {
		path := filepath.Join(root, e.Path)
		if e.Type == layer.Dir {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content0(t, e), 0o644))
	}

	// What follows is what containerd does when it starts.
	blobs, err := local.NewStore(filepath.Join(root, contentDir))
	require.NoError(t, err)
	db, err := bolt.Open(filepath.Join(root, metaFile), 0o644, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	meta := metadata.NewDB(db, blobs, nil)
	ctx := namespaces.WithNamespace(context.Background(), "k8s.io")
	require.NoError(t, meta.Init(ctx))

	check := func() {
		found, err := metadata.NewImageStore(meta).List(ctx)
		require.NoError(t, err)
		require.Len(t, found, 6, "each by name, by digest and by ID")
		for _, image := range found {
			require.Equal(t, "pinned", image.Labels["io.cri-containerd.pinned"])
			require.True(t, image.CreatedAt.Equal(time.Unix(0, 0)))
			_, _, present, missing, err := containerd.Check(ctx, meta.ContentStore(), image.Target, platforms.All)
			require.NoError(t, err)
			require.Empty(t, missing)
			require.Len(t, present, 3)
		}
	}
	check()
	_, err = meta.GarbageCollect(ctx)
	require.NoError(t, err)
	check()
	one, err := metadata.NewImageStore(meta).Get(ctx, "kfdev.internal/one:v1")
	require.NoError(t, err)
	require.Equal(t, digest.Digest(list[0].Ref.Digest.String()), one.Target.Digest)
	_, err = metadata.NewImageStore(meta).Get(ctx, "kfdev.internal/one@"+list[0].Ref.Digest.String())
	require.NoError(t, err)

	// Once an image's names are gone, so is what it alone holds.
	for _, image := range []string{"kfdev.internal/two:v1.2.3-0", "kfdev.internal/two@" + list[1].Ref.Digest.String()} {
		require.NoError(t, metadata.NewImageStore(meta).Delete(ctx, image))
	}
	_, err = meta.GarbageCollect(ctx)
	require.NoError(t, err)
	_, err = meta.ContentStore().Info(ctx, one.Target.Digest)
	require.NoError(t, err)
}

func TestAnIndexIsRefused(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, "kfdev.internal/x")
	_, err := Tree(t.Context(), origintest.NewMemory().Fill(f), []Image{{Name: "kfdev.internal/x:1", Ref: f.Index}})
	require.ErrorContains(t, err, "not a single image")
	_, err = Tree(t.Context(), origintest.NewMemory(), []Image{{Name: "kfdev.internal/x:1", Ref: images.Ref{Repository: "kfdev.internal/x", Digest: f.Index.Digest}}})
	require.Error(t, err)
}
