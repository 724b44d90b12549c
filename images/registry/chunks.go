package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// defaultChunk is how much of a large blob is sent at once: what a line that
	// breaks costs.
	defaultChunk = 16 << 20
	// A blob of no more than so many pieces is sent in one stream.
	streamedPieces = 4
	// chunkTries bounds how often a piece is sent on after it broke; each of them
	// is repeated by the client, too.
	chunkTries = 5
)

// putChunks sends a blob's content in pieces, and returns where it is to be
// committed. A piece that broke goes on where the registry says that it got to.
// Source: OCI distribution specification 1.1, "Pushing a blob in chunks".
func (t *Target) putChunks(ctx context.Context, repo name.Repository, location string, content io.Reader, size int64) (string, error) {
	piece := make([]byte, min(size, t.c.cfg.chunk()))
	for at := int64(0); at < size; {
		n, err := io.ReadFull(content, piece[:min(size-at, int64(len(piece)))])
		if err != nil {
			return location, err
		}
		if location, err = t.putChunk(ctx, repo, location, piece[:n], at); err != nil {
			return location, err
		}
		at += int64(n)
	}
	_, err := io.Copy(io.Discard, content) // at its end it is checked
	return location, err
}

func (t *Target) putChunk(ctx context.Context, repo name.Repository, location string, piece []byte, at int64) (string, error) {
	for sent, try := 0, 1; ; try++ {
		resp, err := t.sendChunk(ctx, repo, location, piece[sent:], at+int64(sent))
		if err == nil && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			err = errors.Join(checkStatus(resp, http.StatusAccepted, http.StatusNoContent, http.StatusCreated), resp.Body.Close())
			if err != nil {
				return location, err
			}
			return next(resp, location)
		}
		if err == nil {
			err = errors.Join(checkStatus(resp, http.StatusAccepted), resp.Body.Close())
		}
		if try == chunkTries || ctx.Err() != nil {
			return location, err
		}
		got, there, statusErr := t.arrived(ctx, repo, location)
		if statusErr != nil {
			return location, err
		}
		if got < at || got > at+int64(len(piece)) {
			return location, fmt.Errorf("%w; the registry has %d bytes of it, and %d to %d were under way", err, got, at, at+int64(len(piece)))
		}
		if sent, location = int(got-at), there; sent == len(piece) {
			return location, nil
		}
	}
}

func (t *Target) sendChunk(ctx context.Context, repo name.Repository, to string, piece []byte, at int64) (*http.Response, error) {
	session, err := t.c.open(ctx, repo, transport.PushScope)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, to, bytes.NewReader(piece))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", at, at+int64(len(piece))-1))
	return session.Do(req)
}

// arrived is how much of an upload the registry has, and where it goes on.
func (t *Target) arrived(ctx context.Context, repo name.Repository, location string) (int64, string, error) {
	resp, err := t.send(ctx, repo, http.MethodGet, location, "", http.NoBody, 0)
	if err != nil {
		return 0, "", err
	}
	if err := errors.Join(checkStatus(resp, http.StatusNoContent), resp.Body.Close()); err != nil {
		return 0, "", err
	}
	_, last, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "-")
	end, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil {
		return 0, "", fmt.Errorf("the registry says it has %q", resp.Header.Get("Range"))
	}
	if end > 0 {
		end++ // 0-0 is nothing, as far as registries go
	}
	there, err := next(resp, location)
	if err != nil {
		there = location
	}
	return end, there, nil
}
