//go:build e2e

package localregistry_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
)

// TestDockerPullsByDigest has the machine's Docker pull an index, of which one
// platform was copied, by its digest.
func TestDockerPullsByDigest(t *testing.T) {
	from, ref := realImage(t)
	addr, _ := start(t, t.TempDir())
	_, err := (&images.Copier{From: from, To: target(t, addr), Platforms: []v1.Platform{{OS: "linux", Architecture: "amd64"}}}).Copy(t.Context(), ref)
	require.NoError(t, err)
	image := addr + "/team/app@" + ref.Digest.String()
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", image).Run() })
	out, err := exec.CommandContext(t.Context(), "docker", "pull", "--quiet", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), ref.Digest.String())
	out, err = exec.CommandContext(t.Context(), "docker", "inspect", "--format", "{{index .RepoDigests 0}}", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, image, strings.TrimSpace(string(out)))
}

// realImage is an index with an image for linux/amd64 that Docker can unpack,
// and one for linux/arm64 that the origin does not even have.
func realImage(t *testing.T) (*origintest.Memory, images.Ref) {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "kfdev", Mode: 0o644, Size: 5}))
	_, err := w.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	require.NoError(t, err)
	base, err := mutate.ConfigFile(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
		&v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	require.NoError(t, err)
	image, err := mutate.AppendLayers(base, layer)
	require.NoError(t, err)
	absent, err := mutate.ConfigFile(base, &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	require.NoError(t, err)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: absent, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})

	const repository = "registry.example/team/app"
	m := origintest.NewMemory()
	put := func(raw []byte, err error, digest v1.Hash, media types.MediaType) {
		require.NoError(t, err)
		require.NoError(t, m.PutManifest(t.Context(), images.Ref{Repository: repository, Digest: digest}, images.Manifest{MediaType: media, Raw: raw}))
	}
	raw, rawErr := image.RawManifest()
	digest, err := image.Digest()
	require.NoError(t, err)
	put(raw, rawErr, digest, types.OCIManifestSchema1)
	manifest, err := image.Manifest()
	require.NoError(t, err)
	config, err := image.RawConfigFile()
	require.NoError(t, err)
	require.NoError(t, m.PutBlob(t.Context(), repository, manifest.Config, bytes.NewReader(config)))
	compressed, err := layer.Compressed()
	require.NoError(t, err)
	require.NoError(t, m.PutBlob(t.Context(), repository, manifest.Layers[0], compressed))
	raw, rawErr = index.RawManifest()
	digest, err = index.Digest()
	require.NoError(t, err)
	put(raw, rawErr, digest, types.OCIImageIndex)
	return m, images.Ref{Repository: repository, Digest: digest}
}
