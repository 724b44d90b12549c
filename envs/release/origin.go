package release

import (
	"bytes"
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// origin is an artifact as images.Copier takes it.
type origin struct {
	artifact   Artifact
	repository string
}

// Origin returns an origin of one artifact, under the name of a repository.
func Origin(a Artifact, repository string) images.Origin { return origin{a, repository} }

// Kind says that it was made here.
func (o origin) Kind() images.OriginKind { return images.FromSource }

// Manifest returns the artifact's manifest.
func (o origin) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	if ref.Repository != o.repository || ref.Digest != o.artifact.Digest {
		return images.Manifest{}, &fault.Error{Op: "reading the release", Subject: ref.String(), Kind: fault.NotFound, Err: errors.New("this is another release")}
	}
	return o.artifact.Manifest, ctx.Err()
}

// Blob opens one of the artifact's texts.
func (o origin) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	data, ok := o.artifact.Blobs[desc.Digest]
	if repository != o.repository || !ok {
		return nil, &fault.Error{Op: "reading the release", Subject: desc.Digest.String(), Kind: fault.NotFound, Err: errors.New("it has no such part")}
	}
	return images.Verify(io.NopCloser(bytes.NewReader(data)), desc), ctx.Err()
}
