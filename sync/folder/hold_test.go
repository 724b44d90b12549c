package folder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLockThatIsHeld(t *testing.T) {
	t.Parallel()
	base, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	inside := filepath.Join(base, "repository", "src")
	require.NoError(t, os.MkdirAll(inside, 0o755))
	require.Equal(t, filepath.Join(inside, ".git", "index.lock"), hold(inside), "it may become a repository")
	git := filepath.Join(base, "repository", ".git")
	require.NoError(t, os.MkdirAll(filepath.Join(git, "objects"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(git, "refs"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(git, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600))
	require.Equal(t, filepath.Join(git, "index.lock"), hold(inside))
	link := filepath.Join(base, "link")
	require.NoError(t, os.Symlink(inside, link))
	require.Equal(t, filepath.Join(git, "index.lock"), hold(link))
}
