package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// maxManifest is the largest manifest taken, bytes: what the specification
// asks registries to take at least.
const maxManifest = 4 << 20

// Origin reads images from registries. It is an images.Origin.
type Origin struct{ c *client }

// NewOrigin returns an origin over the registries that the configuration
// reaches. It asks nothing before it is used.
func NewOrigin(cfg Config) *Origin { return &Origin{c: newClient(cfg)} }

// Kind says registry.
func (o *Origin) Kind() images.OriginKind { return images.FromRegistry }

// Manifest returns the manifest or index of ref, byte for byte.
func (o *Origin) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	repos, err := o.c.candidates(ref.Repository)
	if err != nil {
		return images.Manifest{}, &fault.Error{Op: "reading a manifest", Subject: ref.String(), Kind: fault.Usage, Err: err}
	}
	return first(ctx, o.c, "reading a manifest", ref.String(), repos, func(repo name.Repository) (images.Manifest, error) {
		m, err := o.c.manifest(ctx, repo, ref.Digest.String())
		if err == nil {
			err = images.CheckManifest(m.Raw, ref.Digest)
		}
		return m, err
	})
}

// Blob opens a config or layer. A download that breaks goes on where it broke.
func (o *Origin) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	subject := repository + "@" + desc.Digest.String()
	repos, err := o.c.candidates(repository)
	if err != nil {
		return nil, &fault.Error{Op: "reading a blob", Subject: subject, Kind: fault.Usage, Err: err}
	}
	return first(ctx, o.c, "reading a blob", subject, repos, func(repo name.Repository) (io.ReadCloser, error) {
		return o.c.blob(ctx, repo, desc)
	})
}

// first tries the candidates in order and returns the first success. When none
// has it, the error is the last one's, that of the registry itself, with the
// mirrors' behind it.
func first[T any](ctx context.Context, c *client, op, subject string, repos []name.Repository, try func(name.Repository) (T, error)) (T, error) {
	var none T
	var before []string // as text: a mirror's failure must not decide the error's kind
	for i, repo := range repos {
		got, err := try(repo)
		if err == nil {
			return got, nil
		}
		err = explain(op, subject, repo.RegistryStr(), err)
		if i == len(repos)-1 || ctx.Err() != nil {
			if len(before) > 0 {
				err = fmt.Errorf("%w (before that: %s)", err, strings.Join(before, "; "))
			}
			return none, err
		}
		if fault.KindOf(err) != fault.NotFound {
			progress.Say(c.cfg.Sink, fmt.Sprintf("mirror %s: %v", repo.RegistryStr(), err))
		}
		before = append(before, "mirror "+repo.RegistryStr()+": "+err.Error())
	}
	return none, &fault.Error{Op: op, Subject: subject, Err: errors.New("nowhere to look")}
}

// manifest reads a manifest by tag or digest.
func (c *client) manifest(ctx context.Context, repo name.Repository, identifier string) (images.Manifest, error) {
	accept := make([]string, len(accepted()))
	for i, m := range accepted() {
		accept[i] = string(m)
	}
	header := http.Header{"Accept": {strings.Join(accept, ",")}}
	resp, err := c.do(ctx, repo, transport.PullScope, http.MethodGet, "manifests/"+identifier, header, http.StatusOK)
	if err != nil {
		return images.Manifest{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return images.Manifest{}, passing{err}
	}
	if len(raw) > maxManifest {
		return images.Manifest{}, fmt.Errorf("manifest is larger than %d bytes", maxManifest)
	}
	return images.Manifest{MediaType: mediaType(resp, raw), Raw: raw}, nil
}

// accepted returns the media types of manifests that kfdev reads. Schema 1 has
// been obsolete since 2017 and cannot be copied by digest.
func accepted() []types.MediaType {
	return []types.MediaType{types.OCIImageIndex, types.DockerManifestList, types.OCIManifestSchema1, types.DockerManifestSchema2}
}

// mediaType is what the manifest says of itself, which its digest covers;
// where it says nothing, the answer's header.
func mediaType(resp *http.Response, raw []byte) types.MediaType {
	if m := images.MediaTypeOf(raw); m != "" {
		return m
	}
	m, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return types.MediaType(strings.TrimSpace(m))
}

// Referrers lists what is about a manifest, of one artifact type or, where that
// is empty, of any.
func (o *Origin) Referrers(ctx context.Context, ref images.Ref, artifactType string) ([]v1.Descriptor, error) {
	repos, err := o.c.candidates(ref.Repository)
	if err != nil {
		return nil, &fault.Error{Op: "listing what is about", Subject: ref.String(), Kind: fault.Usage, Err: err}
	}
	list, err := first(ctx, o.c, "listing what is about", ref.String(), repos, func(repo name.Repository) (referrers, error) {
		return o.c.referrers(ctx, repo, ref.Digest)
	})
	return list.of(artifactType), err
}
