//go:build online

package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/catalog"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian"
	"github.com/kfdev/kfdev/images/source/files"
	"github.com/kfdev/kfdev/images/source/gomod"
	"github.com/kfdev/kfdev/images/source/npm"
	"github.com/kfdev/kfdev/images/source/preload"
	"github.com/kfdev/kfdev/images/source/wheels"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/progress"
)

// TestTheCatalogIsReproducible builds every recipe of the catalog (or those
// that KFDEV_RECIPES names, with commas between) twice: into the user's store,
// where what is there is taken as it is, and afresh in another folder, with
// another store and another cache of compiled packages, under another time zone.
// It takes hours of processor time for the whole catalog.
func TestTheCatalogIsReproducible(t *testing.T) {
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	cache = filepath.Join(cache, "kfdev")
	s, err := store.Open(filepath.Join(cache, "store"))
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	scratch := t.TempDir()
	sink := sinkFunc(func(e progress.Event) {
		if e.State == progress.Done || e.State == progress.Failed {
			t.Logf("%s %s %s %s", e.State, e.Task, e.Took, e.Error)
		}
	})
	b := source.New(source.Config{
		Store: s, Catalog: catalog.Files(), Sink: sink, Scratch: scratch, Host: source.ReadHost(),
		Makers: map[recipe.LayerKind]source.Maker{
			recipe.KindGo:      gomod.New(gomod.Options{Scratch: scratch, Sink: sink}),
			recipe.KindDebian:  debian.New(debian.Options{Store: s, Dir: filepath.Join(cache, "debian"), Sink: sink}),
			recipe.KindWheels:  wheels.New(s, wheels.DefaultClient(), scratch, sink),
			recipe.KindNPM:     npm.New(s, npm.DefaultClient(), scratch, sink),
			recipe.KindFiles:   files.New(self),
			recipe.KindPreload: preload.New(store.NewOrigin(s, images.FromSource)),
		},
	})
	names, err := recipe.List(b.Catalog)
	require.NoError(t, err)
	if list := os.Getenv("KFDEV_RECIPES"); list != "" {
		names = strings.Split(list, ",")
	}
	pinned, err := b.Pin(t.Context(), names, source.Pinned{})
	require.NoError(t, err)
	_, err = b.Build(t.Context(), pinned)
	require.NoError(t, err)
	t.Setenv("TZ", "Pacific/Kiritimati")
	t.Setenv("LANG", "tr_TR.UTF-8")
	verified, err := b.Verify(t.Context(), pinned)
	require.NoError(t, err)
	for _, v := range verified {
		require.Equal(t, v.Want, v.Got, v.Name)
		t.Logf("%s %s", v.Got, v.Name)
	}
}
