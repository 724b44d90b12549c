package localregistry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/localregistry"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
)

// BenchmarkPutBlob sends blobs of 64 MiB, none like another, into a local
// registry on this machine, and reads one back.
func BenchmarkPutBlob(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	ready, stopped := make(chan net.Addr, 1), make(chan error, 1)
	root := b.TempDir()
	go func() {
		stopped <- localregistry.Serve(ctx, localregistry.Config{Addr: "127.0.0.1:0", Root: root, Ready: func(a net.Addr) { ready <- a }})
	}()
	addr := (<-ready).String()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	cfg := registry.Config{Transport: tr}
	to, from := registry.NewTarget(cfg, registry.MirrorLayout(addr)), registry.NewOrigin(cfg)
	content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	b.SetBytes(int64(len(content)) * 2)
	n := 0
	for b.Loop() {
		n++
		copy(content, fmt.Sprintf("%016d", n))
		digest, size, err := v1.SHA256(bytes.NewReader(content))
		require.NoError(b, err)
		desc := v1.Descriptor{Digest: digest, Size: size}
		require.NoError(b, to.PutBlob(b.Context(), "x/bench", desc, bytes.NewReader(content)))
		back, err := from.Blob(b.Context(), addr+"/bench", desc)
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, back)
		require.NoError(b, err)
		require.NoError(b, back.Close())
	}
	cancel()
	require.NoError(b, <-stopped)
}

// BenchmarkNothingToCopy is what a second up pays for images: 50 images of
// three blobs each, all there.
func BenchmarkNothingToCopy(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	ready, stopped := make(chan net.Addr, 1), make(chan error, 1)
	root := b.TempDir()
	go func() {
		stopped <- localregistry.Serve(ctx, localregistry.Config{Addr: "127.0.0.1:0", Root: root, Ready: func(a net.Addr) { ready <- a }})
	}()
	addr := (<-ready).String()
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	defer tr.CloseIdleConnections()
	from, refs := many(b, 50)
	c := func() *images.Copier {
		return &images.Copier{From: from, To: registry.NewTarget(registry.Config{Transport: tr}, registry.MirrorLayout(addr))}
	}
	_, err := c().Copy(b.Context(), refs...)
	require.NoError(b, err)
	for b.Loop() {
		done, err := c().Copy(b.Context(), refs...)
		require.NoError(b, err)
		require.Zero(b, done.Blobs)
	}
	cancel()
	require.NoError(b, <-stopped)
}

func many(b *testing.B, n int) (*origintest.Memory, []images.Ref) {
	b.Helper()
	from := origintest.NewMemory()
	refs := make([]images.Ref, n)
	for i := range refs {
		f := origintest.NewFixtureOf(b, fmt.Sprintf("registry.example/team/app%d", i), uint64(i))
		from.Fill(f)
		refs[i] = f.Index
	}
	return from, refs
}
