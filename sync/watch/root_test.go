package watch

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRootMayBeASymbolicLink(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		link := t.TempDir() + "/link"
		require.NoError(t, os.Symlink(t.TempDir(), link))
		w := begin(t, link, Options{Poll: poll})
		write(t, link+"/f", "1")
		until(t, w, "f")
	})
}

func TestRootGoesAndComes(t *testing.T) {
	t.Parallel()
	goes := map[string]func(top string) error{
		"deleted":               func(top string) error { return os.RemoveAll(top + "/a/root") },
		"renamed":               func(top string) error { return os.Rename(top+"/a/root", top+"/elsewhere") },
		"renamed further above": func(top string) error { return os.Rename(top+"/a", top+"/b") },
		"replaced by a file": func(top string) error {
			return errors.Join(os.RemoveAll(top+"/a/root"), put(top+"/a/root", "1"))
		},
	}
	for name, do := range goes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, poll time.Duration) {
				t.Helper()
				top := t.TempDir()
				root := top + "/a/root"
				write(t, root+"/f", "1")
				w := begin(t, root, Options{Poll: poll})
				require.NoError(t, do(top))
				until(t, w, "")
				_ = rest(t, w, 50*time.Millisecond)
				_ = os.Remove(root)
				write(t, root+"/f", "1")
				s := until(t, w, "", "f")
				require.True(t, s.covers("anything"), "a root that came back is another one")
				_ = rest(t, w, 50*time.Millisecond)
				write(t, root+"/sub/g", "1")
				until(t, w, "sub/g")
			})
		})
	}
	t.Run("not there at first", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, poll time.Duration) {
			t.Helper()
			root := t.TempDir() + "/root"
			w := begin(t, root, Options{Poll: poll})
			write(t, root+"/f", "1")
			until(t, w, "", "f")
		})
	})
}
