package release_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
)

func verification() release.Verification {
	return release.Verification{
		Release: "sha256:abc", Environment: "staging", Cluster: "uid", By: "ana", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Results: []release.Result{{Name: "hub"}, {Name: "tfjob", Failed: "too slow"}},
	}
}

func of(a release.Artifact) release.Fetch {
	return func(_ context.Context, desc v1.Descriptor) ([]byte, error) { return a.Blobs[desc.Digest], nil }
}

func TestAVerificationIsReadBack(t *testing.T) {
	t.Parallel()
	about := images.Manifest{MediaType: types.OCIManifestSchema1, Raw: []byte(`{"schemaVersion":2}`)}
	a, err := verification().Encode(about)
	require.NoError(t, err)
	var m struct{ Subject v1.Descriptor }
	require.NoError(t, json.Unmarshal(a.Manifest.Raw, &m))
	require.EqualValues(t, len(about.Raw), m.Subject.Size)
	back, err := release.DecodeVerification(t.Context(), a.Manifest.Raw, of(a))
	require.NoError(t, err)
	require.Equal(t, verification(), back)
	require.False(t, back.Passed())
	require.False(t, release.Passed(nil), "none is no pass")
	require.True(t, release.Passed(back.Results[:1]))

	for name, raw := range map[string]string{
		"no JSON": "{", "another artifact": strings.ReplaceAll(string(a.Manifest.Raw), release.VerificationType, "text/plain"),
		"too large": strings.ReplaceAll(string(a.Manifest.Raw), `"size":`, `"size":9`+strings.Repeat("0", 9)), "nothing": "{}",
	} {
		_, err := release.DecodeVerification(t.Context(), []byte(raw), of(a))
		require.Error(t, err, name)
	}
	for name, text := range map[string]string{"no JSON": "{", "an unknown key": `{"at":"2026-01-02T03:04:05Z","release":"r","environment":"e","x":1}`, "of nothing": `{}`} {
		_, err := release.DecodeVerification(t.Context(), a.Manifest.Raw, func(context.Context, v1.Descriptor) ([]byte, error) { return []byte(text), nil })
		require.Error(t, err, name)
	}
}

func FuzzDecodeVerification(f *testing.F) {
	a, err := verification().Encode(images.Manifest{Raw: []byte("{}")})
	require.NoError(f, err)
	for _, text := range a.Blobs {
		f.Add(a.Manifest.Raw, text)
	}
	f.Fuzz(func(t *testing.T, raw, text []byte) {
		v, err := release.DecodeVerification(t.Context(), raw, func(context.Context, v1.Descriptor) ([]byte, error) { return text, nil })
		if err == nil {
			require.NotEmpty(t, v.Release)
		}
	})
}
