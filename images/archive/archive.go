// Package archive writes images as docker-archives, which every Docker daemon
// loads. Only two images ever go that way: the node's, and the local
// registry's own; all others are pulled by digest.
package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/progress"
)

// Of describes the image of ref, which is in origin, as an archive. The daemon
// keeps it under its repository, with the start of its configuration's digest
// as the tag. The manifest and the configuration are read now, the layers when
// the archive is written.
func Of(ctx context.Context, origin images.Origin, ref images.Ref, sink progress.Sink) (docker.Archive, error) {
	img, err := open(ctx, origin, ref)
	if err != nil {
		return docker.Archive{}, err
	}
	config, err := img.ConfigName()
	if err != nil {
		return docker.Archive{}, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return docker.Archive{}, fmt.Errorf("%s: its configuration: %w", ref, err)
	}
	archive := docker.Archive{Name: ref.Repository + ":" + config.Hex[:12], Config: config.String()}
	for _, d := range file.RootFS.DiffIDs {
		archive.DiffIDs = append(archive.DiffIDs, d.String())
	}
	archive.Write = func(ctx context.Context, to io.Writer) error {
		return write(ctx, origin, ref, archive.Name, to, sink)
	}
	return archive, nil
}

func write(ctx context.Context, origin images.Origin, ref images.Ref, tag string, to io.Writer, sink progress.Sink) (err error) {
	img, err := open(ctx, origin, ref)
	if err != nil {
		return err
	}
	parsed, err := name.NewTag(tag, name.StrictValidation)
	if err != nil {
		return err
	}
	size, err := tarball.CalculateSize(map[name.Reference]v1.Image{parsed: img})
	if err != nil {
		return err
	}
	task := progress.Start(sink, "images/load/"+ref.Repository, "loading "+ref.Repository+" into Docker", size, progress.Bytes)
	defer func() { task.End(err) }()
	return tarball.Write(parsed, img, io.MultiWriter(to, task))
}

// open returns the image with its layers behind origin.
func open(ctx context.Context, origin images.Origin, ref images.Ref) (v1.Image, error) {
	manifest, err := origin.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !manifest.MediaType.IsImage() {
		return nil, fmt.Errorf("%s is not a single image but %s", ref, manifest.MediaType)
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	source := &source{ctx: ctx, origin: origin, ref: ref, manifest: manifest, parsed: parsed}
	if source.config, err = source.read(parsed.Config); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(source)
}

// source is an image for go-containerregistry, whose interfaces know no
// context: it lives for one call of this package and carries that call's.
type source struct {
	ctx      context.Context //nolint:containedctx // as said above
	origin   images.Origin
	ref      images.Ref
	manifest images.Manifest
	parsed   *v1.Manifest
	config   []byte
}

var _ partial.CompressedImageCore = (*source)(nil)

// RawManifest returns the manifest's bytes.
func (s *source) RawManifest() ([]byte, error) { return s.manifest.Raw, nil }

// MediaType returns the manifest's.
func (s *source) MediaType() (types.MediaType, error) { return s.manifest.MediaType, nil }

// RawConfigFile returns the configuration's bytes.
func (s *source) RawConfigFile() ([]byte, error) { return s.config, nil }

// LayerByDigest returns a layer of the manifest.
func (s *source) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	for _, desc := range s.parsed.Layers {
		if desc.Digest == digest {
			return blob{s, desc}, nil
		}
	}
	return nil, fmt.Errorf("%s has no layer %s", s.ref, digest)
}

func (s *source) read(desc v1.Descriptor) ([]byte, error) {
	r, err := s.origin.Blob(s.ctx, s.ref.Repository, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	return io.ReadAll(r)
}

// blob is one layer.
type blob struct {
	*source
	desc v1.Descriptor
}

// Digest returns the layer's.
func (b blob) Digest() (v1.Hash, error) { return b.desc.Digest, nil }

// Size returns the layer's, in bytes, compressed.
func (b blob) Size() (int64, error) { return b.desc.Size, nil }

// MediaType returns the layer's.
func (b blob) MediaType() (types.MediaType, error) { return b.desc.MediaType, nil }

// Compressed opens the layer as it is kept.
func (b blob) Compressed() (io.ReadCloser, error) {
	return b.origin.Blob(b.ctx, b.ref.Repository, b.desc)
}
