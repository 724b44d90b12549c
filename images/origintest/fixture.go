// Package origintest holds the suite that every images.Origin passes, the
// images it is run on, and an origin and target in memory.
package origintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
)

// Fixture is a small index for two platforms whose children share a layer.
type Fixture struct {
	Repository string
	Index      images.Ref
	Children   map[string]images.Ref // by platform: "linux/amd64"
	Manifests  map[v1.Hash]images.Manifest
	Blobs      map[v1.Hash][]byte
	// Layer is the largest blob, 1 MiB; Config is the config of linux/amd64.
	Layer, Config v1.Descriptor
}

// NewFixture makes the fixture under the given repository. Its content is the
// same every time.
func NewFixture(tb testing.TB, repository string) Fixture {
	tb.Helper()
	return NewFixtureOf(tb, repository, 1)
}

// NewFixtureOf is NewFixture with other content for each seed; the configs are
// the same for all.
func NewFixtureOf(tb testing.TB, repository string, seed uint64) Fixture {
	tb.Helper()
	f := Fixture{
		Repository: repository,
		Children:   map[string]images.Ref{},
		Manifests:  map[v1.Hash]images.Manifest{},
		Blobs:      map[v1.Hash][]byte{},
	}
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // content for tests
	shared := f.addBlob(tb, random, types.OCILayer, 1<<20)
	f.Layer = shared
	var index v1.IndexManifest
	index.SchemaVersion, index.MediaType = 2, types.OCIImageIndex
	for _, arch := range []string{"amd64", "arm64"} {
		own := f.addBlob(tb, random, types.OCILayer, 2000)
		config := f.put(tb, types.OCIConfigJSON, fmt.Appendf(nil, `{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`, arch))
		if arch == "amd64" {
			f.Config = config
		}
		child := f.addManifest(tb, types.OCIManifestSchema1, v1.Manifest{
			SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{shared, own},
		})
		child.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, child)
		f.Children["linux/"+arch] = images.Ref{Repository: repository, Digest: child.Digest}
	}
	f.Index = images.Ref{Repository: repository, Digest: f.addManifest(tb, types.OCIImageIndex, index).Digest}
	return f
}

func (f *Fixture) addBlob(tb testing.TB, random *rand.Rand, media types.MediaType, size int) v1.Descriptor {
	tb.Helper()
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	return f.put(tb, media, content)
}

func (f *Fixture) put(tb testing.TB, media types.MediaType, content []byte) v1.Descriptor {
	tb.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	require.NoError(tb, err)
	f.Blobs[digest] = content
	return v1.Descriptor{MediaType: media, Digest: digest, Size: size}
}

func (f *Fixture) addManifest(tb testing.TB, media types.MediaType, content any) v1.Descriptor {
	tb.Helper()
	raw, err := json.MarshalIndent(content, "", "   ") // as published ones are: not canonical
	require.NoError(tb, err)
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	require.NoError(tb, err)
	f.Manifests[digest] = images.Manifest{MediaType: media, Raw: raw}
	return v1.Descriptor{MediaType: media, Digest: digest, Size: size}
}
