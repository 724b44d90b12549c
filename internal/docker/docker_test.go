package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

// daemon answers as a Docker 20.10 does, with at most one image.
type daemon struct {
	image   string // ID, empty when there is none
	loads   int
	answer  string // to a load
	becomes string // the image's ID after a load
	read    int64  // of what was loaded
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	path := strings.TrimPrefix(r.URL.Path, "/v1.41")
	switch {
	case path == "/_ping":
	case path == "/info":
		_ = json.NewEncoder(w).Encode(map[string]any{"ServerVersion": "20.10.24", "CgroupVersion": "1", "NCPU": 2, "MemTotal": 1 << 30, "OSType": "linux"})
	case path == "/images/load":
		d.loads++
		d.read, _ = io.Copy(io.Discard, r.Body)
		d.image = d.becomes
		_, _ = io.WriteString(w, d.answer)
	case strings.HasPrefix(path, "/images/") && d.image != "":
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": d.image, "RootFS": map[string]any{"Layers": []string{"sha256:l1"}}})
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"no such thing"}`)
	}
}

func dial(t *testing.T, d http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	c, err := connect(client.WithHost("tcp://" + server.Listener.Addr().String()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func archive(content string) Archive {
	return Archive{Name: "kfdev.internal/x:1", Config: "sha256:c1", DiffIDs: []string{"sha256:l1"}, Write: func(_ context.Context, to io.Writer) error {
		_, err := io.WriteString(to, content)
		return err
	}}
}

func TestServerNegotiatesAndTells(t *testing.T) {
	t.Parallel()
	s, err := dial(t, &daemon{}).Server(t.Context())
	require.NoError(t, err)
	require.Equal(t, "20.10.24", s.Version)
	require.Equal(t, "1.41", s.API)
	require.Equal(t, 1, s.CgroupVersion)
}

func TestNoDaemonIsAPreflightWithAWayOut(t *testing.T) {
	t.Parallel()
	c, err := connect(client.WithHost("unix://" + filepath.Join(t.TempDir(), "none.sock")))
	require.NoError(t, err)
	_, err = c.Server(t.Context())
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.NotEmpty(t, fault.Hint(err))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Server(ctx)
	require.Equal(t, fault.Canceled, fault.KindOf(err), "%v", err)
}

func TestEnsureImageLoadsOnce(t *testing.T) {
	t.Parallel()
	d := &daemon{becomes: "sha256:c1", answer: `{"stream":"Loaded image"}`}
	c := dial(t, d)
	img, loaded, err := c.EnsureImage(t.Context(), archive("archive"))
	require.NoError(t, err)
	require.True(t, loaded)
	require.Equal(t, "sha256:c1", img.ID)
	require.EqualValues(t, len("archive"), d.read)
	_, loaded, err = c.EnsureImage(t.Context(), archive("archive"))
	require.NoError(t, err)
	require.False(t, loaded)
	require.Equal(t, 1, d.loads)
}

func TestEnsureImageKnowsADaemonThatNamesByManifest(t *testing.T) {
	t.Parallel()
	_, loaded, err := dial(t, &daemon{image: "sha256:manifest"}).EnsureImage(t.Context(), archive(""))
	require.NoError(t, err)
	require.False(t, loaded, "its layers are the same")
}

func TestEnsureImageRefusesAnotherImage(t *testing.T) {
	t.Parallel()
	a := archive("archive")
	a.DiffIDs = []string{"sha256:other"}
	_, _, err := dial(t, &daemon{becomes: "sha256:evil"}).EnsureImage(t.Context(), a)
	require.Equal(t, fault.Drift, fault.KindOf(err))
}

func TestEnsureImageTellsWhyALoadFailed(t *testing.T) {
	t.Parallel()
	full := `{"stream":"loading"}` + "\n" + `{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}`
	_, _, err := dial(t, &daemon{answer: full}).EnsureImage(t.Context(), archive("archive"))
	require.ErrorContains(t, err, "no space left on device")

	cause := errors.New("the store lost a layer")
	broken := archive("")
	broken.Write = func(_ context.Context, to io.Writer) error {
		if _, err := io.WriteString(to, "some"); err != nil {
			return err
		}
		return cause
	}
	_, _, err = dial(t, &daemon{becomes: "sha256:c1"}).EnsureImage(t.Context(), broken)
	require.ErrorIs(t, err, cause)
}

func TestTheContextOfTheDockerCommandIsUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	host, err := hostIn(dir, "")
	require.NoError(t, err)
	require.Empty(t, host, "no configuration")

	write := func(path, content string) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	write("config.json", `{"currentContext":"desk"}`)
	_, err = hostIn(dir, "")
	require.ErrorContains(t, err, "desk")
	sum := sha256.Sum256([]byte("desk"))
	write("contexts/meta/"+hex.EncodeToString(sum[:])+"/meta.json", `{"Name":"desk","Endpoints":{"docker":{"Host":"unix:///desk.sock"}}}`)
	host, err = hostIn(dir, "")
	require.NoError(t, err)
	require.Equal(t, "unix:///desk.sock", host)
	host, err = hostIn(dir, "default")
	require.NoError(t, err)
	require.Empty(t, host)
	write("config.json", `{`)
	_, err = hostIn(dir, "")
	require.ErrorContains(t, err, "config.json")
}

func FuzzHostIn(f *testing.F) {
	f.Add([]byte(`{"currentContext":"desk"}`), []byte(`{"Endpoints":{"docker":{"Host":"unix:///s"}}}`))
	f.Fuzz(func(t *testing.T, config, meta []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
		sum := sha256.Sum256([]byte("desk"))
		at := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]))
		require.NoError(t, os.MkdirAll(at, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(at, "meta.json"), meta, 0o600))
		host, err := hostIn(dir, "")
		if err != nil {
			require.Empty(t, host)
		}
	})
}
