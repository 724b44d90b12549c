package registry

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
)

func FuzzDecodeReferrers(f *testing.F) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, text := range []string{
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"` + digest + `","artifactType":"application/x","annotations":{"a":"b"}}]}`,
		`{"manifests":[{"size":-1,"digest":"` + digest + `"}]}`, `{"manifests":[{}]}`, `{"manifests":null}`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeReferrers(data)
		if err != nil {
			require.Empty(t, list.Manifests)
			return
		}
		for _, d := range list.of("") {
			require.GreaterOrEqual(t, d.Size, int64(0))
			_, err := v1.NewHash(d.Digest.String())
			require.NoError(t, err)
		}
	})
}

func FuzzNextPage(f *testing.F) {
	const below = "https://registry.example/v2/team/app/referrers/"
	for _, link := range []string{`</v2/team/app/referrers/sha256:aa?last=1>; rel="next"`, `<https://other.example/v2/x>; rel=next`, `<?n=1>; rel="next"`, `<../../../x>; rel="next"`, `<x>; rel="prev"`, "", "<"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		page, err := nextPage(link, below+"sha256:aa", below)
		if err != nil || page == "" {
			require.Empty(t, page)
			return
		}
		require.True(t, strings.HasPrefix(page, "referrers/"))
	})
}
