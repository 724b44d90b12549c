package envs

import (
	"context"
	"errors"
	"fmt"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// sourceLock returns the lock and its images that are built from source.
func (e *Engine) sourceLock() (lock.Lock, source.Pinned, error) {
	l, _, err := lock.Load(e.file.Dir)
	if err != nil {
		return l, source.Pinned{}, err
	}
	names := make([]string, 0, len(l.Recipes))
	for _, r := range l.Recipes {
		names = append(names, r.Name)
	}
	return l, pinnedOf(l, names), nil
}

// ListedImage is one image of the lock.
type ListedImage struct {
	Image     string `json:"image"` // repository@digest
	Origin    string `json:"origin"`
	StandsFor string `json:"standsFor,omitempty"`
	Size      int64  `json:"size"`   // as it travels, bytes
	Stored    bool   `json:"stored"` // the store has it whole
}

// ListImages returns the lock's images, the node's last.
func (e *Engine) ListImages(ctx context.Context) ([]ListedImage, error) {
	l, _, err := lock.Load(e.file.Dir)
	if err != nil {
		return nil, err
	}
	var all []ListedImage
	for _, i := range append(append([]lock.Image(nil), l.Images...), l.Node.Image) {
		lost, err := e.lost(ctx, []lock.Image{i})
		if err != nil {
			return nil, err
		}
		stored := i.Recipe != "" && len(lost) == 0
		if i.Origin == images.FromBake {
			if stored, err = e.hasBaked(ctx, i); err != nil {
				return nil, err
			}
		}
		all = append(all, ListedImage{
			Image: i.Ref().String(), Origin: string(i.Origin), StandsFor: i.StandsFor, Size: i.Size, Stored: stored,
		})
	}
	return all, nil
}

// BuildImages builds what the store lacks of the lock's images.
func (e *Engine) BuildImages(ctx context.Context) (built int, err error) {
	_, pinned, err := e.sourceLock()
	if err != nil {
		return 0, err
	}
	got, err := e.build(ctx, pinned)
	for _, i := range got {
		if !i.Reused {
			built++
		}
	}
	return built, err
}

// VerifyImages builds every source image of the lock, or the named ones, again
// from nothing and compares digests. One that differs is a fault of kind Drift.
func (e *Engine) VerifyImages(ctx context.Context, names []string) ([]source.Verified, error) {
	l, pinned, err := e.sourceLock()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		for _, name := range names {
			if _, ok := l.Recipe(name); !ok {
				return nil, &fault.Error{Op: "verifying images", Subject: name, Kind: fault.NotFound, Err: errors.New("the lock has no such recipe")}
			}
		}
		pinned = pinnedOf(l, names)
	}
	verified, err := e.builder.Verify(ctx, pinned)
	if err != nil {
		return verified, err
	}
	var errs []error
	for _, v := range verified {
		if !v.Same() {
			errs = append(errs, fmt.Errorf("%s came to another digest", v.Name))
		}
	}
	if len(errs) > 0 {
		return verified, &fault.Error{Op: "verifying images", Kind: fault.Drift, Err: errors.Join(errs...)}
	}
	return verified, nil
}

// PruneImages removes from the store what no project of this user has in its
// lock, but for the image of a local registry that is there; with dryRun it
// only says so.
func (e *Engine) PruneImages(ctx context.Context, dryRun bool) (store.Pruned, error) {
	all, err := e.allPinned()
	if err != nil {
		return store.Pruned{}, err
	}
	// Of a daemon that can't be asked nothing is known, so it is kept then too.
	if _, err := e.world.Registry(nil).Get(ctx); fault.KindOf(err) != fault.NotFound {
		own, err := e.builder.Pin(ctx, []string{registryRecipe}, source.Pinned{})
		if err != nil {
			return store.Pruned{}, err
		}
		all = append(all, own)
	}
	if dryRun {
		return e.builder.PlanPrune(ctx, all...)
	}
	return e.builder.Prune(ctx, all...)
}

// allPinned are the images of every project that was brought up here, and of
// this one.
func (e *Engine) allPinned() ([]source.Pinned, error) {
	records, err := state.List(e.dirs.State)
	if err != nil {
		return nil, err
	}
	folders := map[string]bool{e.file.Dir: true}
	for _, r := range records {
		folders[r.Folder] = true
	}
	var all []source.Pinned
	for folder := range folders {
		l, _, err := lock.Load(folder)
		if fault.KindOf(err) == fault.NotFound {
			progress.Warn(e.sink, "no lock in "+folder+"; its images are not kept")
			continue
		}
		if err != nil {
			return nil, err
		}
		names := make([]string, 0, len(l.Recipes))
		for _, r := range l.Recipes {
			names = append(names, r.Name)
		}
		pinned := pinnedOf(l, names)
		for _, i := range l.Images {
			if i.Origin == images.FromBake {
				pinned.Derived = append(pinned.Derived, i.Ref())
			}
		}
		all = append(all, pinned)
	}
	return all, nil
}
