package derive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/internal/fault"
)

// LayerBytes is how much Folder reads.
func (b Base) LayerBytes() (sum int64) {
	for _, s := range b.images {
		for _, l := range s.manifest.Layers {
			sum += l.Size
		}
	}
	return sum
}

// Folder returns what the image has below a folder, which is clean and relative
// to the root: of every platform, in path order. It reads all layers, and
// counter, when not nil, is written what it has read. Where a link or a file is in the way to
// the folder, that is a fault of kind Usage.
func (b Base) Folder(ctx context.Context, from Reader, folder string, counter io.Writer) ([]layer.Seen, error) {
	all := map[string]layer.Seen{}
	for _, s := range slices.Backward(b.images) { // the first one has the last word
		v := layer.NewView(folder)
		for _, l := range s.manifest.Layers {
			if err := b.put(ctx, v, from, l, counter); err != nil {
				return nil, &fault.Error{Op: "reading what the image has", Subject: b.Ref.String(), Err: err}
			}
		}
		if at := v.Blocked(); at != "" {
			return nil, &fault.Error{
				Op: "reading what the image has", Subject: "/" + folder, Kind: fault.Usage, Hint: "write the folder under remote as it is without links",
				Err: fmt.Errorf("/%s is a link or a file there", at),
			}
		}
		for _, one := range v.Below() {
			all[one.Path] = one
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b layer.Seen) int { return strings.Compare(a.Path, b.Path) }), nil
}

// put puts one layer on a view.
func (b Base) put(ctx context.Context, v *layer.View, from Reader, l v1.Descriptor, counter io.Writer) (err error) {
	content, err := from.Blob(ctx, b.Ref.Repository, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	read := io.Reader(content)
	if counter != nil {
		read = io.TeeReader(content, counter)
	}
	if err := v.Put(read); err != nil {
		return fmt.Errorf("%s: %w", l.Digest, err)
	}
	return nil
}
