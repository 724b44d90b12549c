package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
)

// inPieces is a target that sends the fixture's layer (1 MiB) in pieces.
func inPieces(t *testing.T, p *proxy) *registry.Target {
	t.Helper()
	cfg := config(t)
	cfg.Chunk = 100_000
	var clock tick
	cfg.Retry = cfg.Retry.WithSleep(clock.sleep)
	return registry.NewTarget(cfg, registry.MirrorLayout(p.addr))
}

func TestALargeBlobGoesInPieces(t *testing.T) {
	t.Parallel()
	for name, peer := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, peer(t))
			f := origintest.NewFixture(t, "registry.example/team/app")
			_, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: inPieces(t, p)}).Copy(t.Context(), f.Index)
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(p.requests("PATCH ")), 11)
			back := origintest.NewMemory()
			_, err = (&images.Copier{From: registry.NewOrigin(config(t)), To: back}).Copy(t.Context(), images.Ref{Repository: p.addr + "/team/app", Digest: f.Index.Digest})
			require.NoError(t, err)
		})
	}
}

func TestWrongContentInPiecesIsNotKept(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	f := origintest.NewFixture(t, "registry.example/team/app")
	whole := f.Blobs[f.Layer.Digest]
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for what, content := range map[string][]byte{"flipped": flipped, "short": whole[:500_000], "long": append(bytes.Clone(whole), 'x')} {
		err := inPieces(t, p).PutBlob(t.Context(), f.Repository, f.Layer, bytes.NewReader(content))
		require.ErrorIs(t, err, images.ErrContent, what)
		has, err := inPieces(t, p).Has(t.Context(), f.Repository, f.Layer)
		require.NoError(t, err)
		require.False(t, has, what)
	}
	require.NotEmpty(t, p.requests("DELETE "), "uploads are taken back")
}

// A line that breaks in the middle of a piece costs no more than that piece, and
// nothing of the blob is read twice.
func TestAPieceThatBreaksGoesOn(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	f := origintest.NewFixture(t, "registry.example/team/app")
	patches, broken := 0, 0
	p.meddleWith(func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method != http.MethodPatch || r.ContentLength < 50_000 {
			return false
		}
		patches++
		if patches%3 != 0 || broken == 3 {
			return false
		}
		broken++
		var from, to int64
		_, err := fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &from, &to)
		require.NoError(t, err)
		part := r.Clone(r.Context())
		part.ContentLength = r.ContentLength / 2
		part.Body = io.NopCloser(io.LimitReader(r.Body, part.ContentLength))
		part.Header.Set("Content-Range", fmt.Sprintf("%d-%d", from, from+part.ContentLength-1))
		p.inner.ServeHTTP(&lost{header: http.Header{}}, part)
		panic(http.ErrAbortHandler)
	})
	from := origintest.NewMemory().Fill(f)
	_, err := (&images.Copier{From: from, To: inPieces(t, p), Parallel: 1}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, 3, broken)
	require.Len(t, from.Opened(), len(f.Blobs), "each is read once")
	require.NotEmpty(t, p.requests("GET /v2/team/app/blobs/uploads/"), "the registry was asked how far it got")
}
