package preload

import (
	"context"
	"fmt"

	store "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// backend is the content store below the metadata: it says of every blob that
// it is there with its size, so that the metadata is written without moving a
// byte. The bytes go into the layer beside it.
type backend map[digest.Digest]int64

var _ store.Store = backend(nil)

// Info says that the blob is there.
func (b backend) Info(_ context.Context, dgst digest.Digest) (store.Info, error) {
	size, ok := b[dgst]
	if !ok {
		return store.Info{}, fmt.Errorf("%s: %w", dgst, errdefs.ErrNotFound)
	}
	return store.Info{Digest: dgst, Size: size, CreatedAt: epoch(), UpdatedAt: epoch()}, nil
}

// Walk visits every blob.
func (b backend) Walk(ctx context.Context, fn store.WalkFunc, _ ...string) error {
	for dgst := range b {
		info, err := b.Info(ctx, dgst)
		if err != nil {
			return err
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// The rest of a content store moves bytes, of which there are none here.

func (b backend) Update(context.Context, store.Info, ...string) (store.Info, error) {
	return store.Info{}, none("update")
}
func (b backend) Delete(context.Context, digest.Digest) error { return none("delete") }
func (b backend) ReaderAt(context.Context, ocispec.Descriptor) (store.ReaderAt, error) {
	return nil, none("read")
}
func (b backend) Status(context.Context, string) (store.Status, error) {
	return store.Status{}, none("status")
}
func (b backend) ListStatuses(context.Context, ...string) ([]store.Status, error) { return nil, nil }
func (b backend) Abort(context.Context, string) error                             { return nil }
func (b backend) Writer(context.Context, ...store.WriterOpt) (store.Writer, error) {
	return nil, none("write")
}

func none(what string) error {
	return fmt.Errorf("%s: the blobs are not here: %w", what, errdefs.ErrNotImplemented)
}
