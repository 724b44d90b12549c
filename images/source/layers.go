package source

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// future is a value that one goroutine sets and others wait for.
type future[T any] struct {
	ready chan struct{}
	value T
	err   error
}

func newFuture[T any]() *future[T] { return &future[T]{ready: make(chan struct{})} }

// set sets the value, once, and returns err.
func (f *future[T]) set(value T, err error) error {
	f.value, f.err = value, err
	close(f.ready)
	return err
}

func (f *future[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.ready:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// layerRecord is what is noted of a layer beside its blob.
type layerRecord struct {
	Digest v1.Hash `json:"digest"`
	DiffID v1.Hash `json:"diffID"`
	Size   int64   `json:"size"` // of the blob, bytes
}

// layer returns the layer of that key: the one in the store, one that is being
// made for another image, or one made now.
func (r *run) layer(ctx context.Context, key string, part recipe.Part, spec LayerSpec, inputs []recipe.Input) *future[madeLayer] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.layers[key]; ok {
		return f
	}
	f := newFuture[madeLayer]()
	r.layers[key] = f
	if made, ok := r.stored(key); ok {
		_ = f.set(made, nil)
		return f
	}
	r.group.Go(func() error {
		made, err := r.make(ctx, key, part, spec, inputs)
		return f.set(made, err)
	})
	return f
}

// stored returns the layer that the key came to before, if it is still there.
func (b *Builder) stored(key string) (madeLayer, bool) {
	var r layerRecord
	if found, err := b.Store.Record(layerRecords, key, &r); !found || err != nil {
		return madeLayer{}, false
	}
	return madeLayer{Blob: store.Blob{Digest: r.Digest, Size: r.Size}, DiffID: r.DiffID}, true
}

func (r *run) make(ctx context.Context, key string, part recipe.Part, spec LayerSpec, inputs []recipe.Input) (_ madeLayer, err error) {
	m, err := r.maker(part)
	if err != nil {
		return madeLayer{}, err
	}
	if err := r.fetches.Acquire(ctx, 1); err != nil {
		return madeLayer{}, err
	}
	err = m.Fetch(ctx, spec, inputs)
	r.fetches.Release(1)
	if err != nil {
		return madeLayer{}, err
	}
	release, err := r.turn(ctx, part.Layer.Kind())
	if err != nil {
		return madeLayer{}, err
	}
	defer release()
	tree, err := m.Tree(ctx, spec, inputs)
	if err != nil {
		return madeLayer{}, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()

	name := fmt.Sprintf("%s/%s", part.Recipe, part.Layer.Kind())
	task := progress.Start(r.Sink, fmt.Sprintf("images/pack/%s/%d", part.Recipe, part.Index), "packing "+name, tree.ArchiveSize(), progress.Bytes)
	defer func() { task.End(err) }()
	w, err := r.Store.Create(ctx, "")
	if err != nil {
		return madeLayer{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	packed, err := tree.Pack(ctx, w, task)
	if err != nil {
		return madeLayer{}, &fault.Error{Op: "packing a layer of", Subject: spec.Recipe, Err: err}
	}
	blob, err := w.Commit()
	if err != nil {
		return madeLayer{}, err
	}
	note := layerRecord{Digest: blob.Digest, DiffID: packed.DiffID, Size: blob.Size}
	return madeLayer{Blob: blob, DiffID: packed.DiffID}, r.Store.SetRecord(layerRecords, key, note, blob.Digest)
}

// turn waits until there is memory for one more layer of the kind, and a
// processor. A Go build uses all processors by itself, so that there is only
// ever one; the others keep to one processor each.
func (r *run) turn(ctx context.Context, kind recipe.LayerKind) (release func(), err error) {
	one := r.busy
	if kind == recipe.KindGo {
		one = r.goBuild
	}
	if err := one.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	weight := min(memoryOf(kind), r.budget)
	if err := r.memory.Acquire(ctx, weight); err != nil {
		one.Release(1)
		return nil, err
	}
	return func() { r.memory.Release(weight); one.Release(1) }, nil
}
