package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// programs returns a loader of programs that say what they are.
func programs(t *testing.T) func(arch string) (program.Program, error) {
	t.Helper()
	return func(arch string) (program.Program, error) {
		plain := []byte("a program for " + arch)
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(plain)
		sum := sha256.Sum256(plain)
		err = errors.Join(err, w.Close())
		return program.Program{Arch: arch, SHA256: hex.EncodeToString(sum[:]), Gzip: packed.Bytes()}, err
	}
}

func TestTheImageCanBeCopied(t *testing.T) {
	t.Parallel()
	made, err := image.New(programs(t))
	require.NoError(t, err)
	to := origintest.NewMemory()
	copier := images.Copier{From: made, To: to}
	copied, err := copier.Copy(t.Context(), made.Ref())
	require.NoError(t, err)
	require.Equal(t, 4, copied.Blobs)
	require.Equal(t, 3, copied.Manifests)

	closure, err := images.Walk(t.Context(), to, made.Ref(), []v1.Platform{{OS: "linux", Architecture: "arm64"}})
	require.NoError(t, err)
	require.Len(t, closure.Nodes, 2)
	blobs := closure.Nodes[0].Blobs
	config, err := to.Blob(t.Context(), image.Repository, blobs[0])
	require.NoError(t, err)
	read, err := v1.ParseConfigFile(config)
	require.NoError(t, err)
	require.Equal(t, "arm64", read.Architecture)
	require.Equal(t, []string{program.Path}, read.Config.Entrypoint)

	layer, err := to.Blob(t.Context(), image.Repository, blobs[1])
	require.NoError(t, err)
	plain, err := gzip.NewReader(layer)
	require.NoError(t, err)
	files := tar.NewReader(plain)
	header, err := files.Next()
	require.NoError(t, err)
	require.Equal(t, program.Path, "/"+header.Name)
	require.Equal(t, int64(0o555), header.Mode)
	content, err := io.ReadAll(files)
	require.NoError(t, err)
	require.Equal(t, "a program for arm64", string(content))
	_, err = files.Next()
	require.ErrorIs(t, err, io.EOF)
}

func TestTheImageIsAlwaysTheSame(t *testing.T) {
	t.Parallel()
	ref := func() images.Ref {
		made, err := image.New(programs(t))
		require.NoError(t, err)
		return made.Ref()
	}
	first := ref()
	require.Equal(t, first, ref())
}

func TestTheImageIsNothingElse(t *testing.T) {
	t.Parallel()
	made, err := image.New(programs(t))
	require.NoError(t, err)
	other := made.Ref()
	other.Repository = "example.com/other"
	_, err = made.Manifest(t.Context(), other)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = made.Blob(t.Context(), image.Repository, v1.Descriptor{Digest: made.Ref().Digest})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestAProgramThatIsNotWhatItSays(t *testing.T) {
	t.Parallel()
	_, err := image.New(func(arch string) (program.Program, error) {
		p, err := programs(t)(arch)
		p.SHA256 = strings.Repeat("0", 64)
		return p, err
	})
	require.ErrorContains(t, err, "not what its SHA-256 says")
	absent := errors.New("absent")
	_, err = image.New(func(string) (program.Program, error) { return program.Program{}, absent })
	require.ErrorIs(t, err, absent)
}
