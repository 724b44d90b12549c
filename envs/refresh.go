package envs

import (
	"context"
	"errors"
	"fmt"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// refreshed reports whether up answers an error of settled by locking: the lock
// is not there, or it is not the lock of just this project.
func refreshed(err error) bool {
	kind := fault.KindOf(err)
	return err != nil && (kind == fault.NotFound || kind == fault.Drift)
}

// refreshLock brings the lock up to date where it is not the project's.
func (e *Engine) refreshLock(ctx context.Context) error {
	_, err := e.settled(ctx)
	if !refreshed(err) {
		return err
	}
	progress.Say(e.sink, "kfdev.lock is not there or not this project's; locking first")
	result, err := e.writeLock(ctx, LockOptions{})
	if err != nil {
		return err
	}
	progress.Say(e.sink, fmt.Sprintf("locked %d images, origin %s (%s)", result.Images, result.Origin, result.Why))
	return nil
}

// planFromLock says what an up would do that has to lock first; why is what the
// lock lacks. Where nothing has to be built for it, the lock is computed, not
// written, and the rest of the plan follows from it.
func (e *Engine) planFromLock(ctx context.Context, o UpOptions, why error) ([]plan.Item, error) {
	old, _, err := lock.Load(e.file.Dir)
	had := err == nil
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	l := &locker{Engine: e, old: old, had: had}
	next, parts, all, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	work := plan.Todo("write kfdev.lock, origin %s (%s), since %s", next.Origin, l.why, lacks(had, why))
	item := plan.Item{ID: "lock", Title: "Lock", Work: work}
	if next.Origin == images.FromSource {
		_, pinned, err := l.pin(ctx, next.Platforms, all)
		if err != nil {
			return nil, err
		}
		will, err := e.builder.Plan(ctx, pinned)
		if err != nil {
			return nil, err
		}
		if len(will.Layers) > 0 {
			item.Work.Summary += "; " + e.toBuild(will, pinned) + "; the rest follows from it"
			item.Work.Download, item.Work.Build = will.Download, toMake(will)
			return []plan.Item{item}, e.roomToBuild(will)
		}
	}
	if next, err = l.finish(ctx, next, parts, all); err != nil {
		return nil, err
	}
	digest, err := lock.Digest(next)
	if err != nil {
		return nil, err
	}
	s, err := e.settle(next, digest)
	if err != nil {
		return nil, err
	}
	items, err := e.planSettled(ctx, s, o)
	if items == nil {
		return nil, err
	}
	return append([]plan.Item{item}, items...), err
}

// lacks is what a lock lacks, without what a person should do about it.
func lacks(had bool, why error) string {
	var f *fault.Error
	switch {
	case !had:
		return "it is not there"
	case errors.As(why, &f) && f.Err != nil:
		return f.Err.Error()
	}
	return why.Error()
}

// toMake is in how many recipes a build makes layers.
func toMake(will source.Plan) int {
	recipes := map[string]bool{}
	for _, layer := range will.Layers {
		recipes[layer.Recipe] = true
	}
	return len(recipes)
}
