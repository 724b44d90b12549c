package preload

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
)

func TestTheMakersInputsAreBuiltImages(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, images.SourceHost+"/etcd")
	m := New(origintest.NewMemory().Fill(f))
	input := recipe.Input{Kind: "image", Name: "etcd", Version: "kfdev.internal/etcd:3.6.8-0", Hash: f.Children["linux/amd64"].Digest.String()}
	inputs, err := m.Pin(t.Context(), source.LayerSpec{}, []recipe.Input{input})
	require.NoError(t, err)
	require.NoError(t, m.Fetch(t.Context(), source.LayerSpec{}, inputs))
	tree, err := m.Tree(t.Context(), source.LayerSpec{Recipe: "node"}, inputs)
	require.NoError(t, err)
	_, there := tree.Get(contentDir + "/blobs/sha256/" + f.Children["linux/amd64"].Digest.Hex)
	require.True(t, there)

	for _, wrong := range []recipe.Input{{Kind: "image", Name: "etcd"}, {Kind: "deb", Name: "etcd", Hash: input.Hash}} {
		_, err := m.Tree(t.Context(), source.LayerSpec{Recipe: "node"}, []recipe.Input{wrong})
		require.ErrorContains(t, err, "node: input etcd")
	}
}
