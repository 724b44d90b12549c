package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
)

// maxReferrers bounds what is read as one list of referrers, bytes.
const maxReferrers = 4 << 20

// maxPages bounds how many lists a registry may give one after another.
const maxPages = 256

// subjectHeader is what a registry that keeps lists of referrers answers with.
// Source: OCI distribution specification 1.1, "Pushing Manifests with Subject".
const subjectHeader = "OCI-Subject"

// about is what a list of referrers needs of a manifest.
type about struct {
	Subject      *v1.Descriptor    `json:"subject"`
	ArtifactType string            `json:"artifactType"`
	Config       v1.Descriptor     `json:"config"`
	Annotations  map[string]string `json:"annotations"`
}

// referrer is a referrer as a list has it.
type referrer struct {
	MediaType    types.MediaType   `json:"mediaType"`
	Size         int64             `json:"size"`
	Digest       v1.Hash           `json:"digest"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// referrers is a list of referrers.
type referrers struct {
	SchemaVersion int64           `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	Manifests     []referrer      `json:"manifests"`
}

// Attach writes a manifest that names another as its subject, whose blobs are
// there already. Where the registry keeps no list of referrers, it is added to
// the one under the tag that the specification has for that; two that do so at
// once may lose one of the two.
func (t *Target) Attach(ctx context.Context, ref images.Ref, manifest images.Manifest) error {
	repo, err := t.repository(ref.Repository)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return explain("attaching an artifact", t.subject(repo, ref.Digest), repo.RegistryStr(), err)
	}
	var m about
	if err := json.Unmarshal(manifest.Raw, &m); err != nil {
		return fail(err)
	}
	if err := images.CheckManifest(manifest.Raw, ref.Digest); err != nil || m.Subject == nil {
		return fail(errors.Join(err, errors.New("it is about nothing, or is not what its digest says")))
	}
	said, err := t.put(ctx, repo, ref.Digest.String(), manifest)
	if err != nil || said.Get(subjectHeader) != "" {
		return fail(err)
	}
	one := referrer{MediaType: manifest.MediaType, Size: int64(len(manifest.Raw)), Digest: ref.Digest, ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if one.ArtifactType == "" {
		one.ArtifactType = string(m.Config.MediaType)
	}
	return fail(t.list(ctx, repo, m.Subject.Digest, one))
}

// list adds a referrer to the list under the tag.
func (t *Target) list(ctx context.Context, repo name.Repository, subject v1.Hash, one referrer) error {
	have, err := t.c.tagged(ctx, repo, transport.PushScope, subject)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have.Manifests, func(r referrer) bool { return r.Digest == one.Digest }) {
		return nil
	}
	have.SchemaVersion, have.MediaType = 2, types.OCIImageIndex
	have.Manifests = append(have.Manifests, one)
	data, err := json.Marshal(have)
	if err != nil {
		return err
	}
	_, err = t.put(ctx, repo, referrersTag(subject), images.Manifest{MediaType: types.OCIImageIndex, Raw: data})
	return err
}

// referrersTag is the tag of the list in a registry that keeps none itself.
// Source: OCI distribution specification 1.1, "Referrers Tag Schema".
func referrersTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// Referrers lists what is about a manifest, of one type or, where that is empty,
// of any.
func (t *Target) Referrers(ctx context.Context, ref images.Ref, artifactType string) ([]v1.Descriptor, error) {
	repo, err := t.repository(ref.Repository)
	if err != nil {
		return nil, err
	}
	all, err := t.c.referrers(ctx, repo, ref.Digest)
	if err != nil {
		return nil, explain("listing what is about", t.subject(repo, ref.Digest), repo.RegistryStr(), err)
	}
	return all.of(artifactType), nil
}

// of are those of one type, or all.
func (l referrers) of(artifactType string) []v1.Descriptor {
	var out []v1.Descriptor
	for _, r := range l.Manifests {
		if artifactType == "" || r.ArtifactType == artifactType {
			out = append(out, v1.Descriptor{MediaType: r.MediaType, Size: r.Size, Digest: r.Digest, ArtifactType: r.ArtifactType, Annotations: r.Annotations})
		}
	}
	return out
}

// referrers reads the registry's own list, page by page, or the one under the
// tag.
func (c *client) referrers(ctx context.Context, repo name.Repository, subject v1.Hash) (all referrers, err error) {
	page := "referrers/" + subject.String()
	for range maxPages {
		header := http.Header{"Accept": {string(types.OCIImageIndex)}}
		resp, err := c.do(ctx, repo, transport.PullScope, http.MethodGet, page, header, http.StatusOK)
		var status *transport.Error
		switch {
		case err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), string(types.OCIImageIndex)):
		case err == nil:
			_ = resp.Body.Close() // something that answers everything
			return c.tagged(ctx, repo, transport.PullScope, subject)
		case errors.As(err, &status) && (status.StatusCode == http.StatusNotFound || status.StatusCode == http.StatusMethodNotAllowed):
			return c.tagged(ctx, repo, transport.PullScope, subject)
		default:
			return all, err
		}
		list, err := read(resp)
		if err != nil {
			return all, err
		}
		all.Manifests = append(all.Manifests, list.Manifests...)
		if page, err = nextPage(resp.Header.Get("Link"), address(repo, page), address(repo, "referrers/")); page == "" || err != nil {
			return all, err
		}
	}
	return all, fmt.Errorf("the list of referrers has more than %d pages", maxPages)
}

// nextPage reads where a list goes on: below the lists' own address, or nowhere.
// Source: RFC 8288; OCI distribution specification 1.1, "Listing Referrers".
func nextPage(link, from, below string) (string, error) {
	target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !ok || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
		return "", nil
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	at, err := base.Parse(target)
	if err != nil {
		return "", fmt.Errorf("the list of referrers goes on at %q: %w", target, err)
	}
	page, ok := strings.CutPrefix(at.String(), below)
	if !ok {
		return "", fmt.Errorf("the list of referrers goes on at %q, which is not the registry's list", target)
	}
	return "referrers/" + page, nil
}

// tagged reads the list under the tag; an empty one where there is none.
func (c *client) tagged(ctx context.Context, repo name.Repository, scope string, subject v1.Hash) (referrers, error) {
	header := http.Header{"Accept": {string(types.OCIImageIndex)}}
	resp, err := c.do(ctx, repo, scope, http.MethodGet, "manifests/"+referrersTag(subject), header, http.StatusOK)
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode == http.StatusNotFound {
		return referrers{}, nil
	}
	if err != nil {
		return referrers{}, err
	}
	return read(resp)
}

func read(resp *http.Response) (list referrers, err error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReferrers+1))
	err = errors.Join(err, resp.Body.Close())
	if err == nil && len(data) > maxReferrers {
		err = fmt.Errorf("the list of referrers is longer than %d bytes", maxReferrers)
	}
	if err != nil {
		return list, err
	}
	return decodeReferrers(data)
}

// decodeReferrers reads a list, each of which can be asked for.
func decodeReferrers(data []byte) (list referrers, err error) {
	if err := json.Unmarshal(data, &list); err != nil {
		return referrers{}, fmt.Errorf("reading the list of referrers: %w", err)
	}
	for _, r := range list.Manifests {
		if r.Digest == (v1.Hash{}) || r.Size < 0 {
			return referrers{}, fmt.Errorf("the list of referrers has %q with %d bytes", r.Digest, r.Size)
		}
	}
	return list, nil
}
