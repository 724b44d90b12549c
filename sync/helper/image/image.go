// Package image makes the helper's own image, which runs beside containers that
// have no shell. It holds the helper program and nothing else, for every
// architecture, and is made in memory out of the programs that kfdev carries:
// the same programs always give the same digest.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// Repository is the image's name, as of one built from source.
const Repository = images.SourceHost + "/sync-helper"

// user is who the image says it runs as: nobody. In a pod it always runs as the
// target's user.
const user = "65534:65534"

// Image is the helper's image. It is an images.Origin of exactly that, so that
// images.Copier puts it where a cluster can pull it.
type Image struct {
	ref       images.Ref
	manifests map[v1.Hash]images.Manifest
	blobs     map[v1.Hash][]byte
}

var _ images.Origin = (*Image)(nil)

// New makes the image of the programs that load returns: program.Load.
func New(load func(arch string) (program.Program, error)) (*Image, error) {
	i := &Image{manifests: map[v1.Hash]images.Manifest{}, blobs: map[v1.Hash][]byte{}}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, arch := range program.Archs() {
		helper, err := load(arch)
		if err != nil {
			return nil, err
		}
		child, err := i.add(helper)
		if err != nil {
			return nil, &fault.Error{Op: "making the helper's image", Subject: arch, Err: err}
		}
		index.Manifests = append(index.Manifests, child)
	}
	desc, err := i.manifest(types.OCIImageIndex, index)
	if err != nil {
		return nil, &fault.Error{Op: "making the helper's image", Err: err}
	}
	i.ref = images.Ref{Repository: Repository, Digest: desc.Digest}
	return i, nil
}

// Ref names the image: an index of all architectures.
func (i *Image) Ref() images.Ref { return i.ref }

// Digests are all that a runtime may report for it: the index's, and each
// architecture's manifest and configuration.
func (i *Image) Digests() []v1.Hash {
	var all []v1.Hash
	for digest, m := range i.manifests {
		all = append(all, digest)
		if child, err := v1.ParseManifest(bytes.NewReader(m.Raw)); err == nil && m.MediaType.IsImage() {
			all = append(all, child.Config.Digest)
		}
	}
	slices.SortFunc(all, func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) })
	return all
}

// Kind says that it is built from source.
func (i *Image) Kind() images.OriginKind { return images.FromSource }

// Manifest returns the index or one of its children.
func (i *Image) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	m, ok := i.manifests[ref.Digest]
	if !ok || ref.Repository != Repository {
		return images.Manifest{}, &fault.Error{Op: "reading the manifest", Subject: ref.String(), Kind: fault.NotFound, Err: errors.New("this is the origin of the sync helper's image alone")}
	}
	return m, ctx.Err()
}

// Blob opens a config or a layer.
func (i *Image) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	content, ok := i.blobs[desc.Digest]
	if !ok || repository != Repository {
		return nil, &fault.Error{Op: "reading the blob", Subject: repository + "@" + desc.Digest.String(), Kind: fault.NotFound, Err: errors.New("this is the origin of the sync helper's image alone")}
	}
	return images.Verify(io.NopCloser(bytes.NewReader(content)), desc), ctx.Err()
}

// add makes the image of one architecture.
func (i *Image) add(helper program.Program) (v1.Descriptor, error) {
	plain, err := helper.Plain()
	if err != nil {
		return v1.Descriptor{}, err
	}
	archive, err := pack(plain)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(archive); err != nil {
		return v1.Descriptor{}, err
	}
	if err := w.Close(); err != nil {
		return v1.Descriptor{}, err
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(archive))
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := json.Marshal(v1.ConfigFile{
		Architecture: helper.Arch, OS: "linux",
		Config: v1.Config{User: user, Entrypoint: []string{program.Path}},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: make([]v1.Descriptor, 1)}
	if manifest.Config, err = i.blob(types.OCIConfigJSON, config); err != nil {
		return v1.Descriptor{}, err
	}
	if manifest.Layers[0], err = i.blob(types.OCILayer, packed.Bytes()); err != nil {
		return v1.Descriptor{}, err
	}
	desc, err := i.manifest(types.OCIManifestSchema1, manifest)
	desc.Platform = &v1.Platform{OS: "linux", Architecture: helper.Arch}
	return desc, err
}

// pack writes the layer: the program alone.
func pack(plain []byte) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(program.Path, "/"), Mode: 0o555, Size: int64(len(plain)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	err := w.Close()
	return archive.Bytes(), err
}

func (i *Image) blob(media types.MediaType, content []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return v1.Descriptor{}, err
	}
	i.blobs[digest] = content
	return v1.Descriptor{MediaType: media, Size: size, Digest: digest}, nil
}

func (i *Image) manifest(media types.MediaType, value any) (v1.Descriptor, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("writing a manifest: %w", err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return v1.Descriptor{}, err
	}
	i.manifests[digest] = images.Manifest{MediaType: media, Raw: raw}
	return v1.Descriptor{MediaType: media, Size: size, Digest: digest}, nil
}
