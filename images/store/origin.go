package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// maxManifest bounds what is read into memory as a manifest, bytes.
const maxManifest = 8 << 20

// Origin serves a store's images and takes some in: an images.Origin and an
// images.Target. The store keeps content whatever repository it belongs to.
type Origin struct {
	store *Store
	kind  images.OriginKind
}

var (
	_ images.Origin = (*Origin)(nil)
	_ images.Target = (*Origin)(nil)
)

// NewOrigin returns an origin over s that says it is of the given kind.
func NewOrigin(s *Store, kind images.OriginKind) *Origin { return &Origin{store: s, kind: kind} }

// Kind says which origin this is.
func (o *Origin) Kind() images.OriginKind { return o.kind }

// Manifest returns the manifest or index of ref.
func (o *Origin) Manifest(ctx context.Context, ref images.Ref) (_ images.Manifest, err error) {
	fail := func(err error) (images.Manifest, error) {
		return images.Manifest{}, &fault.Error{Op: "reading a manifest from the image store", Subject: ref.String(), Err: err}
	}
	f, err := o.store.Open(ctx, ref.Digest.String())
	if err != nil {
		return fail(err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err := errors.Join(err, f.Close(), ctx.Err()); err != nil {
		return fail(err)
	}
	if err := images.CheckManifest(raw, ref.Digest); err != nil {
		return fail(err)
	}
	media := images.MediaTypeOf(raw)
	if media == "" {
		return fail(errors.New("it is neither a manifest nor an index"))
	}
	return images.Manifest{MediaType: media, Raw: raw}, nil
}

// Blob opens a config or layer.
func (o *Origin) Blob(ctx context.Context, _ string, desc v1.Descriptor) (io.ReadCloser, error) {
	f, err := o.store.Open(ctx, desc.Digest.String())
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{reader{ctx, images.Verify(f, desc)}, f}, nil
}

// Has reports whether the blob or manifest is there.
func (o *Origin) Has(ctx context.Context, _ string, desc v1.Descriptor) (bool, error) {
	return o.store.Has(ctx, desc.Digest.String())
}

// PutBlob writes a blob.
func (o *Origin) PutBlob(ctx context.Context, _ string, desc v1.Descriptor, content io.Reader) error {
	return o.store.Put(ctx, desc.Digest.String(), images.Verify(io.NopCloser(content), desc))
}

// PutManifest writes a manifest or index, all of whose blobs must be there. An
// index may lack children: those for platforms that nobody asked for.
func (o *Origin) PutManifest(ctx context.Context, ref images.Ref, manifest images.Manifest) error {
	fail := func(err error) error {
		return &fault.Error{Op: "writing a manifest to the image store", Subject: ref.String(), Err: err}
	}
	if err := images.CheckManifest(manifest.Raw, ref.Digest); err != nil {
		return fail(err)
	}
	if manifest.MediaType.IsImage() {
		closure, err := images.Walk(ctx, one{manifest}, ref, nil)
		if err != nil {
			return fail(err)
		}
		for _, b := range closure.Blobs {
			if found, err := o.Has(ctx, ref.Repository, b); err != nil || !found {
				return fail(errors.Join(err, fmt.Errorf("its blob %s is not there: %w", b.Digest, fs.ErrNotExist)))
			}
		}
	}
	w, err := o.store.Create(ctx, ref.Digest.String())
	if err != nil {
		return fail(err)
	}
	_, err = w.Write(manifest.Raw)
	if err == nil {
		_, err = w.Commit()
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// one is the reader of a single manifest.
type one struct{ manifest images.Manifest }

func (o one) Manifest(context.Context, images.Ref) (images.Manifest, error) { return o.manifest, nil }
