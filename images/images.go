// Package images holds the words of the image domain: a reference by digest,
// where its bytes come from (Origin), where they go (Target), and the copy
// between the two. kfdev never runs a tag; a tag is resolved once, at lock.
package images

import (
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// SourceHost is the registry host in the name of every image built from
// source. The .internal top-level domain is reserved for private use, so such
// a name can never be taken for, or fetched from, a public registry.
const SourceHost = "kfdev.internal"

// Ref names an image by digest. The zero Ref names nothing.
type Ref struct {
	Repository string  // with the registry's host: "quay.io/argoproj/argoexec"
	Digest     v1.Hash // of a manifest or an index
}

// String returns repository@algorithm:hex.
func (r Ref) String() string { return r.Repository + "@" + r.Digest.String() }

// ParseRef reads the form that String writes. A tag, with or without a digest
// behind it, is refused.
func ParseRef(s string) (Ref, error) {
	repository, digest, ok := strings.Cut(s, "@")
	if !ok || repository == "" {
		return Ref{}, fmt.Errorf("%q is not repository@digest", s)
	}
	if strings.Contains(repository[strings.LastIndex(repository, "/")+1:], ":") {
		return Ref{}, fmt.Errorf("%q has a tag; only repository@digest is taken", s)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w", s, err)
	}
	return Ref{Repository: repository, Digest: hash}, nil
}

// OriginKind is where an image's bytes come from, as the lock records it.
type OriginKind string

// The origins.
const (
	FromRegistry OriginKind = "registry"
	FromSource   OriginKind = "source"
	// FromBake is an image that kfdev made of another one and a folder's files;
	// it can be made again only where these files are.
	FromBake OriginKind = "bake"
)

// Manifest is a manifest or an index, byte for byte as its digest says.
type Manifest struct {
	MediaType types.MediaType
	Raw       []byte
}

// Origin is where bytes come from: digest in, verified bytes out. Every
// implementation passes the suite in images/origintest.
type Origin interface {
	// Kind says which origin this is.
	Kind() OriginKind
	// Manifest returns the manifest or index of ref, checked against its
	// digest. One that is not there is a fault of kind NotFound.
	Manifest(ctx context.Context, ref Ref) (Manifest, error)
	// Blob opens a config or layer of the repository. A reader that is read to
	// its end fails unless size and digest are desc's; the caller closes it.
	Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error)
}

// Target is where bytes go: a registry, or a store.
type Target interface {
	// Has reports whether the blob or manifest is there already.
	Has(ctx context.Context, repository string, desc v1.Descriptor) (bool, error)
	// PutBlob writes a blob; it fails, and leaves nothing, unless the bytes are
	// desc's.
	PutBlob(ctx context.Context, repository string, desc v1.Descriptor, content io.Reader) error
	// PutManifest writes a manifest or index whose blobs are all there.
	PutManifest(ctx context.Context, ref Ref, manifest Manifest) error
}
