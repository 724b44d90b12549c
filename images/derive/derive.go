// Package derive makes an image of another image and one layer more: the same
// configuration, the same layers byte for byte, for every platform. It writes
// nothing; the same base and layer give the same digest.
package derive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// maxConfig bounds what is read as a configuration, bytes.
const maxConfig = 8 << 20

// Reader is what of an origin is needed to read a base.
type Reader interface {
	Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error)
	Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error)
}

// Base is an image that others are derived from.
type Base struct {
	Ref    images.Ref
	index  *images.Manifest // nil where it is a single image
	images []single
}

// single is one platform's image.
type single struct {
	descriptor v1.Descriptor // as the index has it; of a single image, without a platform
	platform   v1.Platform
	manifest   v1.Manifest
	config     map[string]json.RawMessage
	content    images.Closure
}

// Read reads an image for the given platforms: those children of an index, or
// the image itself. A platform that it lacks is a fault of kind NotFound.
func Read(ctx context.Context, from Reader, ref images.Ref, platforms []v1.Platform) (Base, error) {
	fail := func(err error) (Base, error) {
		return Base{}, &fault.Error{Op: "reading the image to build on", Subject: ref.String(), Err: err}
	}
	top, err := from.Manifest(ctx, ref)
	if err != nil {
		return fail(err)
	}
	b := Base{Ref: ref}
	children := []v1.Descriptor{{Digest: ref.Digest, MediaType: top.MediaType, Size: int64(len(top.Raw))}}
	if top.MediaType.IsIndex() {
		b.index = &top
		if children, err = chosen(top, platforms); err != nil {
			return fail(err)
		}
	}
	for _, child := range children {
		s, err := read(ctx, from, ref.Repository, child)
		if err != nil {
			return fail(err)
		}
		b.images = append(b.images, s)
	}
	return b, nil
}

// chosen returns the children of an index for the platforms, in its order.
func chosen(index images.Manifest, platforms []v1.Platform) ([]v1.Descriptor, error) {
	all, err := images.Children(index)
	if err != nil {
		return nil, err
	}
	var out []v1.Descriptor
	found := map[int]bool{}
	for _, child := range all {
		for i, p := range platforms {
			if images.MatchPlatform(p, child.Platform) && !found[i] && child.MediaType.IsImage() {
				found[i] = true
				out = append(out, child)
			}
		}
	}
	for i, p := range platforms {
		if !found[i] {
			return nil, &fault.Error{Kind: fault.NotFound, Err: fmt.Errorf("it has no image for %s", p.String())}
		}
	}
	return out, nil
}

func read(ctx context.Context, from Reader, repository string, child v1.Descriptor) (single, error) {
	s := single{descriptor: child}
	closure, err := images.Walk(ctx, from, images.Ref{Repository: repository, Digest: child.Digest}, nil)
	if err != nil {
		return s, err
	}
	s.content = closure
	node := closure.Nodes[len(closure.Nodes)-1]
	if !node.Manifest.MediaType.IsImage() || len(node.Blobs) == 0 {
		return s, fmt.Errorf("%s is no image", child.Digest)
	}
	if err := json.Unmarshal(node.Manifest.Raw, &s.manifest); err != nil {
		return s, fmt.Errorf("reading a manifest: %w", err)
	}
	s.manifest.MediaType = node.Manifest.MediaType
	raw, err := configOf(ctx, from, repository, s.manifest.Config)
	if err != nil {
		return s, err
	}
	var known struct {
		Architecture, OS, Variant string
	}
	if err := errors.Join(json.Unmarshal(raw, &s.config), json.Unmarshal(raw, &known)); err != nil {
		return s, fmt.Errorf("reading the configuration %s: %w", s.manifest.Config.Digest, err)
	}
	s.platform = v1.Platform{OS: known.OS, Architecture: known.Architecture, Variant: known.Variant}
	if child.Platform != nil {
		s.platform = *child.Platform
	}
	return s, nil
}

func configOf(ctx context.Context, from Reader, repository string, desc v1.Descriptor) ([]byte, error) {
	if desc.Size > maxConfig {
		return nil, fmt.Errorf("a configuration of %d bytes", desc.Size)
	}
	content, err := from.Blob(ctx, repository, desc)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(content)
	return raw, errors.Join(err, content.Close())
}

// Owner is the user that the image runs as, where its configuration says it in
// numbers, and the same for every platform: a name means nothing without the
// image's own list of users.
func (b Base) Owner() (uid, gid int, known bool) {
	for i, s := range b.images {
		var config struct{ User string }
		if json.Unmarshal(s.config["config"], &config) != nil {
			return 0, 0, false
		}
		user, group, grouped := strings.Cut(config.User, ":")
		u, err := strconv.ParseUint(user, 10, 31)
		if err != nil {
			return 0, 0, false
		}
		g, err := strconv.ParseUint(group, 10, 31)
		if grouped && err != nil {
			return 0, 0, false
		}
		if i > 0 && (int(u) != uid || int(g) != gid) {
			return 0, 0, false
		}
		uid, gid = int(u), int(g)
	}
	return uid, gid, len(b.images) > 0
}

// Blobs are the base's configurations and layers, each once.
func (b Base) Blobs() []v1.Descriptor {
	var all []v1.Descriptor
	seen := map[v1.Hash]bool{}
	for _, s := range b.images {
		for _, blob := range s.content.Blobs {
			if !seen[blob.Digest] {
				seen[blob.Digest] = true
				all = append(all, blob)
			}
		}
	}
	return all
}

// layerType is the media type of a gzip-compressed layer beside those of the
// manifest.
func layerType(manifest types.MediaType) types.MediaType {
	if manifest == types.DockerManifestSchema2 {
		return types.DockerLayer
	}
	return types.OCILayer
}
