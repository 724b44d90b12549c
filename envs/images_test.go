package envs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/source"
)

func TestPruneKeepsTheRegistrysImageAsLongAsTheRegistryIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.up(t)
	require.NoError(t, err)
	_, err = b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	e := b.engine(t)
	own, err := e.builder.Pin(t.Context(), []string{registryRecipe}, source.Pinned{})
	require.NoError(t, err)
	built, err := e.builder.Built(t.Context(), own)
	require.NoError(t, err)
	require.Contains(t, built, registryRecipe)

	b.registry = endpoint{}
	dry, err := b.engine(t).PruneImages(t.Context(), true)
	require.NoError(t, err)
	pruned, err := b.engine(t).PruneImages(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, dry, pruned)
	require.Positive(t, pruned.Blobs)
	built, err = b.engine(t).builder.Built(t.Context(), own)
	require.NoError(t, err)
	require.NotContains(t, built, registryRecipe)
}
