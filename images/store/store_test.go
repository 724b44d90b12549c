package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	require.NoError(t, err)
	return s
}

// sha256Of returns the digest of content as text.
func sha256Of(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sri(content string) string {
	sum := sha512.Sum512([]byte(content))
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// files returns every file of the store but its lock, relative to it.
func files(t *testing.T, s *store.Store) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(s.Dir(), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			rel, _ := filepath.Rel(s.Dir(), path)
			found = append(found, rel)
		}
		return err
	}))
	return found
}

func read(t *testing.T, s *store.Store, hash string) string {
	t.Helper()
	f, err := s.Open(t.Context(), hash)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(got)
}

func TestPutKeepsContentUnderEveryHashItCameWith(t *testing.T) {
	t.Parallel()
	s := open(t)
	sum := sha512.Sum512([]byte("hello"))
	for _, hash := range []string{sha256Of("hello"), sri("hello"), "sha512:" + hex.EncodeToString(sum[:])} {
		found, err := s.Has(t.Context(), hash)
		require.NoError(t, err)
		require.False(t, found, hash)
		require.NoError(t, s.Put(t.Context(), hash, bytes.NewReader([]byte("hello"))))
		require.Equal(t, "hello", read(t, s, hash))
		require.NoError(t, os.Remove(filepath.Join(s.Dir(), "blobs", "sha256", sha256Of("hello")[7:])))
	}
	require.NoError(t, s.Put(t.Context(), sri("hello"), bytes.NewReader([]byte("hello"))))
	require.Equal(t, "hello", read(t, s, sha256Of("hello")), "one content, whatever hash it came with")
	require.NoError(t, s.Put(t.Context(), sri("hello"), iotest.ErrReader(errors.New("not read again"))))
	blobs, err := s.Blobs()
	require.NoError(t, err)
	require.Len(t, blobs, 1)
	require.EqualValues(t, 5, blobs[0].Size)
}

func TestWhatIsNotItsHashIsRefusedAndNothingIsKept(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hash    string
		content io.Reader
		is      error
		kind    fault.Kind
	}{
		"other content":       {sha256Of("a"), bytes.NewReader([]byte("b")), images.ErrContent, fault.Failure},
		"other content, npm":  {sri("a"), bytes.NewReader([]byte("b")), images.ErrContent, fault.Failure},
		"cut off":             {sha256Of("hello"), io.MultiReader(bytes.NewReader([]byte("he")), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF, fault.Failure},
		"a full disk":         {sha256Of("hello"), iotest.ErrReader(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), syscall.ENOSPC, fault.Preflight},
		"no hash at all":      {"", bytes.NewReader(nil), nil, fault.Failure},
		"unknown algorithm":   {"md5:00", bytes.NewReader(nil), nil, fault.Failure},
		"path for hex":        {"sha256:../../../../etc/passwd", bytes.NewReader(nil), nil, fault.Failure},
		"short hex":           {"sha256:00", bytes.NewReader(nil), nil, fault.Failure},
		"upper-case hex":      {"sha256:" + string(bytes.Repeat([]byte("AB"), 32)), bytes.NewReader(nil), nil, fault.Failure},
		"short base64":        {"sha512-AAAA", bytes.NewReader(nil), nil, fault.Failure},
		"Go's own directory":  {"h1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)), bytes.NewReader(nil), nil, fault.Failure},
		"an algorithm of hex": {"0000", bytes.NewReader(nil), nil, fault.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			err := s.Put(t.Context(), tc.hash, tc.content)
			require.Error(t, err)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
			require.Equal(t, tc.kind, fault.KindOf(err))
			require.Equal(t, tc.kind == fault.Preflight, len(fault.Hint(err)) > 0)
			require.Empty(t, files(t, s))
		})
	}
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := open(t).Open(t.Context(), sha256Of("x"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, sha256Of("x"))
}

func TestPutEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Put(ctx, sha256Of("x"), bytes.NewReader([]byte("x"))), context.Canceled)
	require.Empty(t, files(t, s))
}

func TestManyWritersAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	errs := make(chan error, 40)
	for i := range 40 {
		content := bytes.Repeat([]byte{byte(i % 4)}, 100_000)
		hash := sha256Of(string(content))
		wg.Go(func() { errs <- s.Put(t.Context(), hash, iotest.HalfReader(bytes.NewReader(content))) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, files(t, s), 4)
}

func TestARecordHoldsAsLongAsItsBlobs(t *testing.T) {
	t.Parallel()
	type note struct{ Digest string }
	s := open(t)
	w, err := s.Create(t.Context(), "")
	require.NoError(t, err)
	_, err = io.WriteString(w, "layer")
	require.NoError(t, err)
	blob, err := w.Commit()
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, sha256Of("layer"), blob.Digest.String())

	var got note
	found, err := s.Record("layer", "key", &got)
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, s.SetRecord("layer", "key", note{"x"}, blob.Digest))
	require.NoError(t, s.SetRecord("layer", "other", note{"y"}))
	found, err = s.Record("layer", "key", &got)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, note{"x"}, got)
	found, err = s.Record("image", "key", &got)
	require.NoError(t, err)
	require.False(t, found)

	require.NoError(t, s.Discard(blob.Digest))
	require.NoError(t, s.Discard(blob.Digest))
	found, err = s.Record("layer", "key", &got)
	require.NoError(t, err)
	require.False(t, found, "its blob is gone")
	require.Error(t, s.SetRecord("../x", "key", note{}))
}

func TestADamagedRecordCountsAsNone(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.NoError(t, s.SetRecord("layer", "key", 1))
	var path string
	for _, f := range files(t, s) {
		path = filepath.Join(s.Dir(), f)
	}
	for _, text := range []string{"", "{", `{"version":1}`, `{"version":2,"kind":"layer","key":"key","blobs":null,"value":1}`,
		`{"version":1,"kind":"layer","key":"other","blobs":null,"value":1}`, `{"version":1,"kind":"layer","key":"key","blobs":null,"value":"text"}`} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		var n int
		found, err := s.Record("layer", "key", &n)
		require.NoError(t, err)
		require.False(t, found, text)
	}
}

func TestPruneKeepsWhatIsNamedAndNothingElse(t *testing.T) {
	t.Parallel()
	s := open(t)
	keep := map[v1.Hash]bool{}
	for _, content := range []string{"kept", "dropped"} {
		require.NoError(t, s.Put(t.Context(), sri(content), bytes.NewReader([]byte(content))))
		digest, err := v1.NewHash(sha256Of(content))
		require.NoError(t, err)
		keep[digest] = content == "kept"
		require.NoError(t, s.SetRecord("layer", content, content, digest))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), "tmp", "blob-1"), []byte("cut off"), 0o600))

	release, err := s.Hold(t.Context())
	require.NoError(t, err)
	_, err = s.Prune(t.Context(), keep)
	require.ErrorContains(t, err, "another kfdev")
	require.NoError(t, release())

	would, err := s.Unkept(keep)
	require.NoError(t, err)
	require.Equal(t, store.Pruned{Blobs: 1, Bytes: 7, Records: 2}, would)
	require.Len(t, files(t, s), 7)
	scratch := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(scratch, "go-1", "read-only"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(scratch, "go-1", "read-only", "x"), nil, 0o444))
	require.NoError(t, os.Chmod(filepath.Join(scratch, "go-1", "read-only"), 0o555))
	did, err := s.Prune(t.Context(), keep, scratch, filepath.Join(scratch, "nonexistent"))
	require.NoError(t, err)
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, would, did)
	require.Len(t, files(t, s), 3)
	require.Equal(t, "kept", read(t, s, sri("kept")))
}

func TestHoldEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t)
	f, err := os.OpenFile(filepath.Join(s.Dir(), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Hold(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestVerifyFindsWhatWasDamaged(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, content := range []string{"one", "two"} {
		require.NoError(t, s.Put(t.Context(), sha256Of(content), bytes.NewReader([]byte(content))))
	}
	bad, err := s.Verify(t.Context(), progress.Discard)
	require.NoError(t, err)
	require.Empty(t, bad)
	path := filepath.Join(s.Dir(), "blobs", "sha256", sha256Of("two")[7:])
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("tow"), 0o644))
	bad, err = s.Verify(t.Context(), progress.Discard)
	require.NoError(t, err)
	require.Len(t, bad, 1)
	require.Equal(t, sha256Of("two"), bad[0].Digest.String())
}
