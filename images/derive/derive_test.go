package derive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/derive"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
)

const repository = "quay.io/a/base"

// base is an image in memory, one for each architecture, as an index where
// there are several.
type base struct {
	*origintest.Memory
	ref images.Ref
}

func (b *base) put(t *testing.T, media types.MediaType, content []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	require.NoError(t, err)
	d := v1.Descriptor{MediaType: media, Size: size, Digest: digest}
	if media.IsImage() || media.IsIndex() {
		b.ref = images.Ref{Repository: repository, Digest: digest}
		require.NoError(t, b.PutManifest(t.Context(), b.ref, images.Manifest{MediaType: media, Raw: content}))
		return d
	}
	require.NoError(t, b.PutBlob(t.Context(), repository, d, bytes.NewReader(content)))
	return d
}

type kind struct{ manifest, config, layer types.MediaType }

func oci() kind { return kind{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer} }

func newBase(t *testing.T, k kind, config string, architectures ...string) *base {
	t.Helper()
	b := &base{Memory: origintest.NewMemory()}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, arch := range architectures {
		layer := b.put(t, k.layer, []byte("a layer for "+arch))
		text := fmt.Sprintf(config, arch, layer.Digest)
		c := b.put(t, k.config, []byte(text))
		raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: k.manifest, Config: c, Layers: []v1.Descriptor{layer}})
		require.NoError(t, err)
		d := b.put(t, k.manifest, raw)
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
	}
	if len(architectures) > 1 {
		raw, err := json.Marshal(index)
		require.NoError(t, err)
		b.put(t, types.OCIImageIndex, raw)
	}
	return b
}

// usual is a configuration with what this program sets and what it knows
// nothing of.
const usual = `{"architecture":%q,"os":"linux","created":"2020-01-01T00:00:00Z","config":{"User":"1000:100","Env":["A=b"],"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":[%q]},"history":[{"created_by":"FROM"},{"empty_layer":true}],"unknown":{"big":12345678901234567890}}`

func hash(c byte) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: string(bytes.Repeat([]byte{c}, 64))}
}

func top() derive.Layer {
	return derive.Layer{Digest: hash('a'), DiffID: hash('b'), Size: 10, Comment: "nb"}
}

func read(t *testing.T, b *base, platforms ...string) derive.Base {
	t.Helper()
	var all []v1.Platform
	for _, p := range platforms {
		all = append(all, v1.Platform{OS: "linux", Architecture: p})
	}
	got, err := derive.Read(t.Context(), b, b.ref, all)
	require.NoError(t, err)
	return got
}

func TestAnIndexGetsTheLayerOnEveryChild(t *testing.T) {
	t.Parallel()
	b := newBase(t, oci(), usual, "amd64", "arm64", "s390x")
	got, err := read(t, b, "arm64", "amd64").With(top(), "kfdev.internal/baked/x")
	require.NoError(t, err)
	again, err := read(t, b, "arm64", "amd64").With(top(), "kfdev.internal/baked/x")
	require.NoError(t, err)
	require.Equal(t, got, again)

	require.Equal(t, types.OCIImageIndex, got.MediaType)
	require.Len(t, got.Manifests, 3)
	require.Len(t, got.Configs, 2)
	last := got.Manifests[2]
	require.Equal(t, got.Ref, last.Ref)
	index, err := v1.ParseIndexManifest(bytes.NewReader(last.Raw))
	require.NoError(t, err)
	require.Equal(t, b.ref.Digest.String(), index.Annotations["org.opencontainers.image.base.digest"])
	var sizes int64
	for i, arch := range []string{"amd64", "arm64"} { // the index's order
		require.Equal(t, arch, got.Children[i].Platform.Architecture)
		require.Equal(t, got.Children[i].Digest, index.Manifests[i].Digest)
		require.Equal(t, arch, index.Manifests[i].Platform.Architecture)
		sizes += got.Children[i].Size
		m, err := v1.ParseManifest(bytes.NewReader(got.Manifests[i].Raw))
		require.NoError(t, err)
		require.Len(t, m.Layers, 2)
		require.Equal(t, v1.Descriptor{MediaType: types.OCILayer, Size: 10, Digest: hash('a')}, m.Layers[1])
		config := got.Configs[m.Config.Digest]
		require.EqualValues(t, len(config), m.Config.Size)
		was, err := b.Blob(t.Context(), repository, read(t, b, arch).Blobs()[0])
		require.NoError(t, err)
		require.NoError(t, was.Close())
		require.JSONEq(t, fmt.Sprintf(`{"architecture":%q,"os":"linux","created":"1970-01-01T00:00:01Z","config":{"User":"1000:100","Env":["A=b"],"ArgsEscaped":true},
			"rootfs":{"type":"layers","diff_ids":[%q,%q]},"history":[{"created_by":"FROM"},{"empty_layer":true},{"created":"1970-01-01T00:00:01Z","created_by":"kfdev sync bake","comment":"nb"}],
			"unknown":{"big":12345678901234567890}}`, arch, m.Layers[0].Digest, hash('b')), string(config))
		require.Contains(t, string(config), "12345678901234567890", "numbers stay as they were written")
	}
	require.Equal(t, sizes-10, got.Size, "the layer counts once")
}

