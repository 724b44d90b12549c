package wire

import (
	"context"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// content is a file's, as it came along with a change.
type content struct {
	entry tree.Entry
	data  []byte
}

// inlined is a Fetcher that has some content at hand and gets the rest.
type inlined struct {
	contents map[string]content
	rest     endpoint.Fetcher
}

// Fetch implements endpoint.Fetcher.
func (f *inlined) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	var missing []endpoint.Want
	var index []int // in wants, of what is missing
	for i, w := range wants {
		if c, ok := f.contents[w.Path]; !ok || c.entry != w.Entry {
			missing, index = append(missing, w), append(index, i)
		}
	}
	next := 0 // the first want that has not been put whole
	before := func(end int) error {
		for ; next < end; next++ {
			p := endpoint.Piece{Data: f.contents[wants[next].Path].data, Last: true}
			if err := put(next, p); err != nil {
				return err
			}
		}
		return nil
	}
	if len(missing) > 0 {
		if err := f.rest.Fetch(ctx, missing, func(j int, p endpoint.Piece) error {
			i := index[j]
			if err := before(i); err != nil {
				return err
			}
			if p.Last || p.Err != nil {
				next = i + 1
			}
			return put(i, p)
		}); err != nil {
			return err
		}
	}
	return before(len(wants))
}
