package localregistry_test

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/localregistry"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
)

// TestMain allows for the one goroutine that the library's server leaves when
// it stops; a server stops once in its process's life.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

// start serves root and returns the address and a function that stops it.
func start(t *testing.T, root string) (string, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan net.Addr, 1)
	stopped := make(chan error, 1)
	go func() {
		stopped <- localregistry.Serve(ctx, localregistry.Config{Addr: "127.0.0.1:0", Root: root, Ready: func(a net.Addr) { ready <- a }})
	}()
	stop := func() {
		cancel()
		select {
		case err := <-stopped:
			stopped <- err
			require.NoError(t, err)
		case <-time.After(20 * time.Second):
			require.Fail(t, "the registry does not stop")
		}
	}
	t.Cleanup(stop)
	select {
	case a := <-ready:
		return a.String(), stop
	case err := <-stopped:
		stopped <- err
		require.NoError(t, err)
	}
	return "", stop
}

func target(t *testing.T, addr string) *registry.Target {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return registry.NewTarget(registry.Config{Transport: tr}, registry.MirrorLayout(addr))
}

func TestServeAnswersAndKeepsItsContent(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "new", "folder")
	f := origintest.NewFixture(t, "registry.example/team/app")
	addr, stop := start(t, root)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/", http.NoBody)
	require.NoError(t, err)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	_, err = (&images.Copier{From: origintest.NewMemory().Fill(f), To: target(t, addr)}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	stop()
	addr, _ = start(t, root)
	done, err := (&images.Copier{From: origintest.NewMemory(), To: target(t, addr)}).Copy(t.Context(), f.Index)
	require.NoError(t, err, "all is there after a restart")
	require.Zero(t, done.Blobs)
}

func TestServeSaysWhyItCannotStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := localregistry.Serve(t.Context(), localregistry.Config{Addr: "127.0.0.1:0", Root: file})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, file)

	addr, _ := start(t, t.TempDir())
	err = localregistry.Serve(t.Context(), localregistry.Config{Addr: addr, Root: t.TempDir()})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, addr)
}

func TestServeRemovesUploadsThatNobodyFinished(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	uploads := filepath.Join(root, "docker/registry/v2/repositories/team/app/_uploads")
	for name, age := range map[string]time.Duration{"0d1a7f2e-1111-4111-8111-111111111111": 48 * time.Hour, "0d1a7f2e-2222-4222-8222-222222222222": time.Hour} {
		dir := filepath.Join(uploads, name)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), []byte("half"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "startedat"), []byte(time.Now().Add(-age).UTC().Format(time.RFC3339)), 0o600))
	}
	start(t, root)
	entries, err := os.ReadDir(uploads)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "0d1a7f2e-2222-4222-8222-222222222222", entries[0].Name())
}

func size(t *testing.T, root string) (bytes int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "data" {
			info, err := e.Info()
			require.NoError(t, err)
			bytes += info.Size()
		}
		return err
	}))
	return bytes
}

func TestPruneKeepsWhatIsNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a := origintest.NewFixture(t, "registry.example/team/a")
	b := origintest.NewFixtureOf(t, "registry.example/team/b", 2)
	addr, _ := start(t, root)
	to := target(t, addr)
	c := images.Copier{From: origintest.NewMemory().Fill(a).Fill(b), To: to}
	_, err := c.Copy(t.Context(), a.Index, b.Index)
	require.NoError(t, err)
	both := size(t, root)

	// Beside the server, which must not believe in what is gone.
	pruned, err := localregistry.Prune(t.Context(), root, []v1.Hash{a.Index.Digest})
	require.NoError(t, err)
	require.Equal(t, 3, pruned.Manifests)
	require.Equal(t, both-size(t, root), pruned.Bytes)
	require.Positive(t, pruned.Bytes)
	for d, content := range b.Blobs {
		if _, shared := a.Blobs[d]; shared {
			continue
		}
		has, err := to.Has(t.Context(), b.Repository, v1.Descriptor{Digest: d, Size: int64(len(content))})
		require.NoError(t, err)
		require.False(t, has)
	}
	done, err := (&images.Copier{From: origintest.NewMemory(), To: to}).Copy(t.Context(), a.Index)
	require.NoError(t, err, "what was kept is whole")
	require.Zero(t, done.Blobs)
	_, err = c.Copy(t.Context(), b.Index)
	require.NoError(t, err, "what was pruned can come again")
	require.Equal(t, both, size(t, root))

	again, err := localregistry.Prune(t.Context(), root, []v1.Hash{a.Index.Digest, b.Index.Digest})
	require.NoError(t, err)
	require.Equal(t, localregistry.Pruned{}, again)
	all, err := localregistry.Prune(t.Context(), root, nil)
	require.NoError(t, err)
	require.Equal(t, 6, all.Manifests)
	require.Zero(t, size(t, root))
}

func TestPruneOfOnePlatform(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a := origintest.NewFixture(t, "registry.example/team/a")
	addr, _ := start(t, root)
	c := images.Copier{From: origintest.NewMemory().Fill(a), To: target(t, addr), Platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}}}
	_, err := c.Copy(t.Context(), a.Index)
	require.NoError(t, err)
	pruned, err := localregistry.Prune(t.Context(), root, []v1.Hash{a.Index.Digest})
	require.NoError(t, err)
	require.Equal(t, localregistry.Pruned{}, pruned)
}

func TestPruneOfNothing(t *testing.T) {
	t.Parallel()
	pruned, err := localregistry.Prune(t.Context(), t.TempDir(), nil)
	require.NoError(t, err)
	require.Equal(t, localregistry.Pruned{}, pruned)
}

func TestPruneRemovesBlobsOfACopyThatWasCutShort(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a := origintest.NewFixture(t, "registry.example/team/a")
	addr, _ := start(t, root)
	require.NoError(t, target(t, addr).PutBlob(t.Context(), a.Repository, a.Layer, bytes.NewReader(a.Blobs[a.Layer.Digest])))
	pruned, err := localregistry.Prune(t.Context(), root, nil)
	require.NoError(t, err)
	require.Equal(t, 1, pruned.Blobs)
	require.Zero(t, size(t, root))
}
