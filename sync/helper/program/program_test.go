package program

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

func packed(t *testing.T, plain string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(plain))
	require.NoError(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

func TestLoad(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("the program"))
	digest := hex.EncodeToString(sum[:])
	files := fstest.MapFS{
		"built/linux-amd64.gz":     {Data: packed(t, "the program")},
		"built/linux-amd64.sha256": {Data: []byte(digest + "\n")},
		"built/linux-arm64.gz":     {Data: packed(t, "another")},
	}
	p, err := load(files, "amd64")
	require.NoError(t, err)
	require.Equal(t, "amd64", p.Arch)
	require.Equal(t, digest, p.SHA256)
	require.Equal(t, ".kfdev-sync-helper-"+digest[:16], p.FileName())
	plain, err := p.Plain()
	require.NoError(t, err)
	require.Equal(t, "the program", string(plain))

	_, err = load(files, "arm64")
	require.ErrorIs(t, err, fs.ErrNotExist)
	files["built/linux-arm64.sha256"] = &fstest.MapFile{Data: []byte("x")}
	_, err = load(files, "arm64")
	require.ErrorContains(t, err, "holds no SHA-256")
	files["built/linux-arm64.sha256"].Data = []byte(digest)
	p, err = load(files, "arm64")
	require.NoError(t, err)
	_, err = p.Plain()
	require.ErrorContains(t, err, "not what its SHA-256 says")
	p.Gzip = []byte("this is no gzip at all")
	_, err = p.Plain()
	require.ErrorIs(t, err, gzip.ErrHeader)
}

func TestLoadOfWhatWasNotBuilt(t *testing.T) {
	t.Parallel()
	_, err := load(fstest.MapFS{}, "amd64")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "was built without the helper for amd64")
	require.Equal(t, []string{"build kfdev with: make build"}, fault.Hint(err))
	_, err = Load("riscv64")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, strings.Join(Archs(), ", "))
}
