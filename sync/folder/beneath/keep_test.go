package beneath

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is kept is the folder, whatever takes its path; and it is looked for
// again once it was forgotten.
func TestKeptFolderThatBecomesALink(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *Root, dir string) {
		t.Helper()
		outside := t.TempDir()
		require.NoError(t, r.Mkdir("a", 0o755))
		k := r.Keeping()
		defer k.ForgetAll()
		for _, path := range []string{"a", "a", "", "absent", "../x"} {
			k.Keep(path)
		}
		require.Len(t, k.kept, 1)
		require.NoError(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "moved")))
		require.NoError(t, os.Symlink(outside, filepath.Join(dir, "a")))

		require.NoError(t, k.Mkdir("a/made", 0o755))
		require.DirExists(t, filepath.Join(dir, "moved", "made"))
		require.Error(t, r.Mkdir("a/other", 0o755), "the root itself keeps nothing")
		r.Keep("moved")
		require.Empty(t, r.kept)
		require.NoError(t, k.Rename("a/made", "renamed", NoReplace))
		require.DirExists(t, filepath.Join(dir, "renamed"))

		k.Forget("a")
		require.Error(t, k.Mkdir("a/made", 0o755))
		k.Keep("a")
		require.Empty(t, k.kept, "a link is no folder")
		entries, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Empty(t, entries)
	})
}
