package beneath

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// both runs a test on a root with and without openat2.
func both(t *testing.T, test func(t *testing.T, r *Root, dir string)) {
	t.Helper()
	for name, direct := range map[string]bool{"openat2": true, "openat": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r, err := Open(dir)
			require.NoError(t, err)
			if direct && !r.direct {
				t.Skip("there is no openat2 here")
			}
			r.direct = direct
			test(t, r, dir)
			require.NoError(t, r.Close())
		})
	}
}

func TestNoLinkIsFollowed(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *Root, dir string) {
		t.Helper()
		outside := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("x"), 0o644))
		require.NoError(t, r.Mkdir("a", 0o755))
		require.NoError(t, r.Mkdir("a/b", 0o755))
		for name, target := range map[string]string{"out": outside, "in": "a", "up": ".."} {
			require.NoError(t, r.Symlink(target, name))
			require.NoError(t, r.Symlink(target, "a/b/"+name))
			for _, link := range []string{name, "a/b/" + name} {
				_, _, err := r.Open(link + "/f")
				require.Error(t, err, link)
				_, err = r.Stat(link + "/f")
				require.Error(t, err)
				_, err = r.Create(link+"/new", 0o644)
				require.Error(t, err)
				require.Error(t, r.Mkdir(link+"/dir", 0o755))
				require.Error(t, r.Remove(link+"/f"))
				require.Error(t, r.Rename("a", link+"/f", Replace))
				require.Error(t, r.Chmod(link, 0o777))
				_, err = r.Names(link, 10)
				require.Error(t, err)
				_, _, err = r.Open(link)
				require.Error(t, err)
				st, err := r.Stat(link)
				require.NoError(t, err)
				require.Equal(t, Symlink, st.Kind)
				got, err := r.Readlink(link)
				require.NoError(t, err)
				require.Equal(t, target, got)
			}
		}
		require.NoError(t, r.RemoveAll("a"))
		require.FileExists(t, filepath.Join(outside, "f"))
		for _, path := range []string{"..", "../x", "/etc/passwd", "", "a//b", "./a", "a\x00b"} {
			_, _, err := r.Open(path)
			require.Error(t, err, path)
			require.Error(t, r.Mkdir(path, 0o755), path)
		}
		entries, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		_ = dir
	})
}

func TestRenames(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *Root, dir string) {
		t.Helper()
		write := func(path, text string) {
			f, err := r.Create(path, 0o644)
			require.NoError(t, err)
			require.NoError(t, r.Write(f, []byte(text), 0))
			require.NoError(t, f.Close())
		}
		read := func(path string) string {
			b, err := os.ReadFile(filepath.Join(dir, path))
			require.NoError(t, err)
			return string(b)
		}
		require.NoError(t, r.Mkdir("d", 0o755))
		write("a", "a")
		write("d/b", "b")
		_, err := r.Create("a", 0o644)
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorIs(t, r.Rename("a", "d/b", NoReplace), fs.ErrExist)
		require.NoError(t, r.Rename("a", "d/b", Exchange))
		require.Equal(t, "b", read("a"))
		require.Equal(t, "a", read("d/b"))
		require.NoError(t, r.Rename("a", "d/b", Replace))
		require.Equal(t, "b", read("d/b"))
		require.ErrorIs(t, r.Rename("a", "c", Replace), fs.ErrNotExist)
		require.NoError(t, r.Chmod("d/b", 0o7640))
		st, err := r.Stat("d/b")
		require.NoError(t, err)
		require.Equal(t, uint32(0o640), st.Mode, "no special bits")
	})
}

func TestSame(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(dir, 0o755))
	r, err := Open(dir)
	require.NoError(t, err)
	same, err := r.Same()
	require.NoError(t, err)
	require.True(t, same)
	require.NoError(t, os.Rename(dir, dir+".old"))
	_, err = r.Same()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.Mkdir(dir, 0o755))
	same, err = r.Same()
	require.NoError(t, err)
	require.False(t, same)
	require.NoError(t, r.Close())
}
