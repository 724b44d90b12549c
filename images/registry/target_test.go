package registry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
)

func TestCopyIntoARegistry(t *testing.T) {
	t.Parallel()
	for name, peer := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, peer(t))
			f := origintest.NewFixture(t, "registry.example/team/app")
			from := origintest.NewMemory().Fill(f)
			target := func() *registry.Target { return registry.NewTarget(config(t), registry.MirrorLayout(p.addr)) }
			done, err := (&images.Copier{From: from, To: target()}).Copy(t.Context(), f.Index)
			require.NoError(t, err)
			require.Equal(t, len(f.Blobs), done.Blobs)

			p.forget()
			done, err = (&images.Copier{From: origintest.NewMemory(), To: target()}).Copy(t.Context(), f.Index)
			require.NoError(t, err, "what is there needs no origin")
			require.Equal(t, images.Copied{Present: len(f.Blobs)}, done)
			for _, method := range []string{"POST", "PUT", "PATCH"} {
				require.Empty(t, p.requests(method+" "), "nothing is written again")
			}
			content, err := target().Blob(t.Context(), f.Repository, f.Layer)
			require.NoError(t, err)
			got, err := io.ReadAll(content)
			require.NoError(t, err)
			require.NoError(t, content.Close())
			require.Equal(t, f.Blobs[f.Layer.Digest], got, "blobs are read back, too")
			back := origintest.NewMemory()
			_, err = (&images.Copier{From: registry.NewOrigin(config(t)), To: back}).Copy(t.Context(), images.Ref{Repository: p.addr + "/team/app", Digest: f.Index.Digest})
			require.NoError(t, err)
		})
	}
}

func TestOnePlatformIsCopiedUnderItsIndex(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	f := origintest.NewFixture(t, "registry.example/team/app")
	target := registry.NewTarget(config(t), registry.MirrorLayout(p.addr))
	done, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: target, Platforms: platforms(t, "linux/amd64")}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, 3, done.Blobs)
	m, err := target.Manifest(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, f.Manifests[f.Index.Digest], m)
}

func TestABlobIsLinkedFromAnotherRepository(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	a := origintest.NewFixture(t, "registry.example/team/a")
	b := origintest.NewFixture(t, "registry.example/team/b")
	from := origintest.NewMemory().Fill(a).Fill(b)
	c := images.Copier{From: from, To: registry.NewTarget(config(t), registry.MirrorLayout(p.addr))}
	done, err := c.Copy(t.Context(), a.Index, b.Index)
	require.NoError(t, err)
	require.Equal(t, len(a.Blobs), done.Blobs)
	require.Len(t, p.requests("PATCH "), len(a.Blobs), "each blob is sent once")
	require.Len(t, p.requests("mount="), len(a.Blobs))
	require.Len(t, from.Opened(), len(a.Blobs), "and read once")
	for _, repo := range []string{"team/a", "team/b"} {
		back := origintest.NewMemory()
		_, err = (&images.Copier{From: registry.NewOrigin(config(t)), To: back}).Copy(t.Context(), images.Ref{Repository: p.addr + "/" + repo, Digest: a.Index.Digest})
		require.NoError(t, err)
	}
}

func TestWrongContentIsNotKept(t *testing.T) {
	t.Parallel()
	for name, peer := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, peer(t))
			f := origintest.NewFixture(t, "registry.example/team/app")
			target := registry.NewTarget(config(t), registry.MirrorLayout(p.addr))
			whole := f.Blobs[f.Layer.Digest]
			flipped := bytes.Clone(whole)
			flipped[len(flipped)-1] ^= 1
			for what, content := range map[string][]byte{
				"flipped": flipped, "short": whole[:1000], "empty": {}, "long": append(bytes.Clone(whole), 'x'),
			} {
				err := target.PutBlob(t.Context(), f.Repository, f.Layer, bytes.NewReader(content))
				require.ErrorIs(t, err, images.ErrContent, what)
				has, err := target.Has(t.Context(), f.Repository, f.Layer)
				require.NoError(t, err)
				require.False(t, has, what)
			}
			require.NotEmpty(t, p.requests("DELETE "), "uploads are taken back")
			require.Error(t, target.PutManifest(t.Context(), f.Index, images.Manifest{Raw: []byte("{}")}))
		})
	}
}

// once breaks the first PATCH and the first commit of every server.
func TestUploadsThatBreakAreTriedAgain(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	f := origintest.NewFixture(t, "registry.example/team/app")
	broken := map[string]bool{}
	p.meddleWith(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		switch {
		case r.Method == http.MethodPatch && !broken["patch"]:
			broken["patch"] = true
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/") && !broken["put"]:
			broken["put"] = true // it is committed, but the answer is lost
			p.inner.ServeHTTP(&lost{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	var clock tick
	cfg := config(t)
	cfg.Retry = cfg.Retry.WithSleep(clock.sleep)
	target := registry.NewTarget(cfg, registry.MirrorLayout(p.addr))
	done, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: target, Parallel: 1}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, len(f.Blobs), done.Blobs)
	require.True(t, broken["patch"] && broken["put"])
}

// lost takes an answer that nobody gets.
type lost struct{ header http.Header }

func (l *lost) Header() http.Header         { return l.header }
func (l *lost) Write(p []byte) (int, error) { return len(p), nil }
func (l *lost) WriteHeader(int)             {}

func TestACopyThatWasCutShortGoesOn(t *testing.T) {
	t.Parallel()
	p := serve(t, peers()["distribution"](t))
	f := origintest.NewFixture(t, "registry.example/team/app")
	from := origintest.NewMemory().Fill(f)
	ctx, cancel := context.WithCancel(t.Context())
	p.meddleWith(func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method == http.MethodPut && len(p.requests("PUT ")) == 3 {
			cancel()
		}
		return false
	})
	target := func() *registry.Target { return registry.NewTarget(config(t), registry.MirrorLayout(p.addr)) }
	_, err := (&images.Copier{From: from, To: target(), Parallel: 1}).Copy(ctx, f.Index)
	require.ErrorIs(t, err, context.Canceled)
	done, err := (&images.Copier{From: from, To: target()}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.GreaterOrEqual(t, done.Present, 2)
	require.Less(t, done.Blobs, len(f.Blobs)-1)
	cancel()
}

func TestMirrorLayout(t *testing.T) {
	t.Parallel()
	layout := registry.MirrorLayout("127.0.0.1:5000")
	require.Equal(t, "127.0.0.1:5000/library/busybox", layout("docker.io/library/busybox"))
	require.Equal(t, "127.0.0.1:5000/argoexec", layout("kfdev.internal/argoexec"))
	require.Equal(t, "127.0.0.1:5000/busybox", layout("busybox"))
}

func TestHasDoesNotTakeAPartForTheWhole(t *testing.T) {
	t.Parallel()
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5") }))
	cfg := config(t)
	cfg.Retry.First = time.Millisecond
	has, err := registry.NewTarget(cfg, registry.MirrorLayout(p.addr)).Has(t.Context(), "x/y", v1.Descriptor{
		Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, Size: 10,
	})
	require.NoError(t, err)
	require.False(t, has)
}
