package ignore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCachesAreIgnoredByDefault(t *testing.T) {
	t.Parallel()
	rules, err := Load(t.TempDir())
	require.NoError(t, err)
	for path, dir := range map[string]bool{"a/__pycache__": true, ".ipynb_checkpoints": true, "a/b.pyc": false, ".DS_Store": false} {
		require.True(t, IsCache(path, dir), path)
		require.False(t, IsCache(path, !dir), path)
		require.True(t, rules.Ignored(path, dir), path)
	}
	for _, path := range []string{".a.swp", "a~", ".cache", "data", "a.py"} {
		require.False(t, IsCache(path, true) || IsCache(path, false), path)
	}
}
