package origintest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// Subject is an origin under test that serves a Fixture.
type Subject struct {
	Origin images.Origin
	Kind   images.OriginKind
	// Damage changes what the origin has behind it under a digest, blob or
	// manifest; a change that returns nil removes it.
	Damage func(digest v1.Hash, change func([]byte) []byte)
	// AnyRepository is true for an origin that keeps blobs in common, so that
	// the repository's name does not matter to a blob.
	AnyRepository bool
}

// Run holds an origin to what images.Origin promises. Serve makes one that
// serves the fixture; it is called once for each subtest.
func Run(t *testing.T, repository string, serve func(t *testing.T, f Fixture) Subject) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Fixture, Subject){
		"serves manifests as they are":    servesManifests,
		"serves blobs as they are":        servesBlobs,
		"names what is missing":           namesMissing,
		"refuses changed content":         refusesChanged,
		"refuses a changed manifest":      refusesChangedManifest,
		"refuses a wrong descriptor":      refusesWrongDescriptor,
		"stops when canceled":             stopsWhenCanceled,
		"serves many at once":             servesMany,
		"lets a blob be closed half read": closesEarly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := NewFixture(t, repository)
			test(t, f, serve(t, f))
		})
	}
}

func servesManifests(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	require.Equal(t, s.Kind, s.Origin.Kind())
	for digest, want := range f.Manifests {
		got, err := s.Origin.Manifest(t.Context(), images.Ref{Repository: f.Repository, Digest: digest})
		require.NoError(t, err)
		require.Equal(t, want.MediaType, got.MediaType, "an index stays an index")
		require.Equal(t, string(want.Raw), string(got.Raw))
	}
	closure, err := images.Walk(t.Context(), s.Origin, f.Index, nil)
	require.NoError(t, err)
	require.Len(t, closure.Nodes, 3)
	require.Equal(t, f.Index, closure.Nodes[2].Ref)
	require.Len(t, closure.Blobs, len(f.Blobs))
}

func servesBlobs(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	for digest, want := range f.Blobs {
		got, err := read(t.Context(), s.Origin, f.Repository, descriptor(digest, want))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

func namesMissing(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	absent := v1.Hash{Algorithm: "sha256", Hex: "00000000000000000000000000000000000000000000000000000000000000ff"}
	_, err := s.Origin.Manifest(t.Context(), images.Ref{Repository: f.Repository, Digest: absent})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, absent.Hex)
	_, err = read(t.Context(), s.Origin, f.Repository, v1.Descriptor{Digest: absent, Size: 7})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, absent.Hex)

	s.Damage(f.Layer.Digest, func([]byte) []byte { return nil })
	_, err = read(t.Context(), s.Origin, f.Repository, f.Layer)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	if !s.AnyRepository {
		_, err = read(t.Context(), s.Origin, f.Repository+"-other", f.Config)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	}
}

func refusesChanged(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	whole := f.Blobs[f.Layer.Digest]
	for _, change := range []struct {
		name string
		of   func([]byte) []byte
	}{
		{"one bit in the middle", func([]byte) []byte { b := bytes.Clone(whole); b[len(b)/2] ^= 1; return b }},
		{"the last byte", func([]byte) []byte { b := bytes.Clone(whole); b[len(b)-1] ^= 1; return b }},
		{"cut short", func([]byte) []byte { return bytes.Clone(whole[:len(whole)/2]) }},
		{"one byte short", func([]byte) []byte { return bytes.Clone(whole[:len(whole)-1]) }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"too long", func([]byte) []byte { return append(bytes.Clone(whole), 'x') }},
	} {
		s.Damage(f.Layer.Digest, change.of)
		got, err := read(t.Context(), s.Origin, f.Repository, f.Layer)
		require.Error(t, err, change.name)
		require.LessOrEqual(t, len(got), len(whole), change.name)
	}
}

func refusesChangedManifest(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return append(bytes.Clone(b), '\n') },
		func(b []byte) []byte { return b[:len(b)/2] },
		func([]byte) []byte { return []byte("{}") },
	} {
		s.Damage(f.Index.Digest, change)
		_, err := s.Origin.Manifest(t.Context(), f.Index)
		require.Error(t, err)
	}
}

func refusesWrongDescriptor(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	for _, delta := range []int64{-1, 1} {
		wrong := f.Config
		wrong.Size += delta
		_, err := read(t.Context(), s.Origin, f.Repository, wrong)
		require.Error(t, err, "size off by %d", delta)
	}
}

func stopsWhenCanceled(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	content, err := s.Origin.Blob(ctx, f.Repository, f.Layer)
	require.NoError(t, err)
	_, err = io.ReadFull(content, make([]byte, 10))
	require.NoError(t, err)
	cancel()
	rest, err := io.ReadAll(content)
	if err == nil { // what is on this machine may well be read to its end; it must be whole then
		require.Len(t, rest, int(f.Layer.Size)-10)
	}
	require.NoError(t, content.Close())

	_, err = s.Origin.Manifest(ctx, f.Index)
	require.ErrorIs(t, err, context.Canceled)
	_, err = read(ctx, s.Origin, f.Repository, f.Layer)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, fault.Canceled, fault.KindOf(err))
}

func servesMany(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range 4 {
		for digest, want := range f.Blobs {
			wg.Go(func() {
				got, err := read(t.Context(), s.Origin, f.Repository, descriptor(digest, want))
				if err == nil && !bytes.Equal(want, got) {
					err = errors.New("wrong bytes")
				}
				errs <- err
			})
		}
		wg.Go(func() {
			_, err := s.Origin.Manifest(t.Context(), f.Index)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func closesEarly(t *testing.T, f Fixture, s Subject) {
	t.Helper()
	for range 3 {
		content, err := s.Origin.Blob(t.Context(), f.Repository, f.Layer)
		require.NoError(t, err)
		_, err = io.ReadFull(content, make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, content.Close())
	}
	got, err := read(t.Context(), s.Origin, f.Repository, f.Layer)
	require.NoError(t, err)
	require.True(t, bytes.Equal(f.Blobs[f.Layer.Digest], got))
}

func read(ctx context.Context, origin images.Origin, repository string, desc v1.Descriptor) ([]byte, error) {
	content, err := origin.Blob(ctx, repository, desc)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(content)
	return got, errors.Join(err, content.Close())
}

func descriptor(digest v1.Hash, content []byte) v1.Descriptor {
	return v1.Descriptor{Digest: digest, Size: int64(len(content))}
}
