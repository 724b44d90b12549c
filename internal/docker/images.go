package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/kfdev/kfdev/internal/fault"
)

// Archive is an image that is not in the daemon yet, or may not be.
type Archive struct {
	Name    string   // repository:tag that the image is kept under; an image without a name is pruned
	Config  string   // digest of its configuration, "sha256:…"
	DiffIDs []string // digests of its uncompressed layers, lowest first
	// Write writes the image as a docker-archive (the format of `docker save`)
	// that carries Name.
	Write func(ctx context.Context, to io.Writer) error
}

// Image is an image in the daemon.
type Image struct {
	// ID is the configuration's digest, or the manifest's where the daemon
	// keeps its images in containerd.
	ID      string
	Names   []string // repository:tag
	DiffIDs []string // digests of the uncompressed layers, lowest first
	Size    int64    // bytes, unpacked
}

// Image returns the image of a name or ID, a fault of kind NotFound where
// there is none.
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	got, err := c.api.ImageInspect(ctx, name)
	if err != nil {
		return Image{}, c.fail("looking at the image", name, err)
	}
	return imageOf(got), nil
}

// Images returns the images that have a name in the repository, the one that
// was loaded or named last first: images that are built reproducibly all have
// one time of making.
func (c *Client) Images(ctx context.Context, repository string) ([]Image, error) {
	listed, err := c.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	if err != nil {
		return nil, c.fail("listing images", repository, err)
	}
	var out []Image
	named := map[string]time.Time{}
	for _, l := range listed {
		got, err := c.api.ImageInspect(ctx, l.ID)
		if err != nil {
			return nil, c.fail("looking at the image", l.ID, err)
		}
		named[got.ID] = got.Metadata.LastTagTime
		out = append(out, imageOf(got))
	}
	slices.SortFunc(out, func(a, b Image) int {
		return cmp.Or(named[b.ID].Compare(named[a.ID]), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

func imageOf(got image.InspectResponse) Image {
	return Image{ID: got.ID, Names: got.RepoTags, DiffIDs: got.RootFS.Layers, Size: got.Size}
}

// EnsureImage has the archive's image in the daemon, and loads it only when it
// is not there. What is there after a load is compared with what was asked
// for. Loaded says whether it had to be.
func (c *Client) EnsureImage(ctx context.Context, archive Archive) (img Image, loaded bool, err error) {
	img, err = c.Image(ctx, archive.Name)
	switch {
	case err == nil && archive.matches(img):
		return img, false, nil
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return Image{}, false, err
	}
	if err := c.load(ctx, archive); err != nil {
		return Image{}, false, err
	}
	if img, err = c.Image(ctx, archive.Name); err != nil {
		return Image{}, false, err
	}
	if !archive.matches(img) {
		return Image{}, false, &fault.Error{
			Op: "loading the image", Subject: archive.Name, Kind: fault.Drift,
			Err: fmt.Errorf("the daemon has %s with layers %v, asked for was %s with %v", img.ID, img.DiffIDs, archive.Config, archive.DiffIDs),
		}
	}
	return img, true, nil
}

// matches compares by the configuration's digest, which covers the layers;
// where the daemon names images by manifest, by the layers.
func (a Archive) matches(img Image) bool {
	return img.ID == a.Config || len(a.DiffIDs) > 0 && slices.Equal(img.DiffIDs, a.DiffIDs)
}

func (c *Client) load(ctx context.Context, archive Archive) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := archive.Write(ctx, pw)
		written <- errors.Join(err, pw.CloseWithError(err))
	}()
	loadErr := c.loadFrom(ctx, pr)
	// The writer ends when nobody reads any more.
	closeErr := pr.CloseWithError(errors.Join(loadErr, io.ErrClosedPipe))
	writeErr := <-written
	if loadErr == nil {
		// A daemon may stop reading at the archive's end mark.
		if errors.Is(writeErr, io.ErrClosedPipe) {
			writeErr = nil
		}
		if err := errors.Join(writeErr, closeErr); err != nil {
			return &fault.Error{Op: "loading the image", Subject: archive.Name, Err: err}
		}
		return nil
	}
	if writeErr != nil && !errors.Is(writeErr, io.ErrClosedPipe) {
		loadErr = writeErr // the first cause: the daemon only saw its input end
	}
	return c.fail("loading the image", archive.Name, loadErr)
}

// loadFrom sends a docker-archive and reads the daemon's answer to its end:
// failures come as messages of a stream whose status is 200.
func (c *Client) loadFrom(ctx context.Context, archive io.Reader) error {
	answer, err := c.api.ImageLoad(ctx, archive)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read to its end, or reading failed
	if !answer.JSON {
		_, err := io.Copy(io.Discard, answer.Body)
		return err
	}
	for decoder := json.NewDecoder(answer.Body); ; {
		var message struct {
			Error string `json:"error"`
		}
		switch err := decoder.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the daemon's answer: %w", err)
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// RemoveImage takes an image's name away, and the image with its last one. One
// that is not there is no error.
func (c *Client) RemoveImage(ctx context.Context, name string) error {
	if _, err := c.api.ImageRemove(ctx, name, image.RemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return c.fail("removing the image", name, err)
	}
	return nil
}
