package derive_test

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	peer "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/derive"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/progress"
)

// Another implementation makes the base, and judges what was derived: every
// digest, size and diff ID, by reading all of it from a registry.
func TestAnotherImplementationTakesWhatWasDerived(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(peer.New(peer.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(2000, 3)
		require.NoError(t, err)
		config, err := img.ConfigFile()
		require.NoError(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Config.User = "linux", arch, "1000:100"
		img, err = mutate.ConfigFile(img, config)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	tag, err := name.NewTag(host + "/base:v1")
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(tag, index))
	digest, err := index.Digest()
	require.NoError(t, err)

	target := registry.NewTarget(registry.Config{PlainHTTP: []string{host}, Sink: progress.Discard}, registry.MirrorLayout(host))
	base, err := derive.Read(t.Context(), target, images.Ref{Repository: "x/base", Digest: digest}, []v1.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "amd64"}})
	require.NoError(t, err)
	for _, blob := range base.Blobs() {
		has, err := target.Has(t.Context(), "x/base", blob)
		require.NoError(t, err)
		require.True(t, has)
	}
	var tree layer.Tree
	require.NoError(t, tree.AddBytes("work/a.py", 0o644, []byte("print(1)")))
	var packed bytes.Buffer
	p, err := tree.Pack(t.Context(), &packed, nil)
	require.NoError(t, err)
	sum, size, err := v1.SHA256(bytes.NewReader(packed.Bytes()))
	require.NoError(t, err)
	made, err := base.With(derive.Layer{Digest: sum, DiffID: p.DiffID, Size: size}, "x/baked")
	require.NoError(t, err)

	put := func(desc v1.Descriptor, content []byte) {
		require.NoError(t, target.PutBlob(t.Context(), "x/baked", desc, bytes.NewReader(content)))
	}
	for _, blob := range base.Blobs() {
		content, err := target.Blob(t.Context(), "x/base", blob)
		require.NoError(t, err)
		raw, err := io.ReadAll(content)
		require.NoError(t, err)
		require.NoError(t, content.Close())
		put(blob, raw)
	}
	put(v1.Descriptor{Digest: sum, Size: size}, packed.Bytes())
	for digest, config := range made.Configs {
		put(v1.Descriptor{Digest: digest, Size: int64(len(config))}, config)
	}
	for _, m := range made.Manifests {
		require.NoError(t, target.PutManifest(t.Context(), m.Ref, m.Manifest))
	}
	pulled, err := name.NewDigest(host + "/baked@" + made.Ref.Digest.String())
	require.NoError(t, err)
	got, err := remote.Index(pulled)
	require.NoError(t, err)
	for _, c := range made.Children {
		img, err := got.Image(c.Digest)
		require.NoError(t, err)
		layers, err := img.Layers()
		require.NoError(t, err)
		require.Len(t, layers, 4)
		config, err := img.ConfigFile()
		require.NoError(t, err)
		require.Len(t, config.History, 4)
		for i, l := range layers {
			content, err := l.Uncompressed() // what is read is checked against its digest
			require.NoError(t, err)
			id, _, err := v1.SHA256(content)
			require.NoError(t, err)
			require.NoError(t, content.Close())
			require.Equal(t, config.RootFS.DiffIDs[i], id)
		}
	}
}
