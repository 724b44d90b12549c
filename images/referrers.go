package images

import (
	"context"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/internal/fault"
)

// Referring is an Origin that knows what is about its images: signatures,
// attestations, bills of material.
type Referring interface {
	Origin
	// Referrers lists what is about a manifest, of one artifact type or, where
	// that is empty, of any.
	Referrers(ctx context.Context, ref Ref, artifactType string) ([]v1.Descriptor, error)
}

// attaching is a Target that takes what is about its images.
type attaching interface {
	Attach(ctx context.Context, ref Ref, manifest Manifest) error
}

// copyReferrers copies what is about images that were copied, and about their
// children, and returns how many artifacts the target lacked. An origin that
// knows of none has none.
func (c *Copier) copyReferrers(ctx context.Context, closures []Closure) (int, error) {
	from, knows := c.From.(Referring)
	to, takes := c.To.(attaching)
	if !knows || !takes {
		return 0, nil
	}
	var copied atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelChecks)
	seen := map[Ref]bool{}
	for _, closure := range closures {
		for _, node := range closure.Nodes {
			if seen[node.Ref] {
				continue
			}
			seen[node.Ref] = true
			g.Go(func() error {
				n, err := c.copyAbout(ctx, from, to, node.Ref)
				copied.Add(int64(n))
				return err
			})
		}
	}
	err := g.Wait()
	return int(copied.Load()), err
}

// copyAbout copies what is about one manifest.
func (c *Copier) copyAbout(ctx context.Context, from Referring, to attaching, about Ref) (copied int, err error) {
	fail := func(err error) (int, error) {
		return copied, &fault.Error{Op: "copying what is about", Subject: about.String(), Err: err}
	}
	all, err := from.Referrers(ctx, about, "")
	if err != nil {
		return fail(err)
	}
	for _, desc := range all {
		ref := Ref{Repository: about.Repository, Digest: desc.Digest}
		if has, err := c.To.Has(ctx, ref.Repository, desc); err != nil || has {
			if err != nil {
				return fail(err)
			}
			continue
		}
		closure, err := Walk(ctx, from, ref, nil)
		if err != nil {
			return fail(err)
		}
		jobs, _, err := c.missing(ctx, []Closure{closure})
		if err != nil {
			return fail(err)
		}
		quiet := &Copier{From: c.From, To: c.To, Parallel: c.Parallel}
		if len(jobs) > 0 {
			if err := quiet.move(ctx, jobs, 0); err != nil {
				return fail(err)
			}
		}
		if err := to.Attach(ctx, ref, closure.Nodes[len(closure.Nodes)-1].Manifest); err != nil {
			return fail(err)
		}
		copied++
	}
	return copied, nil
}
