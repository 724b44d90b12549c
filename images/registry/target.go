package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// Layout says under which name a repository lies in a target registry.
type Layout func(repository string) string

// MirrorLayout is the layout of a registry that containerd uses as a mirror of
// any host: the registry's address in place of the host, the path as it is.
func MirrorLayout(address string) Layout {
	return func(repository string) string {
		_, path, ok := strings.Cut(repository, "/")
		if !ok {
			path = repository
		}
		return address + "/" + path
	}
}

// Target writes images to one registry. It is an images.Target, and reads back
// what it wrote, so that a copy of what is there needs nothing else.
type Target struct {
	c      *client
	layout Layout

	mu   sync.Mutex
	held map[v1.Hash]name.Repository // a repository that has the blob, to link it from
}

// NewTarget returns a target. The configuration's mirrors are not used.
func NewTarget(cfg Config, layout Layout) *Target {
	cfg.Mirrors = nil
	return &Target{c: newClient(cfg), layout: layout, held: map[v1.Hash]name.Repository{}}
}

// cleanup bounds how long an upload that failed is given to be taken back.
const cleanup = 5 * time.Second

// Has reports whether the blob or manifest is in the repository.
func (t *Target) Has(ctx context.Context, repository string, desc v1.Descriptor) (bool, error) {
	repo, err := t.repository(repository)
	if err != nil {
		return false, err
	}
	return t.has(ctx, repo, desc)
}

func (t *Target) has(ctx context.Context, repo name.Repository, desc v1.Descriptor) (bool, error) {
	kind, header := "blobs/", http.Header{}
	if desc.MediaType.IsIndex() || desc.MediaType.IsImage() {
		kind = "manifests/"
		header.Set("Accept", string(desc.MediaType))
	}
	resp, err := t.c.do(ctx, repo, transport.PushScope, http.MethodHead, kind+desc.Digest.String(), header, http.StatusOK)
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, explain("asking for", t.subject(repo, desc.Digest), repo.RegistryStr(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if desc.Size > 0 && resp.ContentLength >= 0 && resp.ContentLength != desc.Size {
		return false, nil // what is there is not whole
	}
	if kind == "blobs/" {
		t.remember(desc.Digest, repo)
	}
	return true, nil
}

// Manifest reads back a manifest, as images.Origin's method of that name does.
func (t *Target) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	repo, err := t.repository(ref.Repository)
	if err != nil {
		return images.Manifest{}, err
	}
	m, err := t.c.manifest(ctx, repo, ref.Digest.String())
	if err == nil {
		err = images.CheckManifest(m.Raw, ref.Digest)
	}
	return m, explain("reading a manifest", ref.String(), repo.RegistryStr(), err)
}

// Blob reads back a blob, as images.Origin's method of that name does.
func (t *Target) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	repo, err := t.repository(repository)
	if err != nil {
		return nil, err
	}
	content, err := t.c.blob(ctx, repo, desc)
	return content, explain("reading a blob", t.subject(repo, desc.Digest), repo.RegistryStr(), err)
}

// PutManifest writes a manifest by its digest, without a tag.
func (t *Target) PutManifest(ctx context.Context, ref images.Ref, manifest images.Manifest) error {
	repo, err := t.repository(ref.Repository)
	if err != nil {
		return err
	}
	if err := images.CheckManifest(manifest.Raw, ref.Digest); err != nil {
		return &fault.Error{Op: "writing a manifest", Subject: ref.String(), Err: err}
	}
	_, err = t.put(ctx, repo, ref.Digest.String(), manifest)
	return explain("writing a manifest", t.subject(repo, ref.Digest), repo.RegistryStr(), err)
}

// put writes a manifest by its digest or under a tag, and returns what the
// registry said of it.
func (t *Target) put(ctx context.Context, repo name.Repository, reference string, manifest images.Manifest) (http.Header, error) {
	path := address(repo, "manifests/"+reference)
	resp, err := t.send(ctx, repo, http.MethodPut, path, string(manifest.MediaType), bytes.NewReader(manifest.Raw), int64(len(manifest.Raw)))
	if err != nil {
		return nil, err
	}
	return resp.Header, errors.Join(checkStatus(resp, http.StatusCreated), resp.Body.Close())
}

// PutBlob writes a blob: linked from another repository of this registry where
// that is known to have it, else uploaded, in one stream or, a large one, in
// pieces. An upload that fails is taken back.
func (t *Target) PutBlob(ctx context.Context, repository string, desc v1.Descriptor, content io.Reader) error {
	repo, err := t.repository(repository)
	if err != nil {
		return err
	}
	if err := t.putBlob(ctx, repo, desc, content); err != nil {
		if !errors.Is(err, images.ErrContent) && passingError(err) {
			err = passing{err}
		}
		return explain("writing a blob", t.subject(repo, desc.Digest), repo.RegistryStr(), err)
	}
	t.remember(desc.Digest, repo)
	return nil
}

