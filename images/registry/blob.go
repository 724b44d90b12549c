package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/progress"
)

// maxBreaks bounds how often one download may break, also when each part
// brought a few bytes.
const maxBreaks = 100

// blob opens a blob at one repository.
func (c *client) blob(ctx context.Context, repo name.Repository, desc v1.Descriptor) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &download{ctx: ctx, cancel: cancel, c: c, repo: repo, desc: desc}
	if err := d.open(ctx); err != nil {
		cancel()
		return nil, err
	}
	return images.Verify(d, desc), nil
}

// download reads a blob, over several connections where one breaks. It keeps
// the context that its Read needs; it lives for one transfer only.
type download struct {
	ctx    context.Context //nolint:containedctx // io.Reader's Read takes none
	cancel context.CancelFunc
	c      *client
	repo   name.Repository
	desc   v1.Descriptor

	part     *part
	offset   int64
	breaks   int // in all
	failures int // since the last byte
}

// part is one answer's body.
type part struct {
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	cause  func() error
}

// open asks for the blob from the offset on.
func (d *download) open(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	header := http.Header{}
	want := []int{http.StatusOK}
	if d.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", d.offset, d.desc.Size-1)) // some know no open ranges
		want = append(want, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	}
	resp, err := d.c.do(ctx, d.repo, transport.PullScope, http.MethodGet, "blobs/"+d.desc.Digest.String(), header, want...)
	if err != nil {
		cancel(nil)
		return err
	}
	if err := d.place(resp); err != nil {
		cancel(nil)
		return errors.Join(err, resp.Body.Close())
	}
	d.part = &part{body: resp.Body, cancel: cancel, cause: func() error { return context.Cause(ctx) }}
	return nil
}

// place sees to it that the answer's body goes on at the offset.
func (d *download) place(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK: // the whole, also where a part was asked for
		if resp.ContentLength >= 0 && resp.ContentLength != d.desc.Size {
			return fmt.Errorf("%w: %s has %d bytes there, not %d", images.ErrContent, d.desc.Digest, resp.ContentLength, d.desc.Size)
		}
		_, err := io.CopyN(io.Discard, resp.Body, d.offset)
		return err
	case http.StatusPartialContent:
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.offset); !strings.HasPrefix(got, want) {
			return fmt.Errorf("%w: asked for %s…, the answer is %q", images.ErrContent, want, got)
		}
		return nil
	}
	return fmt.Errorf("%w: %s ends before byte %d", images.ErrContent, d.desc.Digest, d.offset)
}

// Read reads on, reopening where the connection broke.
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.part == nil {
			if err := d.open(d.ctx); err != nil {
				if err = d.broke(err); err != nil {
					return 0, err
				}
				continue
			}
		}
		n, err := d.readPart(p)
		d.offset += int64(n)
		if n > 0 {
			d.failures = 0
		}
		if err == nil || errors.Is(err, io.EOF) && d.offset >= d.desc.Size {
			return n, err
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.closePart()
		if err := d.broke(err); err != nil || n > 0 {
			return n, err
		}
	}
}

// readPart reads from the present answer, and breaks it off when it stalls.
func (d *download) readPart(p []byte) (int, error) {
	timer := time.AfterFunc(d.c.cfg.Retry.Stall, func() { d.part.cancel(errStalled) })
	defer timer.Stop()
	n, err := d.part.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(d.part.cause(), errStalled) {
		err = errStalled
	}
	return n, err
}

// broke decides whether the download goes on after err: nil, or what to give
// up with. It pauses where no byte came since the last break.
func (d *download) broke(err error) error {
	d.breaks++
	d.failures++
	var status *transport.Error
	switch {
	case d.ctx.Err() != nil:
		return d.ctx.Err()
	case errors.Is(err, images.ErrContent), errors.As(err, &status) && !passingStatus(status.StatusCode):
		return err
	case d.failures >= d.c.cfg.Retry.Attempts || d.breaks >= maxBreaks:
		return passing{fmt.Errorf("download of %s broke %d times, the last time at byte %d of %d: %w",
			d.desc.Digest, d.breaks, d.offset, d.desc.Size, scrub(err))}
	}
	progress.Say(d.c.cfg.Sink, fmt.Sprintf("%s: download broke at byte %d of %d (%v); going on there",
		d.repo.RegistryStr(), d.offset, d.desc.Size, scrub(err)))
	if d.failures > 1 {
		return d.c.cfg.Retry.sleep(d.ctx, d.c.cfg.Retry.pause(d.failures-1))
	}
	return nil
}

func (d *download) closePart() {
	if d.part != nil {
		_ = d.part.body.Close() // what was read is verified; a close tells nothing more
		d.part.cancel(nil)
		d.part = nil
	}
}

// Close ends the download.
func (d *download) Close() error {
	d.closePart()
	d.cancel()
	return nil
}
