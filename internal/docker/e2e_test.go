//go:build e2e

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

// program serves, or says something and ends with code 3.
const program = `package main

import ("fmt"; "net/http"; "os")

func main() {
	if len(os.Args) > 1 { fmt.Println("said", os.Args[1]); os.Exit(3) }
	fmt.Println("serving")
	http.ListenAndServe(":8080", nil)
}
`

// testImage is the program alone in an image.
func testImage(t *testing.T) Archive {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "program"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	binary, err := os.ReadFile(filepath.Join(dir, "program"))
	require.NoError(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(binary)), Typeflag: tar.TypeReg}))
	_, err = w.Write(binary)
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "data/", Mode: 0o755, Typeflag: tar.TypeDir}))
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	require.NoError(t, err)
	img, err := mutate.AppendLayers(empty.Image, l)
	require.NoError(t, err)
	img, err = mutate.ConfigFile(img, configOf(t, img))
	require.NoError(t, err)
	config, err := img.ConfigName()
	require.NoError(t, err)
	diff, err := l.DiffID()
	require.NoError(t, err)
	tag, err := name.NewTag("kfdev.internal/e2e-docker:" + config.Hex[:12])
	require.NoError(t, err)
	return Archive{Name: tag.String(), Config: config.String(), DiffIDs: []string{diff.String()}, Write: func(_ context.Context, to io.Writer) error {
		return tarball.Write(tag, img, to)
	}}
}

func configOf(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	require.NoError(t, err)
	c = c.DeepCopy()
	c.Architecture, c.OS, c.Config.Entrypoint = "amd64", "linux", []string{"/program"}
	return c
}

func TestE2EARealDaemon(t *testing.T) {
	ctx := t.Context()
	c, err := New()
	require.NoError(t, err)
	server, err := c.Server(ctx)
	require.NoError(t, err)
	t.Logf("%+v", server)

	archive := testImage(t)
	const container = "kfdev-e2e-docker"
	clean := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, errors.Join(c.Remove(ctx, container), c.RemoveVolume(ctx, container), c.RemoveImage(ctx, archive.Name)))
	}
	clean()
	t.Cleanup(clean)

	img, loaded, err := c.EnsureImage(ctx, archive)
	require.NoError(t, err)
	require.True(t, loaded)
	_, loaded, err = c.EnsureImage(ctx, archive)
	require.NoError(t, err)
	require.False(t, loaded)

	labels := map[string]string{"kfdev.dev/owned": "test", "kfdev.dev/e2e": "docker"}
	made, err := c.EnsureVolume(ctx, container, labels)
	require.NoError(t, err)
	require.True(t, made)
	made, err = c.EnsureVolume(ctx, container, labels)
	require.NoError(t, err)
	require.False(t, made)

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := netip.MustParseAddrPort(l.Addr().String())
	require.NoError(t, l.Close())
	_, err = c.Container(ctx, container)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	id, err := c.Create(ctx, ContainerSpec{
		Name: container, Image: img.ID, Labels: labels, Env: map[string]string{"A": "1"},
		Volumes: map[string]string{container: "/data"}, Publish: map[string]netip.AddrPort{"8080/tcp": at}, Restart: true,
	})
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, container))
	require.NoError(t, c.Start(ctx, container), "twice")
	got, err := c.Container(ctx, container)
	require.NoError(t, err)
	require.Equal(t, id, got.ID)
	require.True(t, got.Running)
	require.Equal(t, img.ID, got.Image)
	require.Equal(t, at, got.Ports["8080/tcp"])
	require.WithinDuration(t, time.Now(), got.Started, time.Minute)
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + at.String())
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	}, 10*time.Second, 20*time.Millisecond)
	words, err := c.Logs(ctx, container, 5)
	require.NoError(t, err)
	require.Equal(t, "serving\n", words)

	words, err = c.Exec(ctx, container, "/program", "this")
	require.ErrorContains(t, err, "exit code 3")
	require.Equal(t, "said this\n", words)

	require.NoError(t, c.WriteFile(ctx, container, "/data/note", 0o640, []byte("kept")))
	found, err := c.Containers(ctx, labels)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, c.Stop(ctx, container, time.Second))
	require.NoError(t, c.Stop(ctx, container, time.Second), "twice")
	content, err := c.ReadFile(ctx, container, "/data/note")
	require.NoError(t, err, "also from a stopped container")
	require.Equal(t, "kept", string(content))
	_, err = c.ReadFile(ctx, container, "/data/none")
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	// Another program takes the port meanwhile.
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	require.NoError(t, err)
	err = c.Start(ctx, container)
	require.NoError(t, l.Close())
	require.Error(t, err)
	require.Regexp(t, "address already in use|port is already allocated", fmt.Sprint(err))

	require.NoError(t, c.Remove(ctx, container))
	require.NoError(t, c.Remove(ctx, container), "twice")
	require.NoError(t, c.RemoveVolume(ctx, container))
	require.NoError(t, c.RemoveVolume(ctx, container), "twice")
	there, err := c.NetworkExists(ctx, "bridge")
	require.NoError(t, err)
	require.True(t, there)
}
