package release_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	imageregistry "github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/stack"
)

func object(kind, name string, fields map[string]any) *unstructured.Unstructured {
	o := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": "n"}}
	for k, v := range fields {
		o[k] = v
	}
	return &unstructured.Unstructured{Object: o}
}

func sample(tb testing.TB) release.Release {
	tb.Helper()
	ref, err := images.ParseRef("registry.example/kfdev/a@sha256:" + strings.Repeat("1", 64))
	require.NoError(tb, err)
	path, err := fieldpath.Parse("core/ConfigMap/n:c/data/a")
	require.NoError(tb, err)
	set := func(value string) []release.Set {
		return []release.Set{{
			Name: "app", Namespace: "n", Hash: "sha256:" + strings.Repeat("2", 64), Images: map[string]images.Ref{"main": ref},
			Objects: []*unstructured.Unstructured{
				object("ConfigMap", "c", map[string]any{"data": map[string]any{"a": value, "text": "--- no end\n...\n", "number": "1.10", "yes": "y"}}),
				object("Service", "s", map[string]any{"spec": map[string]any{"ports": []any{map[string]any{"port": int64(80)}}, "weight": 0.5, "on": true}}),
			},
		}}
	}
	return release.Release{
		Project: "fraud", LockDigest: "sha256:" + strings.Repeat("3", 64), Lock: []byte("kind: Lock\n"),
		Differences: []difference.Entry{{
			ID: "a", Paths: []fieldpath.Path{path}, Allow: difference.Domain{Type: difference.String},
			Values: map[string]any{"dev": "1", "prod": "2"}, Reason: "r", Owner: "o", Expires: "2027-01-31",
		}},
		Components: []stack.Component{{
			APIVersion: stack.APIVersion, Kind: stack.Kind, Name: "app", Version: "v1", Title: "t", Namespace: "n", Smoke: "hub",
			Secrets: []stack.Secret{{Name: "s", Keys: []stack.SecretKey{{Name: "k", Bytes: 12}}}},
		}},
		Environments: []release.Environment{{Name: "dev", Sets: set("1")}, {Name: "prod", After: []string{"dev"}, Pull: "registry.example/kfdev", Sets: set("2")}},
	}
}

// fetch reads from an artifact.
func fetch(a release.Artifact) release.Fetch {
	return func(_ context.Context, desc v1.Descriptor) ([]byte, error) {
		data, ok := a.Blobs[desc.Digest]
		if !ok {
			return nil, errors.New("there is no such blob")
		}
		return data, nil
	}
}

func TestAReleaseComesBackAsItWent(t *testing.T) {
	t.Parallel()
	r := sample(t)
	a, err := r.Encode()
	require.NoError(t, err)
	again, err := sample(t).Encode()
	require.NoError(t, err)
	require.Equal(t, a, again, "the same release is the same artifact")
	got, err := release.Decode(t.Context(), a.Manifest.Raw, fetch(a))
	require.NoError(t, err)
	require.Equal(t, r, got)
	back, err := got.Encode()
	require.NoError(t, err)
	require.Equal(t, a.Digest, back.Digest)

	r.Environments[1].Sets[0].Objects[0].Object["data"] = map[string]any{"a": "3"}
	other, err := r.Encode()
	require.NoError(t, err)
	require.NotEqual(t, a.Digest, other.Digest)
	env, ok := got.Environment("prod")
	require.True(t, ok)
	require.Equal(t, []string{"dev"}, env.After)
	_, ok = got.Environment("staging")
	require.False(t, ok)
}

func TestNoSecretsValueIsInARelease(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"data", "stringData"} {
		r := sample(t)
		r.Environments[0].Sets[0].Objects = append(r.Environments[0].Sets[0].Objects, object("Secret", "login", map[string]any{field: map[string]any{"p": "hunter2"}}))
		_, err := r.Encode()
		require.ErrorContains(t, err, "dev: app: the Secret n/login has values")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestWhatIsNoReleaseIsRefused(t *testing.T) {
	t.Parallel()
	a, err := sample(t).Encode()
	require.NoError(t, err)
	raw := string(a.Manifest.Raw)
	for name, tc := range map[string]struct{ raw, says string }{
		"no JSON":             {"{", "no release of this form"},
		"another artifact":    {strings.Replace(raw, release.ArtifactType, "application/vnd.other", 1), `of type "application/vnd.other"`},
		"another layer":       {strings.Replace(raw, string(release.LockMedia), "text/plain", 1), `of type "text/plain" stands where kfdev.lock belongs`},
		"a layer more":        {strings.Replace(raw, `"layers":[`, `"layers":[{"mediaType":"x","size":1,"digest":"sha256:`+strings.Repeat("9", 64)+`"},`, 1), "stands where kfdev.lock belongs"},
		"a layer that is big": {strings.Replace(raw, `"size":11`, `"size":99999999999`, 1), "too large"},
	} {
		require.NotEqual(t, raw, tc.raw, name)
		_, err := release.Decode(t.Context(), []byte(tc.raw), fetch(a))
		require.ErrorContains(t, err, tc.says, name)
	}
}

func TestAReleaseLiesInARegistry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	layout := func(repository string) string { return host + "/kfdev/" + repository }
	target := imageregistry.NewTarget(imageregistry.Config{}, layout)
	a, err := sample(t).Encode()
	require.NoError(t, err)
	ref := images.Ref{Repository: release.Repository("fraud"), Digest: a.Digest}
	for range 2 { // again is nothing new
		copier := images.Copier{From: release.Origin(a, ref.Repository), To: target}
		_, err = copier.Copy(t.Context(), ref)
		require.NoError(t, err)
		require.NoError(t, target.Keep(t.Context(), ref))
	}
	there := imageregistry.NewOrigin(imageregistry.Config{})
	got, err := release.Pull(t.Context(), there, images.Ref{Repository: layout(ref.Repository), Digest: a.Digest})
	require.NoError(t, err)
	require.Equal(t, sample(t), got)
	resolved, err := there.Manifest(t.Context(), images.Ref{Repository: layout(ref.Repository), Digest: a.Digest})
	require.NoError(t, err)
	require.Equal(t, a.Manifest.Raw, resolved.Raw)
}

func FuzzDecode(f *testing.F) {
	a, err := sample(f).Encode()
	require.NoError(f, err)
	f.Add(a.Manifest.Raw)
	f.Add([]byte(`{"artifactType":"` + release.ArtifactType + `"}`))
	blobs := slices.Collect(func(yield func([]byte) bool) {
		for _, b := range a.Blobs {
			if !yield(b) {
				return
			}
		}
	})
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := 0
		got, err := release.Decode(t.Context(), raw, func(_ context.Context, desc v1.Descriptor) ([]byte, error) {
			if data, ok := a.Blobs[desc.Digest]; ok {
				return data, nil
			}
			n++
			return bytes.Clone(blobs[n%len(blobs)]), nil
		})
		if err != nil {
			return
		}
		_, err = got.Encode()
		require.NoError(t, err)
	})
}
