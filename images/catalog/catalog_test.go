package catalog_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/catalog"
	"github.com/kfdev/kfdev/images/recipe"
)

func TestEveryRecipeIsWhole(t *testing.T) {
	t.Parallel()
	names, err := recipe.List(catalog.Files())
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, err := recipe.Load(catalog.Files(), name)
			require.NoError(t, err)
			require.NotEmpty(t, image.Parts)
			for _, p := range image.Parts {
				if p.Layer.Preload == nil {
					continue
				}
				for _, inner := range p.Layer.Preload.Images {
					_, err := recipe.Load(catalog.Files(), inner.Recipe)
					require.NoError(t, err)
				}
			}
		})
	}
}

// Digests are resolved or built, never written by hand; and what an input is
// fetched from is the business of the user's own clients.
func TestNoRecipeHoldsADigestOrAnAddress(t *testing.T) {
	t.Parallel()
	digest := regexp.MustCompile(`sha256:|@sha256|\b[0-9a-f]{64}\b`)
	address := regexp.MustCompile(`https?://`)
	require.NoError(t, fs.WalkDir(catalog.Files(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, "/"+recipe.FileName) {
			return err
		}
		raw, err := fs.ReadFile(catalog.Files(), name)
		require.NoError(t, err)
		require.Empty(t, digest.FindAllString(string(raw), -1), name)
		require.Empty(t, address.FindAllString(string(raw), -1), name)
		return nil
	}))
}
