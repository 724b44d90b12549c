package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/internal/fault"
)

// maxIndexDepth bounds how deep indexes are followed into one another.
const maxIndexDepth = 4

// Node is one manifest or index of a closure.
type Node struct {
	Ref      Ref
	Platform *v1.Platform // as its index gives it; nil where no index does
	Manifest Manifest
	Blobs    []v1.Descriptor // config first, then layers; none for an index
}

// Closure is all that one reference leads to: index, children, configs and
// layers.
type Closure struct {
	Ref   Ref
	Nodes []Node          // children before the index that holds them; the last is Ref's own
	Blobs []v1.Descriptor // of all nodes, each digest once
}

// Size is the sum of the closure's blobs and manifests, bytes.
func (c Closure) Size() int64 {
	var sum int64
	for _, b := range c.Blobs {
		sum += b.Size
	}
	for _, n := range c.Nodes {
		sum += int64(len(n.Manifest.Raw))
	}
	return sum
}

// manifestReader is the part of an Origin that a walk needs.
type manifestReader interface {
	Manifest(ctx context.Context, ref Ref) (Manifest, error)
}

// Walk reads the closure of ref. Of an index only the children for the given
// platforms are followed (all of them, attestations too, when none is given);
// the index itself stays as it is. A child that is followed and missing is an
// error, as is a media type that is neither image nor index.
func Walk(ctx context.Context, from manifestReader, ref Ref, platforms []v1.Platform) (Closure, error) {
	w := walker{from: from, platforms: platforms, seen: map[v1.Hash]bool{}}
	closure := Closure{Ref: ref}
	if err := w.visit(ctx, &closure, ref, nil, 0); err != nil {
		return Closure{}, &fault.Error{Op: "reading the closure of", Subject: ref.String(), Err: err}
	}
	return closure, nil
}

type walker struct {
	from      manifestReader
	platforms []v1.Platform
	seen      map[v1.Hash]bool
}

func (w *walker) visit(ctx context.Context, closure *Closure, ref Ref, platform *v1.Platform, depth int) error {
	if w.seen[ref.Digest] {
		return nil
	}
	w.seen[ref.Digest] = true
	manifest, err := w.from.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	node := Node{Ref: ref, Platform: platform, Manifest: manifest}
	switch {
	case manifest.MediaType.IsIndex():
		if depth >= maxIndexDepth {
			return errors.New("indexes are nested too deep")
		}
		err = w.visitChildren(ctx, closure, node, depth)
	case manifest.MediaType.IsImage():
		node.Blobs, err = blobsOf(manifest)
		for _, b := range node.Blobs {
			if !w.seen[b.Digest] {
				w.seen[b.Digest] = true
				closure.Blobs = append(closure.Blobs, b)
			}
		}
	default:
		err = fmt.Errorf("media type %q is neither an image nor an index", manifest.MediaType)
	}
	if err != nil {
		return err
	}
	closure.Nodes = append(closure.Nodes, node)
	return nil
}

func (w *walker) visitChildren(ctx context.Context, closure *Closure, index Node, depth int) error {
	children, err := Children(index.Manifest)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !child.MediaType.IsIndex() && !w.wanted(child) {
			continue
		}
		ref := Ref{Repository: index.Ref.Repository, Digest: child.Digest}
		if err := w.visit(ctx, closure, ref, child.Platform, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) wanted(child v1.Descriptor) bool {
	if len(w.platforms) == 0 {
		return true
	}
	return slices.ContainsFunc(w.platforms, func(p v1.Platform) bool { return MatchPlatform(p, child.Platform) })
}

// Children returns the descriptors that an index lists, in its order.
func Children(manifest Manifest) ([]v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return nil, fmt.Errorf("reading an index: %w", err)
	}
	for _, child := range index.Manifests {
		if err := checkDescriptor(child); err != nil {
			return nil, fmt.Errorf("reading an index: %w", err)
		}
	}
	return index.Manifests, nil
}

// MatchPlatform reports whether an image for have is one for want: system and
// architecture are the same, and so is the variant where want names one (for
// arm64, v8 is the same as none).
func MatchPlatform(want v1.Platform, have *v1.Platform) bool {
	if have == nil || want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	if want.Variant == "" || want.Variant == have.Variant {
		return true
	}
	return want.Architecture == "arm64" && want.Variant == "v8" && have.Variant == ""
}

// blobsOf returns config and layers of an image manifest, without layers that
// may not be distributed (they name a URL of their own).
func blobsOf(manifest Manifest) ([]v1.Descriptor, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	blobs := []v1.Descriptor{m.Config}
	for _, l := range m.Layers {
		if l.MediaType.IsDistributable() || len(l.URLs) == 0 {
			blobs = append(blobs, l)
		}
	}
	for _, b := range blobs {
		if err := checkDescriptor(b); err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
	}
	return blobs, nil
}

// checkDescriptor refuses what no honest manifest holds, before a size or a
// digest of it is used for anything.
func checkDescriptor(d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 {
		return fmt.Errorf("descriptor has the digest %q, not a sha256", d.Digest)
	}
	if d.Size < 0 {
		return fmt.Errorf("descriptor of %s has the size %d", d.Digest, d.Size)
	}
	return nil
}

// MediaTypeOf returns the media type that raw names itself, or "" where it
// names none and its shape does not tell.
func MediaTypeOf(raw []byte) types.MediaType {
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	switch {
	case err != nil:
		return ""
	case m.MediaType != "":
		return m.MediaType
	case len(m.Manifests) > 0:
		return types.OCIImageIndex
	}
	if im, err := v1.ParseManifest(bytes.NewReader(raw)); err == nil && im.Config.Digest.Hex != "" {
		return types.OCIManifestSchema1
	}
	return ""
}
