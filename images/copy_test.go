package images_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repository = "registry.example/team/app"

func TestCopyMovesTheClosureAndOnlyOnce(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	from, to := origintest.NewMemory().Fill(f), origintest.NewMemory()
	var rec progress.Recorder
	c := images.Copier{From: from, To: to, Sink: &rec}
	done, err := c.Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, len(f.Blobs), done.Blobs)
	require.Equal(t, 3, done.Manifests)
	var total int64
	for _, b := range f.Blobs {
		total += int64(len(b))
	}
	require.Equal(t, total, done.Bytes)
	events := rec.Events()
	require.Equal(t, total, events[len(events)-1].Done)
	require.Equal(t, total, events[len(events)-1].Total)

	written := to.Written()
	require.Equal(t, f.Index.String(), written[len(written)-1], "the index comes last")
	opened := len(from.Opened())
	require.Equal(t, len(f.Blobs), opened, "a blob that two children share is read once")

	done, err = c.Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, images.Copied{Present: len(f.Blobs)}, done)
	require.Len(t, from.Opened(), opened)
	require.Len(t, to.Written(), len(written))
}

func TestCopyOfWhatIsThereNeedsNoOrigin(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	to := origintest.NewMemory().Fill(f)
	done, err := (&images.Copier{From: origintest.NewMemory(), To: to}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Zero(t, done.Blobs+done.Manifests)
}

func TestCopyOfOnePlatform(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	to := origintest.NewMemory()
	c := images.Copier{From: origintest.NewMemory().Fill(f), To: to, Platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}}}
	done, err := c.Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, 3, done.Blobs)
	require.Equal(t, 2, done.Manifests)
	_, err = to.Manifest(t.Context(), f.Children["linux/amd64"])
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestCopyRefillsWhatTheTargetLost(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	from, to := origintest.NewMemory().Fill(f), origintest.NewMemory().Fill(f)
	to.Damage(repository, f.Layer.Digest, func([]byte) []byte { return nil })
	to.Damage(repository, f.Children["linux/amd64"].Digest, func([]byte) []byte { return nil })
	done, err := (&images.Copier{From: from, To: to}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	require.Equal(t, 1, done.Blobs)
	require.Equal(t, 1, done.Manifests)
	_, err = images.Walk(t.Context(), to, f.Index, nil)
	require.NoError(t, err)
}

func TestCopyOfDamagedContentWritesNoManifest(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	from, to := origintest.NewMemory().Fill(f), origintest.NewMemory()
	from.Damage(repository, f.Layer.Digest, func(b []byte) []byte { b = bytes.Clone(b); b[7] ^= 1; return b })
	_, err := (&images.Copier{From: from, To: to}).Copy(t.Context(), f.Index)
	require.ErrorIs(t, err, images.ErrContent)
	require.ErrorContains(t, err, f.Layer.Digest.String())
	for _, w := range to.Written() {
		for d := range f.Manifests {
			require.NotContains(t, w, d.Hex)
		}
		require.NotContains(t, w, f.Layer.Digest.Hex)
	}
}

// flaky fails a put as often as it is told, after some bytes were read.
type flaky struct {
	*origintest.Memory
	left atomic.Int32
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }

func (f *flaky) PutBlob(ctx context.Context, repository string, desc v1.Descriptor, content io.Reader) error {
	if f.left.Add(-1) >= 0 {
		_, _ = io.CopyN(io.Discard, content, 100)
		return temporary{errors.New("connection reset")}
	}
	return f.Memory.PutBlob(ctx, repository, desc, content)
}

func TestCopyTriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	to := &flaky{Memory: origintest.NewMemory()}
	to.left.Store(2)
	var rec progress.Recorder
	done, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: to, Sink: &rec, Parallel: 1}).Copy(t.Context(), f.Index)
	require.NoError(t, err)
	events := rec.Events()
	require.Equal(t, done.Bytes, events[len(events)-1].Done, "no byte counts twice")

	to = &flaky{Memory: origintest.NewMemory()}
	to.left.Store(100)
	_, err = (&images.Copier{From: origintest.NewMemory().Fill(f), To: to}).Copy(t.Context(), f.Index)
	require.ErrorContains(t, err, "connection reset")
}

func TestCopyStopsWhenCanceled(t *testing.T) {
	t.Parallel()
	f := origintest.NewFixture(t, repository)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: origintest.NewMemory()}).Copy(ctx, f.Index)
	require.Equal(t, fault.Canceled, fault.KindOf(err))
}

func TestMatchPlatform(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		want, have string
		match      bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/arm/v7", "linux/arm/v7", true},
		{"linux/amd64", "unknown/unknown", false},
	} {
		want, err := v1.ParsePlatform(tc.want)
		require.NoError(t, err)
		have, err := v1.ParsePlatform(tc.have)
		require.NoError(t, err)
		require.Equal(t, tc.match, images.MatchPlatform(*want, have), "%s for %s", tc.have, tc.want)
	}
	require.False(t, images.MatchPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}, nil))
}

func TestWalkRefusesWhatIsNoImage(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"schema 1":             `{"schemaVersion":1,"name":"x"}`,
		"a digest of no kind":  `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"md5:00","size":1},"layers":[]}`,
		"a negative size":      `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":-1},"layers":[]}`,
		"an index that is not": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:x"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			digest, _, err := v1.SHA256(strings.NewReader(raw))
			require.NoError(t, err)
			m := origintest.NewMemory()
			ref := images.Ref{Repository: repository, Digest: digest}
			require.NoError(t, m.PutManifest(t.Context(), ref, images.Manifest{MediaType: images.MediaTypeOf([]byte(raw)), Raw: []byte(raw)}))
			_, err = images.Walk(t.Context(), m, ref, nil)
			require.Error(t, err)
		})
	}
}

func FuzzWalk(f *testing.F) {
	fixture := origintest.NewFixture(f, repository)
	for _, m := range fixture.Manifests {
		f.Add(m.Raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		digest, _, err := v1.SHA256(bytes.NewReader(raw))
		require.NoError(t, err)
		m := origintest.NewMemory().Fill(fixture)
		ref := images.Ref{Repository: repository, Digest: digest}
		require.NoError(t, m.PutManifest(t.Context(), ref, images.Manifest{MediaType: images.MediaTypeOf(raw), Raw: raw}))
		closure, err := images.Walk(t.Context(), m, ref, nil)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, closure.Size(), int64(len(raw)))
		for _, b := range closure.Blobs {
			require.Len(t, b.Digest.Hex, 64)
			require.GreaterOrEqual(t, b.Size, int64(0))
		}
	})
}
