package helper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheRootOfAnOwnContainer(t *testing.T) {
	t.Parallel()
	p := place{home: "/home/ann", work: "/work"}
	for name, want := range map[string]string{
		"/data/": "/data", "/a/../b": "/b", "src": "/work/src", "~": "/home/ann", "~/src": "/home/ann/src", "": "/work", "~bob": "/work/~bob",
	} {
		got, err := p.root(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		require.Equal(t, want, p.said(got))
	}
	_, err := place{}.root("~/src")
	require.ErrorIs(t, err, errHome)
	_, err = p.root("a\x00b")
	require.ErrorContains(t, err, "zero bytes")
}

func TestTheRootInAnotherContainer(t *testing.T) {
	t.Parallel()
	prefix := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"data/real", "home/ann", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(prefix, dir), 0o755)) //nolint:gosec // a test's folder
	}
	for link, to := range map[string]string{
		"work": "/data", "data/up": "../../..", "data/out": "../../../../../etc", "loop": "/loop", "home/ann/src": "/work/real", "rel": "data/real",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(prefix, link)))
	}
	p := place{prefix: prefix, home: "/home/ann", work: "/work"}
	for name, want := range map[string]string{
		"/data/real":      "/data/real",
		"/work/real":      "/data/real", // an absolute link leads to below the prefix
		"/rel":            "/data/real",
		"real":            "/data/real",
		"~/src":           "/data/real",
		"/data/up":        "", // and .. never above it
		"/data/out":       "/etc",
		"/../../etc":      "/etc",
		"/work/new/thing": "/data/new/thing",
		"/":               "",
	} {
		got, err := p.root(name)
		require.NoError(t, err, name)
		require.Equal(t, prefix+want, got, name)
		require.Equal(t, "/"+strings.TrimPrefix(want, "/"), p.said(got), name)
	}
	_, err := p.root("/loop")
	require.ErrorContains(t, err, "too many symbolic links")
}

func FuzzInside(f *testing.F) {
	prefix := filepath.Join(f.TempDir(), "root")
	require.NoError(f, os.MkdirAll(filepath.Join(prefix, "a/b"), 0o755)) //nolint:gosec // a test's folder
	require.NoError(f, os.Symlink("../..", filepath.Join(prefix, "a/up")))
	require.NoError(f, os.Symlink("/a", filepath.Join(prefix, "l")))
	f.Add("/a/up/../../etc/passwd")
	f.Add("l/../l/b")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := place{prefix: prefix, work: "/"}.root(name)
		if err == nil && got != prefix && !strings.HasPrefix(filepath.Clean(got), prefix+"/") {
			t.Fatalf("%q leads to %q", name, got)
		}
	})
}
