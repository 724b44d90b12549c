package envs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

func (r *upRun) observeRegistry(ctx context.Context) (plan.Work, error) {
	got, err := r.world.Registry(nil).Get(ctx)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return plan.Todo("start the local registry"), nil
	case err != nil:
		return plan.Work{}, err
	case !got.Running:
		return plan.Todo("start the local registry again"), nil
	}
	r.registry = got
	return plan.Nothing("runs at %s", got.Addr), nil
}

func (r *upRun) ensureRegistry(ctx context.Context) (string, error) {
	image, err := r.registryImage(ctx)
	if err != nil {
		return "", err
	}
	if r.registry, err = r.world.Registry(&image).Ensure(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("runs at %s", r.registry.Addr), nil
}

func (r *upRun) observeImages(ctx context.Context) (plan.Work, error) {
	r.toCopy = 0
	missing, there, absent, err := r.whereImagesAre(ctx)
	if err != nil {
		return plan.Work{}, err
	}
	left := ""
	if len(absent) > 0 {
		left = "; left out, as it was baked elsewhere and nothing of the stack runs it: " + strings.Join(absent, ", ")
	}
	if len(missing) == 0 {
		return plan.Nothing("%d are there%s", len(there), left), nil
	}
	work := plan.Todo("copy %d of %d%s", len(missing), len(r.settled.lock.Images), left)
	for _, i := range missing {
		work.Copy += i.Size
	}
	lost, err := r.lost(ctx, missing)
	if err != nil {
		return plan.Work{}, err
	}
	work.Build = len(lost)
	if len(lost) > 0 {
		work.Summary += fmt.Sprintf(", and build first, since the store does not have them: %s", strings.Join(lost, ", "))
		return work, nil
	}
	lacking, known, err := r.lacking(ctx, missing, there)
	if err != nil {
		return plan.Work{}, err
	}
	if known {
		work.Copy = lacking
		if r.registry.Addr.IsValid() { // else its volume may have more than can be seen
			r.toCopy, work.Disk = lacking, lacking
		}
	}
	work.Summary += fmt.Sprintf(", %s", size(work.Copy))
	if r.settled.lock.Origin == images.FromRegistry {
		work.Download, work.Copy = work.Copy, 0
		work.Summary += " to download"
	}
	return work, nil
}

// whereImagesAre sorts the lock's images by whether the local registry lacks
// them or has them. Absent are the entries of those that it lacks, and that can
// be had from nowhere: they were baked on another machine.
func (r *upRun) whereImagesAre(ctx context.Context) (missing, there []lock.Image, absent []string, err error) {
	for _, i := range r.settled.lock.Images {
		has, err := r.hasManifest(ctx, i)
		if err != nil {
			return nil, nil, nil, err
		}
		if has {
			there = append(there, i)
			continue
		}
		gone, err := r.absent(ctx, r.settled.lock, i)
		if err != nil {
			return nil, nil, nil, err
		}
		if gone {
			absent = append(absent, i.Bake.Sync)
		} else {
			missing = append(missing, i)
		}
	}
	return missing, there, absent, nil
}

// hasManifest reports whether the local registry has the image. One that does
// not run has nothing as far as can be told.
func (r *upRun) hasManifest(ctx context.Context, i lock.Image) (bool, error) {
	if !r.registry.Addr.IsValid() {
		return false, nil
	}
	return r.world.Target(r.registry.Addr).Has(ctx, i.Repository, manifestOf(i))
}

// lacking is what the local registry lacks of images that it does not have,
// bytes, each blob once: images share layers, also with those that are there.
// It is not known where a registry that has them does not answer now.
func (r *upRun) lacking(ctx context.Context, missing, there []lock.Image) (sum int64, known bool, err error) {
	counted := map[v1.Hash]bool{}
	for _, i := range missing {
		closure, err := r.closure(ctx, i)
		if err != nil && i.Origin == images.FromRegistry && ctx.Err() == nil {
			return 0, false, nil // copying will say what is wrong
		}
		if err != nil {
			return 0, false, err
		}
		for _, blob := range closure.Blobs {
			if counted[blob.Digest] {
				continue
			}
			counted[blob.Digest] = true
			has, err := r.hasBlob(ctx, append([]lock.Image{i}, there...), blob)
			if err != nil {
				return 0, false, err
			}
			if !has {
				sum += blob.Size
			}
		}
	}
	return sum, true, nil
}

// closure is all that an image leads to. What a registry said once is not asked
// again: some count what is asked of them.
func (r *upRun) closure(ctx context.Context, i lock.Image) (images.Closure, error) {
	if c, ok := r.closures[i.Ref()]; ok {
		return c, nil
	}
	from, err := r.origin(ctx, r.settled.lock, []lock.Image{i})
	if err != nil {
		return images.Closure{}, err
	}
	if i.Origin == images.FromRegistry {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, registryPatience)
		defer cancel()
	}
	c, err := images.Walk(ctx, from, i.Ref(), platformsOf(r.settled.lock))
	if err == nil {
		r.closures[i.Ref()] = c
	}
	return c, err
}

// hasBlob reports whether the local registry has a blob for one of the images.
// One that does not run has nothing as far as can be told.
func (r *upRun) hasBlob(ctx context.Context, of []lock.Image, blob v1.Descriptor) (bool, error) {
	if !r.registry.Addr.IsValid() {
		return false, nil
	}
	for _, i := range of {
		if has, err := r.world.Target(r.registry.Addr).Has(ctx, i.Repository, blob); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func (r *upRun) copyImages(ctx context.Context) (string, error) {
	if err := r.fits(r.toCopy); err != nil {
		return "", err
	}
	missing, there, _, err := r.whereImagesAre(ctx)
	if err != nil {
		return "", err
	}
	all := append(there, missing...)
	var refs []images.Ref
	for _, i := range all {
		if !slices.Contains(refs, i.Ref()) { // two tags may be one image
			refs = append(refs, i.Ref())
		}
	}
	origin, err := r.origin(ctx, r.settled.lock, all)
	if err != nil {
		return "", err
	}
	copier := images.Copier{From: origin, To: r.world.Target(r.registry.Addr), Sink: r.sink, Platforms: platformsOf(r.settled.lock)}
	copied, err := copier.Copy(ctx, refs...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("copied %d blobs, %s; %d were there", copied.Blobs, size(copied.Bytes), copied.Present), nil
}
