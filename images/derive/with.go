package derive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
)

// Layer is what a base gets on top: a gzip-compressed tar archive.
type Layer struct {
	Digest v1.Hash // of what travels
	DiffID v1.Hash // of the tar archive
	Size   int64   // of what travels, bytes
	// Comment says for people where it came from; it is part of the image.
	Comment string
}

// Derived is a new image: the content that the base does not have.
type Derived struct {
	Ref       images.Ref
	MediaType types.MediaType
	Size      int64 // of all blobs, each once, bytes
	Children  []Child
	Manifests []Manifest         // in an order in which each comes after what it names
	Configs   map[v1.Hash][]byte // the configurations
}

// Child is the image for one platform.
type Child struct {
	Platform v1.Platform
	Digest   v1.Hash
	Size     int64 // of its blobs, bytes
}

// Manifest is one manifest or index of a new image.
type Manifest struct {
	Ref images.Ref
	images.Manifest
}

// Annotations of an image that was made from another (OCI image specification
// 1.1, annotations.md).
const (
	baseDigest = "org.opencontainers.image.base.digest"
	baseName   = "org.opencontainers.image.base.name"
)

// created is the time that every image says its newest layer was made at: that
// of the files in layers.
const created = "1970-01-01T00:00:01Z"

// With returns the image with the layer on top of every platform, under the
// given repository.
func (b Base) With(layer Layer, repository string) (Derived, error) {
	d := Derived{Configs: map[v1.Hash][]byte{}}
	seen := map[v1.Hash]bool{}
	var descriptors []v1.Descriptor
	for _, s := range b.images {
		manifest, child, err := s.with(layer, b.Ref, d.Configs)
		if err != nil {
			return d, err
		}
		ref, err := d.put(repository, s.manifest.MediaType, manifest)
		if err != nil {
			return d, err
		}
		child.Digest = ref.Digest
		d.Children = append(d.Children, child)
		for _, blob := range append([]v1.Descriptor{manifest.Config}, manifest.Layers...) {
			if !seen[blob.Digest] {
				seen[blob.Digest] = true
				d.Size += blob.Size
			}
		}
		top := d.Manifests[len(d.Manifests)-1]
		platform := child.Platform
		descriptors = append(descriptors, v1.Descriptor{MediaType: top.MediaType, Size: int64(len(top.Raw)), Digest: ref.Digest, Platform: &platform})
	}
	if b.index == nil {
		return d, nil
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: b.index.MediaType, Manifests: descriptors}
	if index.MediaType == types.OCIImageIndex {
		index.Annotations = annotations(b.Ref, b.Ref.Digest)
	}
	_, err := d.put(repository, index.MediaType, index)
	return d, err
}

func annotations(base images.Ref, digest v1.Hash) map[string]string {
	return map[string]string{baseName: base.String(), baseDigest: digest.String()}
}

// put adds a manifest; the last one is the image's own.
func (d *Derived) put(repository string, media types.MediaType, value any) (images.Ref, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return images.Ref{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return images.Ref{}, err
	}
	d.Ref, d.MediaType = images.Ref{Repository: repository, Digest: digest}, media
	d.Manifests = append(d.Manifests, Manifest{Ref: d.Ref, Manifest: images.Manifest{MediaType: media, Raw: raw}})
	return d.Ref, nil
}

// with returns one platform's manifest with the layer on top.
func (s single) with(layer Layer, base images.Ref, configs map[v1.Hash][]byte) (v1.Manifest, Child, error) {
	config, err := s.configWith(layer)
	if err != nil {
		return v1.Manifest{}, Child{}, fmt.Errorf("the configuration for %s: %w", s.platform.String(), err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return v1.Manifest{}, Child{}, err
	}
	configs[digest] = config
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: s.manifest.MediaType,
		Config: v1.Descriptor{MediaType: s.manifest.Config.MediaType, Size: size, Digest: digest},
		Layers: append(append([]v1.Descriptor{}, s.manifest.Layers...), v1.Descriptor{MediaType: layerType(s.manifest.MediaType), Size: layer.Size, Digest: layer.Digest}),
	}
	if m.MediaType == types.OCIManifestSchema1 {
		m.Annotations = annotations(base, s.descriptor.Digest)
	}
	child := Child{Platform: s.platform}
	seen := map[v1.Hash]bool{}
	for _, blob := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !seen[blob.Digest] {
			seen[blob.Digest] = true
			child.Size += blob.Size
		}
	}
	return m, child, nil
}

// configWith is the base's configuration with the layer in its lists. All else
// stays as it is, also what this program does not know. A history that does not
// tell of every layer is left out of it: it could not tell of this one.
func (s single) configWith(layer Layer) ([]byte, error) {
	var content struct {
		Type    string    `json:"type"`
		DiffIDs []v1.Hash `json:"diff_ids"`
	}
	if err := json.Unmarshal(s.config["rootfs"], &content); err != nil {
		return nil, fmt.Errorf("rootfs: %w", err)
	}
	if len(content.DiffIDs) != len(s.manifest.Layers) {
		return nil, errors.New("it names other layers than the manifest")
	}
	content.DiffIDs = append(content.DiffIDs, layer.DiffID)
	history, err := historyWith(s.config["history"], len(s.manifest.Layers), layer)
	if err != nil {
		return nil, err
	}
	next := map[string]any{}
	for key, value := range s.config {
		next[key] = value
	}
	next["rootfs"], next["created"] = content, created
	delete(next, "history")
	if history != nil {
		next["history"] = history
	}
	return json.Marshal(next) // its keys are sorted
}

func historyWith(raw json.RawMessage, layers int, layer Layer) ([]json.RawMessage, error) {
	var history []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &history); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
	}
	told := 0
	for _, each := range history {
		var h struct {
			Empty bool `json:"empty_layer"`
		}
		if err := json.Unmarshal(each, &h); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if !h.Empty {
			told++
		}
	}
	if told != layers {
		return nil, nil
	}
	mine, err := json.Marshal(map[string]string{"created": created, "created_by": "kfdev sync bake", "comment": layer.Comment})
	return append(history, mine), err
}