func TestASingleImageStaysOne(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]kind{"OCI": oci(), "Docker": {types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBase(t, k, usual, "arm64")
			got, err := read(t, b, "amd64").With(top(), "r") // what runs is what there is
			require.NoError(t, err)
			require.Equal(t, k.manifest, got.MediaType)
			require.Len(t, got.Manifests, 1)
			require.Equal(t, []derive.Child{{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Digest: got.Ref.Digest, Size: got.Size}}, got.Children)
			m, err := v1.ParseManifest(bytes.NewReader(got.Manifests[0].Raw))
			require.NoError(t, err)
			require.Equal(t, k.layer, m.Layers[1].MediaType)
			require.Equal(t, k.config, m.Config.MediaType)
		})
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	for user, want := range map[string][3]int{
		"1000": {1000, 0, 1}, "1000:100": {1000, 100, 1}, "0": {0, 0, 1}, "": {}, "jovyan": {}, "1000:users": {}, "1000:": {}, "-1": {}, "99999999999": {},
	} {
		b := newBase(t, oci(), `{"architecture":%q,"rootfs":{"diff_ids":[%q]},"config":{"User":"`+user+`"}}`, "amd64", "arm64")
		uid, gid, known := read(t, b, "amd64", "arm64").Owner()
		require.Equal(t, want, [3]int{uid, gid, map[bool]int{true: 1}[known]}, user)
	}
	b := newBase(t, oci(), `{"architecture":%q,"rootfs":{"diff_ids":[%q]}}`, "amd64")
	_, _, known := read(t, b, "amd64").Owner()
	require.False(t, known)
}

func TestAHistoryWithHolesIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, history := range map[string]string{"none": "", "of fewer layers": `,"history":[{"empty_layer":true}]`, "of more": `,"history":[{},{}]`} {
		b := newBase(t, oci(), `{"architecture":%q,"rootfs":{"diff_ids":[%q]}`+history+`}`, "amd64")
		got, err := read(t, b, "amd64").With(top(), "r")
		require.NoError(t, err)
		for _, config := range got.Configs {
			require.NotContains(t, string(config), "history", name)
		}
	}
}

func TestWhatIsNoBase(t *testing.T) {
	t.Parallel()
	b := newBase(t, oci(), usual, "amd64", "arm64")
	_, err := derive.Read(t.Context(), b, b.ref, []v1.Platform{{OS: "linux", Architecture: "riscv64"}})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "it has no image for linux/riscv64")
	_, err = derive.Read(t.Context(), b, images.Ref{Repository: repository, Digest: hash('c')}, nil)
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	for name, config := range map[string]string{
		"other layers than the manifest": `{"architecture":%q,"rootfs":{"diff_ids":[%q,"sha256:` + hash('c').Hex + `"]}}`,
		"rootfs":                         `{"architecture":%q,"rootfs":[%q]}`,
		"history":                        `{"architecture":%q,"rootfs":{"diff_ids":[%q]},"history":{}}`,
	} {
		b := newBase(t, oci(), config, "amd64")
		_, err := read(t, b, "amd64").With(top(), "r")
		require.ErrorContains(t, err, name)
	}
	b = newBase(t, oci(), `no json: %q %q`, "amd64")
	_, err = derive.Read(t.Context(), b, b.ref, nil)
	require.ErrorContains(t, err, "reading the configuration")
}

func FuzzConfig(f *testing.F) {
	f.Add(usual[:len(usual)-1] + "}")
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, config string) {
		b := &base{Memory: origintest.NewMemory()}
		c := b.put(t, types.OCIConfigJSON, []byte(config))
		raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: c, Layers: []v1.Descriptor{}})
		require.NoError(t, err)
		b.put(t, types.OCIManifestSchema1, raw)
		got, err := derive.Read(t.Context(), b, b.ref, nil)
		if err != nil {
			return
		}
		got.Owner()
		made, err := got.With(top(), "r")
		if err != nil {
			return
		}
		for _, made := range made.Configs {
			parsed, err := v1.ParseConfigFile(bytes.NewReader(made))
			if err == nil {
				require.Equal(t, []v1.Hash{hash('b')}, parsed.RootFS.DiffIDs)
			}
		}
	})
}
