// Package preload lays images out as containerd keeps them in its own folder,
// so that a node whose containerd has never run finds them as if they had been
// pulled: the blobs in its content store, and a metadata database that names
// them. Nothing is unpacked; containerd does that when an image first runs.
//
// The database is written by containerd's own package and then brought to a
// form that depends on nothing but the images: fixed times, pages in key order.
package preload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
)

// Where containerd keeps its content and its metadata, below an image's root.
const (
	contentDir = "var/lib/containerd/io.containerd.content.v1.content"
	metaFile   = "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
)

// Image is an image to be preloaded, and the name with a tag that it is asked
// for by.
type Image struct {
	Name string
	Ref  images.Ref
}

// content is one image with what its manifest names.
type content struct {
	Image
	manifest v1.Descriptor
	raw      []byte // the manifest
	config   v1.Descriptor
	layers   []v1.Descriptor
}

// Tree returns the layer that holds the images, whose bytes come from origin.
// Each must be a single image; an index is refused.
func Tree(ctx context.Context, origin images.Origin, list []Image) (*layer.Tree, error) {
	var contents []content
	for _, image := range list {
		c, err := read(ctx, origin, image)
		if err != nil {
			return nil, err
		}
		contents = append(contents, c)
	}
	// The order in which the database is filled is the names', whatever the recipe's.
	slices.SortFunc(contents, func(a, b content) int { return strings.Compare(a.Name, b.Name) })
	meta, err := database(ctx, contents)
	if err != nil {
		return nil, fmt.Errorf("writing containerd's metadata: %w", err)
	}
	tree := &layer.Tree{}
	if err := tree.AddBytes(metaFile, 0o600, meta); err != nil {
		return nil, err
	}
	if err := tree.Add(layer.Entry{Path: contentDir + "/ingest", Type: layer.Dir, Mode: 0o755}); err != nil {
		return nil, err
	}
	for _, c := range contents {
		if err := c.addTo(ctx, tree, origin); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

func read(ctx context.Context, origin images.Origin, image Image) (content, error) {
	manifest, err := origin.Manifest(ctx, image.Ref)
	if err != nil {
		return content{}, err
	}
	if !manifest.MediaType.IsImage() {
		return content{}, fmt.Errorf("%s is not a single image but %s", image.Ref, manifest.MediaType)
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return content{}, fmt.Errorf("%s: %w", image.Ref, err)
	}
	return content{
		Image:    image,
		manifest: v1.Descriptor{MediaType: manifest.MediaType, Digest: image.Ref.Digest, Size: int64(len(manifest.Raw))},
		raw:      manifest.Raw,
		config:   parsed.Config,
		layers:   parsed.Layers,
	}, nil
}

// addTo puts the image's blobs into the tree; one that is there already, of
// another image, is the same.
func (c content) addTo(ctx context.Context, tree *layer.Tree, origin images.Origin) error {
	add := func(desc v1.Descriptor, open func() (io.ReadCloser, error)) error {
		name := path.Join(contentDir, "blobs", desc.Digest.Algorithm, desc.Digest.Hex)
		if _, there := tree.Get(name); there {
			return nil
		}
		return tree.Add(layer.Entry{Path: name, Type: layer.File, Mode: 0o444, Size: desc.Size, Open: open})
	}
	if err := add(c.manifest, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.raw)), nil }); err != nil {
		return err
	}
	for _, desc := range append([]v1.Descriptor{c.config}, c.layers...) {
		open := func() (io.ReadCloser, error) { return origin.Blob(ctx, c.Ref.Repository, desc) }
		if err := add(desc, open); err != nil {
			return err
		}
	}
	return nil
}

// names are all that containerd knows the image by once it has pulled it: the
// name asked for, the name by digest, and the configuration's digest, which is
// the image's ID to the kubelet.
func (c content) names() []string {
	repository := c.Name
	if at := strings.LastIndex(repository, ":"); at > strings.LastIndex(repository, "/") {
		repository = repository[:at]
	}
	return []string{c.Name, repository + "@" + c.Ref.Digest.String(), c.config.Digest.String()}
}
