package preload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	store "github.com/containerd/containerd/v2/core/content"
	containerd "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

// The namespace that the kubelet's images are in, and the labels that
// containerd's CRI plugin gives an image that it has pulled, with the one that
// keeps the kubelet from removing it: nothing could bring it back.
const (
	namespace   = "k8s.io"
	labelManage = "io.cri-containerd.image"
	labelPinned = "io.cri-containerd.pinned"
)

// epoch is when everything was made.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// database returns the bytes of a meta.db that names the contents.
func database(ctx context.Context, contents []content) (raw []byte, err error) {
	dir, err := os.MkdirTemp("", "kfdev-preload-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	filled, final := filepath.Join(dir, "filled.db"), filepath.Join(dir, "meta.db")
	if err := fill(namespaces.WithNamespace(ctx, namespace), filled, contents); err != nil {
		return nil, err
	}
	if err := settle(filled, final); err != nil {
		return nil, err
	}
	return os.ReadFile(final)
}

func fill(ctx context.Context, file string, contents []content) error {
	// The file is thrown away: it need not survive a crash.
	db, err := bolt.Open(file, 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // closed below on success
	sizes := backend{}
	for _, c := range contents {
		for _, desc := range append([]v1.Descriptor{c.manifest, c.config}, c.layers...) {
			sizes[digest.Digest(desc.Digest.String())] = desc.Size
		}
	}
	meta := metadata.NewDB(db, sizes, nil)
	if err := meta.Init(ctx); err != nil {
		return err
	}
	for _, c := range contents {
		if err := c.record(ctx, meta); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return db.Close()
}

// record writes the image's blobs and names. The labels on the manifest are
// what holds its blobs against the garbage collection.
func (c content) record(ctx context.Context, meta *metadata.DB) error {
	labels := map[string]string{"containerd.io/gc.ref.content.config": c.config.Digest.String()}
	for i, l := range c.layers {
		labels[fmt.Sprintf("containerd.io/gc.ref.content.l.%d", i)] = l.Digest.String()
	}
	if err := recordBlob(ctx, meta, c.manifest, labels); err != nil {
		return err
	}
	for _, desc := range append([]v1.Descriptor{c.config}, c.layers...) {
		if err := recordBlob(ctx, meta, desc, nil); err != nil {
			return err
		}
	}
	images := metadata.NewImageStore(meta)
	for _, name := range c.names() {
		_, err := images.Create(ctx, containerd.Image{
			Name:   name,
			Labels: map[string]string{labelManage: "managed", labelPinned: "pinned"},
			Target: descriptor(c.manifest),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func recordBlob(ctx context.Context, meta *metadata.DB, desc v1.Descriptor, labels map[string]string) error {
	blobs := meta.ContentStore()
	if _, err := blobs.Info(ctx, digest.Digest(desc.Digest.String())); err == nil {
		return nil // a layer of another image too
	}
	w, err := blobs.Writer(ctx, store.WithRef(desc.Digest.String()), store.WithDescriptor(descriptor(desc)))
	if err != nil {
		return err
	}
	err = w.Commit(ctx, desc.Size, digest.Digest(desc.Digest.String()), store.WithLabels(labels))
	return errors.Join(err, w.Close())
}

func descriptor(desc v1.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: string(desc.MediaType), Digest: digest.Digest(desc.Digest.String()), Size: desc.Size}
}

// settle fixes every time in the database at from, and copies it to one whose
// pages are in key order.
func settle(from, to string) error {
	src, err := bolt.Open(from, 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // thrown away
	stamp, err := epoch().MarshalBinary()
	if err != nil {
		return err
	}
	if err := src.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return setTimes(b, stamp) })
	}); err != nil {
		return err
	}
	dst, err := bolt.Open(to, 0o600, nil)
	if err != nil {
		return err
	}
	// One transaction for each key: what the pages look like then depends on
	// the keys alone, and not on how much went into one transaction.
	return errors.Join(bolt.Compact(dst, src, 1), dst.Close())
}

func setTimes(b *bolt.Bucket, stamp []byte) error {
	var times, buckets [][]byte
	if err := b.ForEach(func(k, v []byte) error {
		switch {
		case v == nil:
			buckets = append(buckets, k)
		case string(k) == "createdat" || string(k) == "updatedat":
			times = append(times, k)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, k := range times {
		if err := b.Put(k, stamp); err != nil {
			return err
		}
	}
	for _, k := range buckets {
		if inner := b.Bucket(k); inner != nil {
			if err := setTimes(inner, stamp); err != nil {
				return err
			}
		}
	}
	return nil
}
