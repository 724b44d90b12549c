package source

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// fetchesAtOnce is how many layers' inputs are fetched at a time.
const fetchesAtOnce = 3

// Build has every pinned image in the store, and builds those that are not
// there. Layers that were made before are taken as they are; what is missing is
// fetched beside what is being built, one Go build runs at a time, and no more
// at once than memory allows. When one fails, the rest stops, and what was made
// stays for the next time.
func (b *Builder) Build(ctx context.Context, pinned Pinned) (_ []Image, err error) {
	release, err := b.Store.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	there := b.there(ctx, pinned)
	recipes, err := b.match(pinned, there)
	if err != nil {
		return nil, err
	}
	if err := b.check(ctx, pinned, recipes, there); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	r := &run{
		Builder: b, group: g, layers: map[string]*future[madeLayer]{}, images: map[string]*future[Image]{},
		fetches: semaphore.NewWeighted(fetchesAtOnce), goBuild: semaphore.NewWeighted(1), busy: semaphore.NewWeighted(int64(runtime.NumCPU())),
		budget: b.Host.budget(),
	}
	r.memory = semaphore.NewWeighted(r.budget)
	for _, p := range pinned.Images {
		r.images[p.Name] = newFuture[Image]()
	}
	for i, p := range pinned.Images {
		if image, ok := there[p.Name]; ok {
			_ = r.images[p.Name].set(image, nil)
			continue
		}
		g.Go(func() error {
			image, err := r.image(ctx, p, recipes[i])
			return r.images[p.Name].set(image, err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	built := make([]Image, 0, len(pinned.Images))
	for _, p := range pinned.Images {
		built = append(built, r.images[p.Name].value)
	}
	return built, nil
}

// there returns the images whose digest is known and in the store. Nothing has
// to be known about how they were made, so that a lock of an older kfdev still
// serves.
func (b *Builder) there(ctx context.Context, pinned Pinned) map[string]Image {
	found := map[string]Image{}
	for _, p := range pinned.Images {
		if p.Digest.Hex == "" {
			continue
		}
		image, err := describe(ctx, b.Store, images.Ref{Repository: Repository(p.Name), Digest: p.Digest})
		if err != nil {
			continue // it is built again
		}
		image.PinnedImage, image.Reused = p, true
		found[p.Name] = image
	}
	return found
}

// match loads the recipe of every pinned image that is to be built, and fails
// where it is not the one that was pinned.
func (b *Builder) match(pinned Pinned, there map[string]Image) ([]recipe.Image, error) {
	recipes := make([]recipe.Image, len(pinned.Images))
	known := map[string]bool{}
	for i, p := range pinned.Images {
		if _, ok := there[p.Name]; ok {
			known[p.Name] = true
			continue
		}
		image, err := recipe.Load(b.Catalog, p.Name)
		if err != nil {
			return nil, err
		}
		if image.Digest != p.Recipe || len(image.Parts) != len(p.Layers) {
			return nil, &fault.Error{
				Op: "building the image", Subject: p.Name, Kind: fault.Drift, Hint: "run kfdev lock --update " + p.Name,
				Err: errors.New("this kfdev's recipe is not the one that is locked"),
			}
		}
		for _, inner := range preloads(image) {
			if !known[inner] {
				return nil, fmt.Errorf("image %s holds %s, which is not pinned before it", p.Name, inner)
			}
		}
		recipes[i], known[p.Name] = image, true
	}
	return recipes, nil
}

// run is one build of several images.
type run struct {
	*Builder
	group  *errgroup.Group
	images map[string]*future[Image] // filled before the first goroutine

	mu     sync.Mutex
	layers map[string]*future[madeLayer]

	fetches, goBuild, busy, memory *semaphore.Weighted
	budget                         int64
}

// image has one image in the store.
func (r *run) image(ctx context.Context, p PinnedImage, image recipe.Image) (_ Image, err error) {
	layers, err := r.resolve(ctx, p, image)
	if err != nil {
		return Image{}, err
	}
	keys, err := r.keys(image, layers)
	if err != nil {
		return Image{}, err
	}
	key := imageKey(image, keys)
	task := progress.Start(r.Sink, "images/build/"+p.Name, "building "+p.Name, int64(len(keys)), progress.Items)
	defer func() { task.End(err) }()
	if built, ok := r.reuse(ctx, key, p.Name); ok {
		task.Skip(p.Name + " is built")
		return r.done(built, p, layers, true)
	}
	futures := make([]*future[madeLayer], len(keys))
	for i, k := range keys {
		futures[i] = r.layer(ctx, k, image.Parts[i], spec(image, i, layers), layers[i])
	}
	made := make([]madeLayer, len(keys))
	for i, f := range futures {
		if made[i], err = f.wait(ctx); err != nil {
			return Image{}, err
		}
		task.Add(1)
	}
	ref, err := assemble(ctx, r.Store, image, made)
	if err != nil {
		return Image{}, &fault.Error{Op: "building the image", Subject: p.Name, Err: err}
	}
	built, err := describe(ctx, r.Store, ref)
	if err != nil {
		return Image{}, &fault.Error{Op: "building the image", Subject: p.Name, Err: err}
	}
	blobs := []v1.Hash{ref.Digest, built.Config}
	for _, l := range made {
		blobs = append(blobs, l.Digest)
	}
	if err := r.Store.SetRecord(imageRecords, key, ref.Digest, blobs...); err != nil {
		return Image{}, err
	}
	return r.done(built, p, layers, false)
}

// resolve returns the image's inputs with the digests of the images that it
// holds filled in.
func (r *run) resolve(ctx context.Context, p PinnedImage, image recipe.Image) ([][]recipe.Input, error) {
	layers := slices.Clone(p.Layers)
	for i, part := range image.Parts {
		if part.Layer.Preload == nil {
			continue
		}
		layers[i] = slices.Clone(layers[i])
		for j, in := range layers[i] {
			f, ok := r.images[in.Name]
			if !ok {
				return nil, fmt.Errorf("image %s holds %s, which is not pinned", p.Name, in.Name)
			}
			held, err := f.wait(ctx)
			if err != nil {
				return nil, err
			}
			layers[i][j].Hash = held.Digest.String()
		}
	}
	return layers, nil
}

// reuse returns the image that the key came to before, if it is still whole.
func (b *Builder) reuse(ctx context.Context, key, name string) (Image, bool) {
	ref := images.Ref{Repository: Repository(name)}
	if found, err := b.Store.Record(imageRecords, key, &ref.Digest); !found || err != nil {
		return Image{}, false
	}
	built, err := describe(ctx, b.Store, ref)
	return built, err == nil
}

// done returns the built image with what it was made of, and fails where the
// same came to something else before.
func (r *run) done(built Image, p PinnedImage, layers [][]recipe.Input, reused bool) (Image, error) {
	if p.Digest.Hex != "" && p.Digest != built.Digest {
		return Image{}, &fault.Error{
			Op: "building the image", Subject: p.Name, Kind: fault.Drift,
			Hint: "run kfdev lock --update " + p.Name + " if another kfdev made the lock; else this is a mistake of kfdev, please report it",
			Err:  fmt.Errorf("the same inputs come to %s here, and to %s in the lock", built.Digest, p.Digest),
		}
	}
	p.Layers, p.Digest = layers, built.Digest
	built.PinnedImage, built.Reused = p, reused
	return built, nil
}
