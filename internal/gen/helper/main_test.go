package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/helper/program"
)

// What is built is for `make generate` to show; here, that nothing is built
// while nothing has changed, and something is when a program is gone.
func TestGenerateBuildsNothingTwice(t *testing.T) {
	t.Chdir("../../..")
	to := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(to, program.Dir), 0o700))
	inputs, err := fingerprint(t.Context())
	require.NoError(t, err)
	again, err := fingerprint(t.Context())
	require.NoError(t, err)
	require.Equal(t, inputs, again)
	require.False(t, complete(to))

	var files []string
	for _, arch := range program.Archs() {
		files = append(files, filepath.Join(to, program.GzipFile(arch)), filepath.Join(to, program.SumFile(arch)))
	}
	for _, file := range files {
		require.NoError(t, os.WriteFile(file, []byte("as built"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(to, inputsFile), []byte(inputs+"\n"), 0o600))
	require.True(t, complete(to))
	began := time.Now()
	require.NoError(t, generate(t.Context(), to))
	t.Logf("checked in %s", time.Since(began))
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "as built", string(content))
	}
	require.NoError(t, os.Remove(files[0]))
	require.False(t, complete(to))
}
