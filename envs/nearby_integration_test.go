//go:build integration

package envs

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// newPlacesApart are places of which staging has a registry of its own.
func newPlacesApart(t *testing.T, text string) (p *places, staging *httptest.Server) {
	t.Helper()
	staging = httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(staging.Close)
	text = strings.Replace(text, "registry.staging.example", strings.TrimPrefix(staging.URL, "http://"), 1)
	return newPlacesOf(t, text, "dev", "staging", "prod"), staging
}

// elsewhere is another machine that has the project and nothing more: an empty
// store, and nothing can be built.
func (p *places) elsewhere(t *testing.T) {
	t.Helper()
	p.dirs.Cache = t.TempDir()
	p.archive.broken = func() error { return errBroken }
}

// registryOf is the registry of an environment as a promotion has it.
func (p *places) registryOf(t *testing.T, name string, of ...lock.Image) siteRegistry {
	t.Helper()
	var repositories []string
	for _, i := range of {
		repositories = append(repositories, i.Repository)
	}
	r, err := p.engine(t).siteRegistry(name, repositories)
	require.NoError(t, err)
	return r
}

// attachTo attaches a text to an image in a registry, and returns its digest.
func attachTo(t *testing.T, r siteRegistry, i lock.Image, text string) v1.Hash {
	t.Helper()
	descriptor := func(media types.MediaType, content []byte) v1.Descriptor {
		digest, size, err := v1.SHA256(bytes.NewReader(content))
		require.NoError(t, err)
		return v1.Descriptor{MediaType: media, Digest: digest, Size: size}
	}
	subject, err := r.target.Manifest(t.Context(), i.Ref())
	require.NoError(t, err)
	blob := descriptor("application/spdx+json", []byte(text))
	require.NoError(t, r.target.PutBlob(t.Context(), i.Repository, blob, strings.NewReader(text)))
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": blob.MediaType, "config": blob,
		"layers": []v1.Descriptor{blob}, "subject": descriptor(subject.MediaType, subject.Raw),
	})
	require.NoError(t, err)
	own := descriptor(types.OCIManifestSchema1, raw)
	require.NoError(t, r.target.Attach(t.Context(), images.Ref{Repository: i.Repository, Digest: own.Digest}, images.Manifest{MediaType: own.MediaType, Raw: raw}))
	return own.Digest
}

// arrived are the digests of what is about an image in a registry.
func arrived(t *testing.T, r siteRegistry, i lock.Image) (all []v1.Hash) {
	t.Helper()
	list, err := r.target.Referrers(t.Context(), i.Ref(), "")
	require.NoError(t, err)
	for _, desc := range list {
		all = append(all, desc.Digest)
	}
	return all
}

// A machine that has built nothing promotes what staging has: from its
// registry, with what is about it there, and builds nothing for it.
func TestIntegrationImagesComeFromTheEnvironmentBefore(t *testing.T) {
	p, _ := newPlacesApart(t, threePlaces)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	first, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Positive(t, first.Copied.Blobs)
	l, _, err := lock.Load(p.dir)
	require.NoError(t, err)
	sbom := attachTo(t, p.registryOf(t, "staging", l.Images...), l.Images[0], "what is in it")

	p.elsewhere(t)
	made := p.archive.made
	again, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err, "nothing to do is nothing to build")
	require.Zero(t, again.Copied.Blobs)
	plan, err := p.engine(t).PlanSite(t.Context(), "prod", PlanOptions{})
	require.NoError(t, err, "nor is a look")
	require.Len(t, plan.Images, len(l.Images))
	require.Equal(t, l.Images[0].Size+l.Images[1].Size, plan.Bytes)

	done, err := p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, first.Copied.Blobs, done.Copied.Blobs)
	require.Equal(t, 1, done.Copied.Referrers)
	require.Equal(t, []v1.Hash{sbom}, arrived(t, p.registryOf(t, "prod", l.Images...), l.Images[0]))
	require.Equal(t, made, p.archive.made)
	blobs, err := p.engine(t).store.Blobs()
	require.NoError(t, err)
	require.Empty(t, blobs, "the store has nothing still")
	require.Empty(t, p.warnings("passed over"))
}

// What was baked on one machine is promoted from another, once a registry has it.
func TestIntegrationWhatWasBakedComesFromTheEnvironmentBefore(t *testing.T) {
	_, environments, _ := strings.Cut(threePlaces, bothComponents)
	p, _ := newPlacesApart(t, withSync+environments)
	p.source(t, map[string]string{"train.py": "print(1)"})
	whole, err := os.ReadFile(filepath.Join(p.dir, project.FileName))
	require.NoError(t, err)
	p.project(t, withSync) // the cluster that it is baked in is one in memory
	_, err = p.up(t)
	require.NoError(t, err)
	l, _, err := lock.Load(p.dir)
	require.NoError(t, err)
	_, err = p.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Lock: true}, runs(l.Images[0].Digest.String()))
	require.NoError(t, err)
	l, _, err = lock.Load(p.dir)
	require.NoError(t, err)
	baked := bakedIn(l.Images)
	require.Len(t, baked, 1)
	p.project(t, string(whole))
	p.upDev(t)

	here := p.dirs.Cache
	p.elsewhere(t)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Error(t, err, "no place has it yet")
	p.dirs.Cache, p.archive.broken = here, nil
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	other, _ := l.Image("kfdev.internal/extra")
	staging, prod := p.registryOf(t, "staging", l.Images...), p.registryOf(t, "prod", l.Images...)
	want := []v1.Hash{attachTo(t, staging, baked[0], "of what was baked"), attachTo(t, staging, other, "of another")}

	p.elsewhere(t)
	done, err := p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, done.Copied.Referrers)
	require.Equal(t, want, append(arrived(t, prod, baked[0]), arrived(t, prod, other)...))
	_, err = images.Walk(t.Context(), prod.target, baked[0].Ref(), nil)
	require.NoError(t, err)
}

// A registry that is down is passed over, and told; an image that no place has
// is an error that names all.
func TestIntegrationARegistryThatIsDownIsPassedOver(t *testing.T) {
	p, registry := newPlacesApart(t, threePlaces)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	registry.Close()

	here := p.dirs.Cache
	p.elsewhere(t)
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.ErrorIs(t, err, errBroken)
	require.NotEqual(t, fault.Gate, fault.KindOf(err))
	for _, place := range []string{"the store of this machine: ", "the registry of staging: ", "building it: "} {
		require.ErrorContains(t, err, place)
	}
	require.Len(t, p.warnings("the registry of staging is passed over"), 1)

	p.dirs.Cache = here
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err, "the store has all")
	require.Len(t, p.warnings("the registry of staging is passed over"), 2)
	require.Equal(t, p.ledger(t, "staging").InForce.Release, p.ledger(t, "prod").InForce.Release)
}
