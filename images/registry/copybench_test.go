//go:build bench

package registry_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/localregistry"
	"github.com/kfdev/kfdev/images/registry"
)

// BenchmarkCopyBesideOras copies ten images of two platforms, 240 MiB in all,
// from one registry to another, as promotions do: cold, and when all is there.
// KFDEV_BENCH_ORAS is the peer's program (oras cp -r).
func BenchmarkCopyBesideOras(b *testing.B) {
	source := serveFolder(b)
	var refs []images.Ref
	for i := range 10 {
		index, err := random.Index(6<<20, 2, 2)
		require.NoError(b, err)
		repository := fmt.Sprintf("%s/team/app%d", source, i)
		tag, err := name.NewTag(repository+":v1", name.Insecure)
		require.NoError(b, err)
		require.NoError(b, remote.WriteIndex(tag, index))
		digest, err := index.Digest()
		require.NoError(b, err)
		refs = append(refs, images.Ref{Repository: repository, Digest: digest})
	}
	measure := func(b *testing.B, copyAll func(to string)) {
		b.Helper()
		var cold, warm time.Duration
		for range b.N {
			to := serveFolder(b)
			for _, took := range []*time.Duration{&cold, &warm} {
				start := time.Now()
				copyAll(to)
				*took += time.Since(start)
			}
		}
		b.ReportMetric(cold.Seconds()/float64(b.N), "s-cold")
		b.ReportMetric(warm.Seconds()/float64(b.N), "s-there")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("kfdev", func(b *testing.B) {
		measure(b, func(to string) {
			target := registry.NewTarget(registry.Config{Keychain: noKeys{}}, func(s string) string { return to + s[len(source):] })
			copier := &images.Copier{From: registry.NewOrigin(registry.Config{Keychain: noKeys{}}), To: target, Referrers: true}
			_, err := copier.Copy(b.Context(), refs...)
			require.NoError(b, err)
		})
	})
	oras := os.Getenv("KFDEV_BENCH_ORAS")
	if oras == "" {
		b.Log("KFDEV_BENCH_ORAS names no program: the peer is left out")
		return
	}
	b.Run("oras", func(b *testing.B) {
		measure(b, func(to string) {
			for _, ref := range refs {
				cmd := exec.CommandContext(b.Context(), oras, "cp", "-r", "--from-plain-http", "--to-plain-http", "--no-tty", ref.String(), to+ref.Repository[len(source):])
				out, err := cmd.CombinedOutput()
				require.NoError(b, err, "%s", out)
			}
		})
	})
}

// serveFolder is a registry on disk, as the local one is.
func serveFolder(b *testing.B) (address string) {
	b.Helper()
	ready := make(chan net.Addr, 1)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	root := b.TempDir()
	go func() {
		stopped <- localregistry.Serve(ctx, localregistry.Config{Addr: "127.0.0.1:0", Root: root, Ready: func(a net.Addr) { ready <- a }})
	}()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-stopped)
	})
	return (<-ready).String()
}
