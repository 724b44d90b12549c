package localregistry

import (
	"context"
	"errors"
	"fmt"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kfdev/kfdev/internal/fault"
)

// Pruned says what Prune removed.
type Pruned struct {
	Manifests int
	Blobs     int   // manifests among them
	Bytes     int64 // on disk
}

// Prune removes every manifest of the registry in root that is neither in keep
// nor a child of an index in keep, and then every blob that no manifest names.
// Nobody may push meanwhile.
func Prune(ctx context.Context, root string, keep []v1.Hash) (Pruned, error) {
	p, err := openPruner(ctx, root, keep)
	if err != nil {
		return Pruned{}, &fault.Error{Op: "pruning the registry", Subject: root, Err: err}
	}
	pruned, err := p.run(ctx)
	if err != nil {
		return pruned, &fault.Error{Op: "pruning the registry", Subject: root, Err: err}
	}
	return pruned, nil
}

type pruner struct {
	driver   driver.StorageDriver
	registry distribution.Namespace
	keep     map[digest.Digest]bool
}

func openPruner(ctx context.Context, root string, keep []v1.Hash) (*pruner, error) {
	d, err := factory.Create(ctx, "filesystem", map[string]any{"rootdirectory": root})
	if err != nil {
		return nil, err
	}
	registry, err := storage.NewRegistry(ctx, d, storage.EnableDelete)
	if err != nil {
		return nil, err
	}
	p := &pruner{driver: d, registry: registry, keep: map[digest.Digest]bool{}}
	for _, k := range keep {
		p.keep[digest.Digest(k.String())] = true
	}
	return p, nil
}

func (p *pruner) run(ctx context.Context) (Pruned, error) {
	var pruned Pruned
	if _, err := p.driver.Stat(ctx, contentPath); err != nil {
		return pruned, ignoreAbsent(err) // nothing was ever pushed
	}
	repositories, err := p.repositories(ctx)
	if err != nil {
		return pruned, err
	}
	blobs, bytes, err := p.count(ctx)
	if err != nil {
		return pruned, err
	}
	for _, r := range repositories {
		n, err := p.pruneRepository(ctx, r)
		pruned.Manifests += n
		if err != nil {
			return pruned, fmt.Errorf("repository %s: %w", r, err)
		}
	}
	if err := storage.MarkAndSweep(ctx, p.driver, p.registry, storage.GCOpts{Quiet: true}); err != nil {
		return pruned, err
	}
	blobsNow, bytesNow, err := p.count(ctx)
	pruned.Blobs, pruned.Bytes = blobs-blobsNow, bytes-bytesNow
	return pruned, err
}

// repositories returns the names of all that hold manifests.
func (p *pruner) repositories(ctx context.Context) ([]string, error) {
	enumerator, ok := p.registry.(distribution.RepositoryEnumerator)
	if !ok {
		return nil, errors.New("the registry cannot list its repositories")
	}
	var names []string
	err := enumerator.Enumerate(ctx, func(name string) error {
		names = append(names, name)
		return nil
	})
	return names, ignoreAbsent(err)
}

// pruneRepository deletes the manifests of one repository that are not kept.
func (p *pruner) pruneRepository(ctx context.Context, repository string) (int, error) {
	named, err := reference.WithName(repository)
	if err != nil {
		return 0, err
	}
	repo, err := p.registry.Repository(ctx, named)
	if err != nil {
		return 0, err
	}
	manifests, err := repo.Manifests(ctx)
	if err != nil {
		return 0, err
	}
	enumerator, ok := manifests.(distribution.ManifestEnumerator)
	if !ok {
		return 0, errors.New("the repository cannot list its manifests")
	}
	var all []digest.Digest
	err = enumerator.Enumerate(ctx, func(d digest.Digest) error {
		all = append(all, d)
		return nil
	})
	if err := ignoreAbsent(err); err != nil {
		return 0, err
	}
	kept := map[digest.Digest]bool{}
	for _, d := range all {
		if err := p.mark(ctx, manifests, d, kept); err != nil {
			return 0, err
		}
	}
	removed := 0
	for _, d := range all {
		if kept[d] {
			continue
		}
		if err := manifests.Delete(ctx, d); err != nil {
			return removed, fmt.Errorf("deleting %s: %w", d, err)
		}
		removed++
	}
	return removed, nil
}

// mark puts d, when it is to be kept, and what it names into kept.
func (p *pruner) mark(ctx context.Context, manifests distribution.ManifestService, d digest.Digest, kept map[digest.Digest]bool) error {
	if !p.keep[d] {
		return nil
	}
	manifest, err := manifests.Get(ctx, d)
	if err != nil {
		return fmt.Errorf("reading %s: %w", d, err)
	}
	kept[d] = true
	for _, ref := range manifest.References() {
		kept[ref.Digest] = true // layers too; no manifest has a layer's digest
	}
	return nil
}

// count returns the number of blobs and their bytes.
func (p *pruner) count(ctx context.Context) (int, int64, error) {
	count, bytes := 0, int64(0)
	err := p.registry.Blobs().Enumerate(ctx, func(d digest.Digest) error {
		desc, err := p.registry.BlobStatter().Stat(ctx, d)
		if err != nil {
			return err
		}
		count++
		bytes += desc.Size
		return nil
	})
	return count, bytes, ignoreAbsent(err)
}

func ignoreAbsent(err error) error {
	var absent driver.PathNotFoundError
	if errors.As(err, &absent) {
		return nil
	}
	return err
}
