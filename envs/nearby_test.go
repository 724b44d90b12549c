package envs

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
)

// What is nowhere is built, all of it at once, and nothing more.
func TestOnlyWhatIsNowhereIsBuilt(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	l, _, err := lock.Load(b.dir)
	require.NoError(t, err)
	extra, _ := l.Image("kfdev.internal/extra")
	storage, _ := l.Image("kfdev.internal/storage")
	whole := store.NewOrigin(b.engine(t).store, images.FromSource)

	fresh := func() (*Engine, *builtOrigin, *origintest.Memory) {
		b.dirs.Cache = t.TempDir()
		e, away := b.engine(t), origintest.NewMemory()
		return e, &builtOrigin{
			Origin: store.NewOrigin(e.store, images.FromSource), engine: e, lock: l,
			elsewhere: []*place{{name: "the store", from: store.NewOrigin(e.store, images.FromSource)}, {name: "away", from: away}},
		}, away
	}
	lost := func(e *Engine) []string {
		names, err := e.lost(t.Context(), l.Images)
		require.NoError(t, err)
		return names
	}

	e, origin, away := fresh()
	_, err = (&images.Copier{From: whole, To: away}).Copy(t.Context(), storage.Ref())
	require.NoError(t, err)
	_, err = origin.Manifest(t.Context(), extra.Ref())
	require.NoError(t, err)
	require.Equal(t, []string{"storage"}, lost(e), "another place has it")
	about := images.Ref{Repository: storage.Repository, Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}}
	_, err = origin.Manifest(t.Context(), about)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "what is about an image can't be built")
	require.Equal(t, []string{"storage"}, lost(e))
	closure, err := images.Walk(t.Context(), whole, storage.Ref(), nil)
	require.NoError(t, err)
	content, err := origin.Blob(t.Context(), storage.Repository, closure.Blobs[1]) // the other place has lost that
	require.NoError(t, err)
	require.NoError(t, content.Close())
	require.Empty(t, lost(e))

	e, origin, _ = fresh()
	_, err = origin.Manifest(t.Context(), extra.Ref())
	require.NoError(t, err)
	require.Empty(t, lost(e), "both are built side by side")
	made := b.archive.made
	_, err = origin.Manifest(t.Context(), storage.Ref())
	require.NoError(t, err)
	require.Equal(t, made, b.archive.made)
}
