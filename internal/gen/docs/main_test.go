package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cmd/kfdev/root"
)

func TestTheReferenceIsThatOfTheCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "docs", "cli")
	want := pages(root.New())
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err, "run go run ./internal/gen/docs")
		require.Equal(t, text, string(got), "run go run ./internal/gen/docs")
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, len(want), "run go run ./internal/gen/docs")
}
