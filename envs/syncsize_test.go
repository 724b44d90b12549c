package envs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/ignore"
)

func TestALargeFolderIsToldOf(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	make := func(folder string, files int) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
		for i := range files {
			require.NoError(t, os.WriteFile(filepath.Join(root, folder, fmt.Sprint(i)), nil, 0o644))
		}
	}
	size := func(ctx context.Context) string {
		rules, err := ignore.Load(root)
		require.NoError(t, err)
		return tooLarge(ctx, root, rules, 20)
	}
	make("data/deep", 10)
	make("src", 7)
	require.Empty(t, size(t.Context()), "20 paths with their folders")
	make("data", 5)
	require.Regexp(t, `has more than 20 paths to sync, of the first ones \d\d% in data: .*\.kfdevignore`, size(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Empty(t, size(ended))
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	require.Contains(t, size(late), "took too long")
	require.NoError(t, os.WriteFile(filepath.Join(root, ".kfdevignore"), []byte("data/deep\n"), 0o644))
	require.Empty(t, size(t.Context()))
}
