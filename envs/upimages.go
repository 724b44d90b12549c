package envs

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	var missing []lock.Image
	for _, i := range r.settled.lock.Images {
		if r.registry.Addr.IsValid() {
			has, err := r.world.Target(r.registry.Addr).Has(ctx, i.Repository, manifestOf(i))
			if err != nil {
				return plan.Work{}, err
			}
			if has {
				continue
			}
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return plan.Nothing("%d are there", len(r.settled.lock.Images)), nil
	}
	work := plan.Todo("copy %d of %d", len(missing), len(r.settled.lock.Images))
	for _, i := range missing {
		work.Copy += i.Size
	}
	lost, err := r.lost(ctx, missing)
	if err != nil {
		return plan.Work{}, err
	}
	switch work.Build = len(lost); {
	case r.settled.lock.Origin == images.FromRegistry:
		work.Download, work.Copy = work.Copy, 0
		work.Summary += fmt.Sprintf(", %s to download", size(work.Download))
	case len(lost) > 0:
		work.Summary += fmt.Sprintf(", and build first, since the store does not have them: %s", strings.Join(lost, ", "))
	default:
		work.Summary += fmt.Sprintf(", %s", size(work.Copy))
	}
	return work, nil
}

func (r *upRun) copyImages(ctx context.Context) (string, error) {
	var refs []images.Ref
	for _, i := range r.settled.lock.Images {
		if !slices.Contains(refs, i.Ref()) { // two tags may be one image
			refs = append(refs, i.Ref())
		}
	}
	origin, err := r.origin(ctx, r.settled.lock, r.settled.lock.Images)
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