func (t *Target) putBlob(ctx context.Context, repo name.Repository, desc v1.Descriptor, content io.Reader) (err error) {
	location, err := t.begin(ctx, repo, desc)
	if err != nil || location == "" {
		return err
	}
	defer func() {
		if err != nil {
			t.abandon(ctx, repo, location)
		}
	}()
	verified := images.Verify(io.NopCloser(content), desc)
	if desc.Size > streamedPieces*t.c.cfg.chunk() {
		if location, err = t.putChunks(ctx, repo, location, verified, desc.Size); err != nil {
			return err
		}
		return t.committed(ctx, repo, location, desc)
	}
	body := &upload{content: verified}
	resp, err := t.send(ctx, repo, http.MethodPatch, location, "application/octet-stream", body, desc.Size)
	if contentErr := body.finish(err == nil); contentErr != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return contentErr
	}
	if err != nil {
		return err
	}
	err = errors.Join(checkStatus(resp, http.StatusAccepted, http.StatusNoContent, http.StatusCreated), resp.Body.Close())
	if err != nil {
		return err
	}
	if location, err = next(resp, location); err != nil {
		return err
	}
	return t.committed(ctx, repo, location, desc)
}

// committed ends an upload, or finds that it was ended.
func (t *Target) committed(ctx context.Context, repo name.Repository, location string, desc v1.Descriptor) error {
	err := t.commit(ctx, repo, location, desc.Digest)
	if err != nil {
		// An answer that was lost on its way: the second try finds no upload,
		// but the blob is there.
		if has, hasErr := t.has(ctx, repo, desc); hasErr == nil && has {
			return nil
		}
	}
	return err
}

// begin starts an upload and returns where it goes; nowhere where the blob
// could be linked.
func (t *Target) begin(ctx context.Context, repo name.Repository, desc v1.Descriptor) (string, error) {
	query := ""
	if from, ok := t.from(desc.Digest); ok && from.Name() != repo.Name() {
		query = "?" + url.Values{"mount": {desc.Digest.String()}, "from": {from.RepositoryStr()}}.Encode()
	}
	resp, err := t.c.do(ctx, repo, transport.PushScope, http.MethodPost, "blobs/uploads/"+query, nil, http.StatusAccepted, http.StatusCreated)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusCreated {
		return "", nil
	}
	return next(resp, address(repo, "blobs/uploads/"))
}

// commit ends an upload; the registry checks the digest once more.
func (t *Target) commit(ctx context.Context, repo name.Repository, location string, digest v1.Hash) error {
	u, err := url.Parse(location)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("digest", digest.String())
	u.RawQuery = query.Encode()
	resp, err := t.send(ctx, repo, http.MethodPut, u.String(), "", http.NoBody, 0)
	if err != nil {
		return err
	}
	return errors.Join(checkStatus(resp, http.StatusCreated), resp.Body.Close())
}

// abandon takes an upload back, also when the context has ended. A registry
// that refuses drops it by itself some day.
func (t *Target) abandon(ctx context.Context, repo name.Repository, location string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if resp, err := t.send(ctx, repo, http.MethodDelete, location, "", http.NoBody, 0); err == nil {
		_ = resp.Body.Close()
	}
}

func (t *Target) send(ctx context.Context, repo name.Repository, method, to, media string, body io.Reader, size int64) (*http.Response, error) {
	session, err := t.c.open(ctx, repo, transport.PushScope)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	return session.Do(req)
}

// next returns where an upload goes on, as the answer says.
func next(resp *http.Response, base string) (string, error) {
	location := resp.Header.Get("Location")
	if location == "" {
		return "", fmt.Errorf("registry gave no place to upload to (%s)", resp.Status)
	}
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u, err := b.Parse(location)
	if err != nil {
		return "", fmt.Errorf("registry gave %q as the place to upload to: %w", location, err)
	}
	return u.String(), nil
}

func (t *Target) repository(repository string) (name.Repository, error) {
	repo, err := t.c.repository(t.layout(repository))
	if err != nil {
		return repo, &fault.Error{Op: "finding the place of", Subject: repository, Kind: fault.Usage, Err: err}
	}
	return repo, nil
}

func (t *Target) subject(repo name.Repository, digest v1.Hash) string {
	return repo.Name() + "@" + digest.String()
}

func (t *Target) remember(digest v1.Hash, repo name.Repository) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[digest] = repo
}

func (t *Target) from(digest v1.Hash) (name.Repository, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	repo, ok := t.held[digest]
	return repo, ok
}

// upload is the body of an upload. An HTTP transport may go on reading a body
// after it has returned; once finish was called it gets nothing more.
type upload struct {
	mu      sync.Mutex
	content io.Reader
	err     error // the content's own, other than io.EOF
	done    bool
}

// Read reads the content.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return 0, io.ErrClosedPipe
	}
	n, err := u.content.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// finish ends the body and returns the content's own error, if any. When the
// whole was sent, the content is read to its end, where it is checked.
func (u *upload) finish(sent bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = true
	if u.err != nil || !sent {
		return u.err
	}
	var probe [1]byte
	n, err := u.content.Read(probe[:])
	switch {
	case n > 0:
		return nil // the registry stopped listening early; its answer says why
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}
