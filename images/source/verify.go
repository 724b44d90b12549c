package source

import (
	"context"
	"errors"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
)

// Verified says whether an image built again came to the same.
type Verified struct {
	Name string
	Want v1.Hash // what is pinned, or in the store
	Got  v1.Hash // what it came to
}

// Same reports whether it did.
func (v Verified) Same() bool { return v.Want == v.Got }

// Verify builds the pinned images again into a new store, sharing nothing with
// what was made before but inputs checked by hash, and compares digests. An
// image that was never built has nothing to be compared with, and is a fault of
// kind NotFound. What it builds is removed again.
func (b *Builder) Verify(ctx context.Context, pinned Pinned) (_ []Verified, err error) {
	release, err := b.Store.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	before, err := b.Built(ctx, pinned)
	if err != nil {
		return nil, err
	}
	again := Pinned{}
	var verified []Verified
	for _, p := range pinned.Images {
		want := p.Digest
		if built, ok := before[p.Name]; ok {
			want = built.Digest
		}
		if want.Hex == "" {
			return nil, &fault.Error{
				Op: "verifying the image", Subject: p.Name, Kind: fault.NotFound, Hint: "run kfdev images build",
				Err: errors.New("it was never built, so there is nothing to compare with"),
			}
		}
		verified = append(verified, Verified{Name: p.Name, Want: want})
		p.Digest = v1.Hash{}
		again.Images = append(again.Images, p)
	}
	built, err := b.afresh(ctx, again)
	for i := range built {
		verified[i].Got = built[i].Digest
	}
	return verified, err
}

// afresh builds in a folder of its own, which is removed again.
func (b *Builder) afresh(ctx context.Context, pinned Pinned) (_ []Image, err error) {
	if err := os.MkdirAll(b.Scratch, 0o755); err != nil {
		return nil, &fault.Error{Op: "building images again", Err: err}
	}
	dir, err := os.MkdirTemp(b.Scratch, "verify-")
	if err != nil {
		return nil, &fault.Error{Op: "building images again", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	other := &Builder{Config: b.Config}
	if other.Store, err = store.Open(dir + "/store"); err != nil {
		return nil, err
	}
	other.Makers = map[recipe.LayerKind]Maker{}
	for kind, m := range b.Makers {
		if i, ok := m.(Isolated); ok {
			m = i.Isolated(dir + "/" + string(kind))
		}
		other.Makers[kind] = m
	}
	return other.Build(ctx, pinned)
}
