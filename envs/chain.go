package envs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// place is one where images may lie. What it gives is checked against its
// digest, so that any place is as good as another.
type place struct {
	name string
	from contents
	// answers says why nothing can be asked there; nil: it always can. It is
	// called once, so that a registry that is down costs its patience once.
	answers func(ctx context.Context) error
	sink    progress.Sink

	reach       sync.Once
	unreachable error
	warned      sync.Once
}

// passOver tells, once, that a place is passed over.
func (p *place) passOver(ctx context.Context, err error) {
	if ctx.Err() != nil || fault.KindOf(err) == fault.NotFound {
		return
	}
	p.warned.Do(func() { progress.Warn(p.sink, fmt.Sprintf("%s is passed over: %v", p.name, err)) })
}

// try asks one place.
func try[T any](ctx context.Context, p *place, of func(contents) (T, error)) (got T, err error) {
	p.reach.Do(func() {
		if p.answers != nil {
			p.unreachable = p.answers(ctx)
		}
	})
	if p.unreachable != nil {
		return got, p.unreachable
	}
	return of(p.from)
}

// chain is an origin of several places: each is asked for what those before it
// have not.
type chain struct {
	kind   images.OriginKind
	places []*place
}

var _ images.Referring = chain{}

// Kind says where the images come from at first.
func (c chain) Kind() images.OriginKind { return c.kind }

// Manifest returns a manifest or index.
func (c chain) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	return ask(ctx, c.places, ref.String(), func(from contents) (images.Manifest, error) { return from.Manifest(ctx, ref) })
}

// Blob opens a config or layer.
func (c chain) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	return ask(ctx, c.places, repository+"@"+desc.Digest.String(), func(from contents) (io.ReadCloser, error) { return from.Blob(ctx, repository, desc) })
}

// ask returns the first that a place has. One that can't be asked is passed
// over; where no other has it either, the error names all.
func ask[T any](ctx context.Context, places []*place, subject string, of func(contents) (T, error)) (none T, err error) {
	var before []string // as text: it is the last place's failure that decides the error's kind
	for i, p := range places {
		got, err := try(ctx, p, of)
		switch {
		case err == nil || ctx.Err() != nil || len(places) == 1:
			return got, err
		case i < len(places)-1:
			p.passOver(ctx, err)
			before = append(before, p.name+": "+err.Error())
			continue
		}
		return none, &fault.Error{Op: "looking for", Subject: subject, Err: fmt.Errorf("no place has it: %s: %w; %s", p.name, err, strings.Join(before, "; "))}
	}
	return none, &fault.Error{Op: "looking for", Subject: subject, Err: errors.New("there is no place to look")}
}

// referring is a place that knows what is about its images.
type referring interface {
	Referrers(ctx context.Context, ref images.Ref, artifactType string) ([]v1.Descriptor, error)
}

// Referrers lists what any of the places knows to be about a manifest. It fails
// where none could be asked, and the last, which images come from at first,
// should know.
func (c chain) Referrers(ctx context.Context, ref images.Ref, artifactType string) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	var failed error
	answered, seen := false, map[v1.Hash]bool{}
	for _, p := range c.places {
		failed = nil
		from, knows := p.from.(referring)
		if !knows {
			continue
		}
		var list []v1.Descriptor
		list, failed = try(ctx, p, func(contents) ([]v1.Descriptor, error) { return from.Referrers(ctx, ref, artifactType) })
		if failed != nil {
			p.passOver(ctx, failed)
			continue
		}
		answered = true
		for _, desc := range list {
			if !seen[desc.Digest] {
				seen[desc.Digest] = true
				all = append(all, desc)
			}
		}
	}
	if answered && ctx.Err() == nil {
		failed = nil
	}
	return all, failed
}
