package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
)

// artifact is a manifest about another, with one blob.
func artifact(t *testing.T, about v1.Descriptor, kind, text string) (images.Ref, images.Manifest, v1.Descriptor) {
	t.Helper()
	blob := []byte(text)
	digest, size, err := v1.SHA256(bytes.NewReader(blob))
	require.NoError(t, err)
	desc := v1.Descriptor{MediaType: "text/plain", Digest: digest, Size: size}
	config := desc
	config.MediaType = types.MediaType(kind) // some registries list that, and not the artifact's type
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": kind, "config": config, "layers": []v1.Descriptor{desc}, "subject": about,
		"annotations": map[string]string{"says": text},
	})
	require.NoError(t, err)
	own, _, err := v1.SHA256(bytes.NewReader(raw))
	require.NoError(t, err)
	return images.Ref{Digest: own}, images.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw}, desc
}

// paged gives the lists of a registry one referrer at a time.
func paged(t *testing.T, whole http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/referrers/") {
			whole.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		whole.ServeHTTP(answer, r)
		var list map[string]json.RawMessage
		var each []json.RawMessage
		err := errors.Join(json.Unmarshal(answer.Body.Bytes(), &list), json.Unmarshal(list["manifests"], &each))
		slices.SortFunc(each, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
		n, _ := strconv.Atoi(r.URL.Query().Get("last"))
		if n+1 < len(each) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, r.URL.Path, n+1))
		}
		list["manifests"] = []byte("[]")
		if n < len(each) {
			list["manifests"] = append(append([]byte("["), each[n]...), ']')
		}
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		if err = errors.Join(err, json.NewEncoder(w).Encode(list)); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsAboutAnImageIsListed(t *testing.T) {
	t.Parallel()
	all := peers()
	all["with referrers"] = func(*testing.T) http.Handler {
		return ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0)))
	}
	all["page by page"] = func(t *testing.T) http.Handler {
		t.Helper()
		return paged(t, all["with referrers"](t))
	}
	for name, peer := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, peer(t))
			f := origintest.NewFixture(t, "registry.example/team/app")
			target := registry.NewTarget(config(t), registry.MirrorLayout(p.addr))
			_, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: target}).Copy(t.Context(), f.Index)
			require.NoError(t, err)
			got, err := target.Referrers(t.Context(), f.Index, "")
			require.NoError(t, err)
			require.Empty(t, got)

			about := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: f.Index.Digest, Size: int64(len(f.Manifests[f.Index.Digest].Raw))}
			for _, kind := range []string{"application/a", "application/b", "application/a"} { // again is nothing
				ref, manifest, blob := artifact(t, about, kind, "hello "+kind)
				ref.Repository = f.Repository
				require.NoError(t, target.PutBlob(t.Context(), f.Repository, blob, bytes.NewReader([]byte("hello "+kind))))
				require.NoError(t, target.Attach(t.Context(), ref, manifest))
			}
			got, err = target.Referrers(t.Context(), f.Index, "")
			require.NoError(t, err)
			require.Len(t, got, 2)
			got, err = target.Referrers(t.Context(), f.Index, "application/b")
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Equal(t, map[string]string{"says": "hello application/b"}, got[0].Annotations)
			back, err := target.Manifest(t.Context(), images.Ref{Repository: f.Repository, Digest: got[0].Digest})
			require.NoError(t, err)
			require.Contains(t, string(back.Raw), "application/b")

			// They travel with the image.
			there := serve(t, peer(t))
			next := registry.NewTarget(config(t), func(string) string { return there.addr + "/copied/app" })
			own := images.Ref{Repository: p.addr + "/team/app", Digest: f.Index.Digest}
			copier := &images.Copier{From: registry.NewOrigin(config(t)), To: next, Referrers: true}
			for _, want := range []int{2, 0} {
				copied, err := copier.Copy(t.Context(), own)
				require.NoError(t, err)
				require.Equal(t, want, copied.Referrers)
			}
			got, err = next.Referrers(t.Context(), own, "application/a")
			require.NoError(t, err)
			require.Len(t, got, 1)
		})
	}
	ref, manifest, _ := artifact(t, v1.Descriptor{}, "application/a", "x")
	manifest.Raw = []byte(`{}`)
	require.Error(t, registry.NewTarget(config(t), registry.MirrorLayout("127.0.0.1:1")).Attach(t.Context(), images.Ref{Repository: "registry.example/team/app", Digest: ref.Digest}, manifest))
}
