package store_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/store"
)

const repository = "kfdev.internal/app"

func TestOrigin(t *testing.T) {
	t.Parallel()
	origintest.Run(t, repository, func(t *testing.T, f origintest.Fixture) origintest.Subject {
		t.Helper()
		s := filled(t, f)
		return origintest.Subject{
			Origin: store.NewOrigin(s, images.FromSource), Kind: images.FromSource, AnyRepository: true,
			Damage: func(digest v1.Hash, change func([]byte) []byte) {
				path := filepath.Join(s.Dir(), "blobs", "sha256", digest.Hex)
				raw, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.Remove(path))
				if raw = change(raw); raw != nil {
					require.NoError(t, os.WriteFile(path, raw, 0o644))
				}
			},
		}
	})
}

// filled copies the fixture into a new store, and so tries it as a target.
func filled(t *testing.T, f origintest.Fixture) *store.Store {
	t.Helper()
	s := open(t)
	c := images.Copier{From: origintest.NewMemory().Fill(f), To: store.NewOrigin(s, images.FromRegistry)}
	done, err := c.Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, len(f.Blobs), done.Blobs)
	require.Equal(t, len(f.Manifests), done.Manifests)
	again, err := c.Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Zero(t, again.Blobs+again.Manifests)
	return s
}

func TestAManifestWithoutItsBlobsIsRefused(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	target := store.NewOrigin(open(t), images.FromSource)
	child := f.Children["linux/amd64"]
	err := target.PutManifest(t.Context(), child, f.Manifests[child.Digest])
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, target.PutManifest(t.Context(), f.Index, f.Manifests[f.Index.Digest]))
	wrong := f.Manifests[child.Digest]
	require.ErrorIs(t, target.PutManifest(t.Context(), f.Index, wrong), images.ErrContent)
	for _, desc := range []v1.Descriptor{{Digest: f.Config.Digest, Size: f.Config.Size + 1}, {Digest: f.Config.Digest, Size: f.Config.Size - 1}} {
		err := target.PutBlob(t.Context(), repository, desc, bytes.NewReader(f.Blobs[f.Config.Digest]))
		require.ErrorIs(t, err, images.ErrContent)
	}
}
