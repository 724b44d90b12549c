package source

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
)

// Keep names everything in the store that the pinned images need: what they
// are, and what they are made of.
func (b *Builder) Keep(ctx context.Context, all ...Pinned) (map[v1.Hash]bool, error) {
	keep := map[v1.Hash]bool{}
	origin := store.NewOrigin(b.Store, images.FromSource)
	for _, pinned := range all {
		built, err := b.Built(ctx, pinned)
		if err != nil {
			return nil, err
		}
		for _, image := range built {
			closure, err := images.Walk(ctx, origin, image.Ref, nil)
			if err != nil {
				return nil, err
			}
			keep[image.Digest] = true
			for _, blob := range closure.Blobs {
				keep[blob.Digest] = true
			}
		}
		if err := keepDerived(ctx, origin, pinned.Derived, keep); err != nil {
			return nil, err
		}
		for _, p := range pinned.Images {
			for _, inputs := range p.Layers {
				if err := b.keepInputs(inputs, keep); err != nil {
					return nil, err
				}
			}
		}
	}
	return keep, nil
}

// keepDerived keeps what leads to images that the store has; layers of theirs
// that it has not come from elsewhere.
func keepDerived(ctx context.Context, origin *store.Origin, all []images.Ref, keep map[v1.Hash]bool) error {
	for _, ref := range all {
		closure, err := images.Walk(ctx, origin, ref, nil)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		for _, node := range closure.Nodes {
			keep[node.Ref.Digest] = true
		}
		for _, blob := range closure.Blobs {
			keep[blob.Digest] = true
		}
	}
	return nil
}

func (b *Builder) keepInputs(inputs []recipe.Input, keep map[v1.Hash]bool) error {
	for _, in := range inputs {
		switch in.Kind {
		case "deb", "wheel", "npm": // the kinds that lie in the store
			blob, found, err := b.Store.Find(in.Hash)
			if err != nil {
				return err
			}
			if found {
				keep[blob.Digest] = true
			}
		}
	}
	return nil
}

// PlanPrune says what Prune would remove.
func (b *Builder) PlanPrune(ctx context.Context, all ...Pinned) (store.Pruned, error) {
	keep, err := b.Keep(ctx, all...)
	if err != nil {
		return store.Pruned{}, err
	}
	return b.Store.Unkept(keep)
}

// Prune removes from the store, and from the scratch folder, all that the
// pinned images do not need. It fails, and removes nothing, while another kfdev
// builds.
func (b *Builder) Prune(ctx context.Context, all ...Pinned) (store.Pruned, error) {
	keep, err := b.Keep(ctx, all...)
	if err != nil {
		return store.Pruned{}, err
	}
	return b.Store.Prune(ctx, keep, b.Scratch)
}

// Heal reads all of the store again and removes what is damaged, so that the
// next build makes or fetches it anew. It returns what it removed.
func (b *Builder) Heal(ctx context.Context) ([]store.Blob, error) {
	bad, err := b.Store.Verify(ctx, b.Sink)
	if err != nil {
		return nil, err
	}
	for _, blob := range bad {
		if err := b.Store.Discard(blob.Digest); err != nil {
			return nil, err
		}
	}
	return bad, nil
}
