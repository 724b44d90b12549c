package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kfdev/kfdev/images"
)

// keepTag begins the tags that hold on to what kfdev brought.
const keepTag = "kfdev-"

// KeepTag is the tag that holds on to a digest.
func KeepTag(ref images.Ref) string { return keepTag + ref.Digest.Hex[:min(12, len(ref.Digest.Hex))] }

// Keep gives a manifest or index that the registry has a tag of its own, since
// registries collect what has none. It does nothing where it has that already.
func (t *Target) Keep(ctx context.Context, ref images.Ref) error {
	repo, err := t.repository(ref.Repository)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return explain("keeping an image", t.subject(repo, ref.Digest), repo.RegistryStr(), err)
	}
	manifest, err := t.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	tag := "manifests/" + KeepTag(ref)
	header := http.Header{"Accept": {string(manifest.MediaType)}}
	resp, err := t.c.do(ctx, repo, transport.PushScope, http.MethodHead, tag, header, http.StatusOK)
	var status *transport.Error
	switch {
	case err == nil:
		there := resp.Header.Get("Docker-Content-Digest")
		if err := resp.Body.Close(); err != nil {
			return fail(err)
		}
		if there == ref.Digest.String() {
			return nil
		}
	case !errors.As(err, &status) || status.StatusCode != http.StatusNotFound:
		return fail(err)
	}
	_, err = t.put(ctx, repo, KeepTag(ref), manifest)
	return fail(err)
}
