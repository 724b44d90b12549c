package archive

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/progress"
)

// put copies an image into memory and names it.
func put(t *testing.T, img v1.Image) (*origintest.Memory, images.Ref) {
	t.Helper()
	memory := origintest.NewMemory()
	digest, err := img.Digest()
	require.NoError(t, err)
	ref := images.Ref{Repository: "kfdev.internal/thing", Digest: digest}
	manifest, err := img.Manifest()
	require.NoError(t, err)
	config, err := img.RawConfigFile()
	require.NoError(t, err)
	require.NoError(t, memory.PutBlob(t.Context(), ref.Repository, manifest.Config, bytes.NewReader(config)))
	layers, err := img.Layers()
	require.NoError(t, err)
	for i, l := range layers {
		r, err := l.Compressed()
		require.NoError(t, err)
		require.NoError(t, memory.PutBlob(t.Context(), ref.Repository, manifest.Layers[i], r))
		require.NoError(t, r.Close())
	}
	raw, err := img.RawManifest()
	require.NoError(t, err)
	require.NoError(t, memory.PutManifest(t.Context(), ref, images.Manifest{MediaType: manifest.MediaType, Raw: raw}))
	return memory, ref
}

func TestTheArchiveHoldsTheImage(t *testing.T) {
	t.Parallel()
	img, err := random.Image(5000, 3)
	require.NoError(t, err)
	memory, ref := put(t, img)
	recorder := &progress.Recorder{}
	archive, err := Of(t.Context(), memory, ref, recorder)
	require.NoError(t, err)
	config, err := img.ConfigName()
	require.NoError(t, err)
	require.Equal(t, config.String(), archive.Config)
	require.Len(t, archive.DiffIDs, 3)

	var out bytes.Buffer
	require.NoError(t, archive.Write(t.Context(), &out))
	tag, err := name.NewTag(archive.Name)
	require.NoError(t, err)
	got, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }, &tag)
	require.NoError(t, err)
	gotConfig, err := got.ConfigName()
	require.NoError(t, err)
	require.Equal(t, config, gotConfig)
	events := recorder.Events()
	require.Equal(t, progress.Done, events[len(events)-1].State)
	require.Equal(t, int64(out.Len()), events[0].Total, "the size is told beforehand, to the byte")
	require.Equal(t, int64(out.Len()), events[len(events)-1].Done)
}

// broken fails after some bytes, as a disk does.
type broken struct{ left int }

var errFull = errors.New("no space left on device")

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestFailuresAreToldAndNotHidden(t *testing.T) {
	t.Parallel()
	img, err := random.Image(5000, 2)
	require.NoError(t, err)
	memory, ref := put(t, img)
	archive, err := Of(t.Context(), memory, ref, progress.Discard)
	require.NoError(t, err)
	require.ErrorIs(t, archive.Write(t.Context(), &broken{left: 6000}), errFull)

	layers, err := img.Layers()
	require.NoError(t, err)
	digest, err := layers[1].Digest()
	require.NoError(t, err)
	memory.Damage(ref.Repository, digest, func(b []byte) []byte { b[7] ^= 1; return b })
	require.Error(t, archive.Write(t.Context(), io.Discard), "a layer that is not what its digest says")

	_, err = Of(t.Context(), memory, images.Ref{Repository: "kfdev.internal/other", Digest: ref.Digest}, progress.Discard)
	require.Error(t, err)
	f := origintest.NewFixture(t, "kfdev.internal/index")
	_, err = Of(t.Context(), origintest.NewMemory().Fill(f), f.Index, progress.Discard)
	require.ErrorContains(t, err, string(types.OCIImageIndex))
}
